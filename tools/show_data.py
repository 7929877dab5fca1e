"""Write contact sheets of prepared images:  python tools/show_data.py data=mini.

After augmentation:  python tools/show_data.py +experiment=quickstart augmented=true
Single objects:      python tools/show_data.py data=mini objects=true
With their clicks:   python tools/show_data.py data=mini clicks=true
Overlaps, cut:       python tools/show_data.py data=traffic occlusion=smaller
(drawn data has no masks that overlap)
"""

from itertools import islice
from pathlib import Path

import hydra
from hydra import compose
from hydra.core.hydra_config import HydraConfig
from omegaconf import DictConfig, OmegaConf

from oiv5_d2.console.commands import (
    check_d2,
    choose_defaults,
    data_commands,
    data_words,
    read_class_file,
)
from oiv5_d2.console.errors import report_errors, suggesting
from oiv5_d2.console.help import answer_help
from oiv5_d2.runs.prepared import Prepared, locate

LOOKED_AT = 200  # images, for masks that overlap


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
    from oiv5_d2.reporting.objects import object_cells
    from oiv5_d2.reporting.overlaps import LEGEND, cut_cells
    from oiv5_d2.reporting.truth import open_part

    part = open_part(prepared)
    num_images = max(1, run.num_images // run.columns) if run.augmented else run.num_images
    num_images = max(LOOKED_AT, num_images) if run.occlusion else num_images
    images = pick(part, num_images, run.seed, list(run.classes), list(run.image_ids))
    kind, name, columns, entries = "as prepared", run.part, run.columns, None
    if run.augmented:
        cells = as_fed(part, images, training_feed(run, prepared), run.columns)
        kind, name = "as training is fed", f"{name}_augmented"
    elif run.occlusion:
        cells = islice(cut_cells(part, images, run.occlusion), run.num_images)
        kind = "overlapping masks, before and after they are cut"
        name, columns, entries = f"{name}_occlusion", 2, LEGEND
    elif run.objects or run.clicks:
        drawings = find_clicks(run, images) if run.clicks else None
        cells = islice(object_cells(part, images, list(run.classes), drawings), run.num_images)
        name = f"{name}_{'clicks' if run.clicks else 'objects'}"
        kind = "single objects"
        kind += ", their first boxes and clicks (green: object, red: not)" if run.clicks else ""
    else:
        cells = as_prepared(part, images)
    path = Path(run.output) / f"{name}.jpg"
    for sheet in write_sheets(list(cells), part, kind, columns, path, entries):
        print(sheet)


def find_clicks(run: DictConfig, images):  # noqa: ANN001, ANN201  # of heavy imports
    """Return how the masks of images were drawn, from the same tables as the data was prepared."""
    from oiv5_d2.preparation.drawings import find_drawings
    from oiv5_d2.preparation.settings import read_request

    chosen = HydraConfig.get()
    words = data_words(chosen.runtime.choices.data, chosen.overrides.task)
    request = read_request(compose("prepare", overrides=words))
    return find_drawings(
        request,
        [(i.record["file_name"].split("/")[0], i.record["open_images_id"]) for i in images],
    )


def training_feed(run: DictConfig, prepared: Prepared):  # noqa: ANN201  # of a heavy import
    from oiv5_d2.reporting.augmented import build_feed
    from oiv5_d2.training.catalog import register
    from oiv5_d2.training.config import to_cfg

    register([prepared], run.data.classes)
    cfg = to_cfg(run, output_dir=run.output)
    augment = OmegaConf.to_container(run.augment)
    return build_feed(cfg, augment, prepared.name, list(run.data.classes), run.seed)


if __name__ == "__main__":
    answer_help(__doc__, "show")
    report_errors(main, "show", [read_class_file, choose_defaults])
