"""Write contact sheets of prepared images:  python tools/show_data.py data=mini.

After augmentation:  python tools/show_data.py +experiment=quickstart augmented=true
"""

from pathlib import Path

import hydra
from hydra.core.hydra_config import HydraConfig
from omegaconf import DictConfig, OmegaConf

from oiv5_d2.console.commands import check_d2, choose_defaults, data_commands
from oiv5_d2.console.errors import report_errors, suggesting
from oiv5_d2.console.help import answer_help
from oiv5_d2.runs.prepared import Prepared, locate


@hydra.main(version_base="1.3", config_path="../configs", config_name="show")
def main(run: DictConfig) -> None:
    """Choose images of one part, draw them, and print where the sheets are."""
    chosen = HydraConfig.get()
    check_d2(OmegaConf.to_container(run.d2), chosen.runtime.choices.detectron2)
    with suggesting(data_commands(chosen.runtime.choices.data, chosen.overrides.task)):
        name = f"{run.data.name}_{run.part}"
        (prepared,) = locate(run.data.name, Path(run.data.dir), [name])
        show(run, prepared)


def show(run: DictConfig, prepared: Prepared) -> None:
    # Here, so that --help and a mistake on the command line are answered at once.
    from oiv5_d2.reporting.gallery import as_fed, as_prepared, pick, write_sheets
    from oiv5_d2.reporting.truth import open_part

    part = open_part(prepared)
    num_images = max(1, run.num_images // run.columns) if run.augmented else run.num_images
    images = pick(part, num_images, run.seed, list(run.classes), list(run.image_ids))
    cells = (
        as_fed(part, images, training_feed(run, prepared), run.columns)
        if run.augmented
        else as_prepared(part, images)
    )
    kind = "as training is fed" if run.augmented else "as prepared"
    path = Path(run.output) / f"{run.part}{'_augmented' if run.augmented else ''}.jpg"
    for sheet in write_sheets(list(cells), part, kind, run.columns, path):
        print(sheet)


def training_feed(run: DictConfig, prepared: Prepared):  # noqa: ANN201  # of a heavy import
    from oiv5_d2.reporting.augmented import build_feed
    from oiv5_d2.training.catalog import register
    from oiv5_d2.training.config import to_cfg

    register([prepared], run.data.classes)
    cfg = to_cfg(run, output_dir=run.output)
    augment = OmegaConf.to_container(run.augment)
    return build_feed(cfg, augment, prepared.name, list(run.data.classes), run.seed)


def start() -> None:
    choose_defaults()
    main()


if __name__ == "__main__":
    answer_help(__doc__, "show")
    report_errors(start, "show")
