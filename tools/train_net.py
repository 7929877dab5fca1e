"""Train one experiment:  python tools/train_net.py +experiment=r101_traffic.

A sweep:  python tools/train_net.py -m +experiment=quickstart d2.SOLVER.BASE_LR=0.02,0.04
Resume:   the same command with  run_dir=outputs/<name>/<time> resume=true
"""

import os
from pathlib import Path

import hydra
from hydra.core.hydra_config import HydraConfig
from omegaconf import DictConfig, OmegaConf

from oiv5_d2.console.commands import check_d2, choose_defaults, data_commands
from oiv5_d2.console.errors import report_errors, suggesting
from oiv5_d2.console.help import answer_help
from oiv5_d2.runs.prepared import Prepared, locate


@hydra.main(version_base="1.3", config_path="../configs", config_name="train")
def main(run: DictConfig) -> float:
    """Compose, bridge, train; return the metric that a sweep compares."""
    chosen = HydraConfig.get()
    os.chdir(chosen.runtime.cwd)  # with hydra.job.chdir=true, too, paths are the caller's
    check_d2(OmegaConf.to_container(run.d2), chosen.runtime.choices.detectron2)
    with suggesting(data_commands(chosen.runtime.choices.data, chosen.overrides.task)):
        return train_run(run, locate_datasets(run), chosen.runtime.output_dir)


def locate_datasets(run: DictConfig) -> list[Prepared]:
    """Find the data sets before the long import: most first runs fail for want of them."""
    lists = filter(OmegaConf.is_list, (run.d2.DATASETS.TRAIN, run.d2.DATASETS.TEST))
    return locate(run.data.name, Path(run.data.dir), [name for names in lists for name in names])


def train_run(run: DictConfig, datasets: list[Prepared], run_dir: str) -> float:
    # Here, so that --help and a mistake on the command line are answered at once.
    from oiv5_d2.evaluation.coco import build_evaluator
    from oiv5_d2.training.config import to_cfg
    from oiv5_d2.training.run import Features, Settings, train

    cfg = to_cfg(run, run_dir)
    settings = Settings(
        name=run.name,
        question=run.question,
        classes=tuple(run.data.classes),
        datasets=tuple(datasets),
        resume=run.resume,
        wandb=OmegaConf.to_container(run.logger, resolve=True) if run.get("logger") else {},
        launch=OmegaConf.to_container(run.launch),
        features=Features(run.metric, OmegaConf.to_container(run.augment), **run.trainer),
    )
    return train(cfg, settings, build_evaluator)


def start() -> None:
    choose_defaults(write_defaults)
    main()


def write_defaults(configs_dir: Path) -> None:
    from oiv5_d2.training import config

    config.write_defaults(configs_dir)


if __name__ == "__main__":
    answer_help(__doc__, "train")
    report_errors(start, "train")
