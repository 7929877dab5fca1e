"""Train one experiment:  python tools/train_net.py +experiment=r101_traffic.

A sweep:  python tools/train_net.py -m +experiment=quickstart d2.SOLVER.BASE_LR=0.02,0.04
Go on:    the same command with  run_dir=outputs/<name>/<time> resume=true
"""

from pathlib import Path

import hydra
from hydra.core.hydra_config import HydraConfig
from omegaconf import DictConfig, OmegaConf

from oiv5_d2.console.commands import prepare_command
from oiv5_d2.console.errors import report_errors
from oiv5_d2.console.help import answer_help
from oiv5_d2.evaluation.coco import build_evaluator
from oiv5_d2.runs.prepared import locate
from oiv5_d2.training.config import store_defaults, to_cfg
from oiv5_d2.training.launch import launch
from oiv5_d2.training.run import Settings, metric, train


@hydra.main(version_base="1.3", config_path="../configs", config_name="train")
def main(run: DictConfig) -> float:
    """Compose, bridge, train; return the metric that a sweep looks at."""
    chosen = HydraConfig.get()
    cfg = to_cfg(run, output_dir=chosen.runtime.output_dir)
    settings = Settings(
        name=run.name,
        question=run.question,
        classes=tuple(run.data.classes),
        datasets=tuple(
            locate(
                run.data.name,
                Path(run.data.dir),
                [*cfg.DATASETS.TRAIN, *cfg.DATASETS.TEST],
                make=prepare_command(chosen.runtime.choices.data, chosen.overrides.task),
            )
        ),
        resume=run.resume,
        wandb=OmegaConf.to_container(run.logger, resolve=True) if run.get("logger") else {},
    )
    results = launch(train, cfg, settings, build_evaluator, **run.launch)
    return metric(results, run.metric)


if __name__ == "__main__":
    answer_help(__doc__, "train")
    store_defaults()
    report_errors(
        main, "train", to_go_on="resume=true run_dir=<its folder> goes on from the last checkpoint"
    )
