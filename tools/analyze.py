"""What a model costs:  python tools/analyze.py +experiment=r50_traffic.

Needs neither data nor weights. Parameters and operations by part; time and memory of
inference, and of the gradients, which are nearly all of a training step.
"""

import hydra
from hydra.core.hydra_config import HydraConfig
from omegaconf import DictConfig, OmegaConf

from oiv5_d2.console.commands import check_d2, choose_defaults
from oiv5_d2.console.errors import report_errors
from oiv5_d2.console.help import answer_help
from oiv5_d2.problems import wrong_setting


@hydra.main(version_base="1.3", config_path="../configs", config_name="analyze")
def main(run: DictConfig) -> None:
    """Check the settings, count and measure."""
    check_d2(OmegaConf.to_container(run.d2), HydraConfig.get().runtime.choices.detectron2)
    if len(run.size) != 2 or min(run.size) < 32:
        raise wrong_setting("size", list(run.size), "[height, width], each at least 32 pixels")
    if run.rounds < 0:
        raise wrong_setting("rounds", run.rounds, "at least 0")
    analyze(run)


def analyze(run: DictConfig) -> None:
    # Here, so that --help and a mistake on the command line are answered at once.
    import torch

    from oiv5_d2.console.screen import console, draw
    from oiv5_d2.table import Table
    from oiv5_d2.training import cost
    from oiv5_d2.training.config import to_cfg

    from detectron2.modeling import build_model  # isort: skip  # once it can be imported

    cfg = to_cfg(run, output_dir="outputs")
    cfg.defrost()
    cfg.MODEL.DEVICE = run.device or ("cuda" if torch.cuda.is_available() else "cpu")
    cfg.MODEL.WEIGHTS = ""
    cfg.freeze()
    size, model = cost.frame(cfg, tuple(run.size)), build_model(cfg)
    rows = [
        (one.name, *(f"{n / 1e6:.2f}" for n in (one.parameters, one.trained)),
         f"{one.operations / 1e9:.1f}")
        for one in cost.count(model, size)
    ]  # fmt: skip
    title = f"One image of {run.size[0]} x {run.size[1]} pixels, seen at {size[0]} x {size[1]}"
    columns = ("part", "million parameters", "trained", "billion multiply-adds")
    draw(Table(title, columns, rows, num_names=1))
    if run.rounds:
        speeds = {
            "inference": cost.time_inference(model, size, run.rounds),
            "gradients": cost.time_gradients(model, cfg, size, run.rounds),
        }
        memory = "GPU memory, MB" if cfg.MODEL.DEVICE == "cuda" else "the process's memory, MB"
        rows = [
            (name, str(one.images), f"{one.seconds:.2f}", f"{one.images / one.seconds:.2f}",
             f"{one.megabytes:,.0f}")
            for name, one in speeds.items()
        ]  # fmt: skip
        columns = ("with random weights", "images", "seconds", "images/s", memory)
        draw(Table(f"On {cfg.MODEL.DEVICE}", columns, rows, num_names=1))
        console.print("Random weights keep every proposal: a trained model is faster.")


if __name__ == "__main__":
    answer_help(__doc__, "analyze")
    report_errors(main, "analyze", [choose_defaults])
