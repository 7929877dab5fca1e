"""Write contact sheets of prepared pictures:  python tools/show_data.py data=mini.

After augmentation:  python tools/show_data.py +experiment=quickstart augmented=true
"""

from pathlib import Path

import hydra
from hydra.core.hydra_config import HydraConfig
from omegaconf import DictConfig

from oiv5_d2.console.commands import prepare_command
from oiv5_d2.console.errors import report_errors
from oiv5_d2.console.help import answer_help
from oiv5_d2.drawing.sheets import Cell
from oiv5_d2.reporting.augmented import build_feed
from oiv5_d2.reporting.gallery import Part, as_fed, as_prepared, open_part, pick, write_sheets
from oiv5_d2.reporting.truth import read_label_names
from oiv5_d2.runs.prepared import Prepared, locate
from oiv5_d2.training.catalog import register
from oiv5_d2.training.config import store_defaults, to_cfg


@hydra.main(version_base="1.3", config_path="../configs", config_name="show")
def main(run: DictConfig) -> None:
    """Choose pictures of one part, draw them, and print where the sheets are."""
    data_dir, name = Path(run.data.dir), f"{run.data.name}_{run.part}"
    chosen = HydraConfig.get()
    make = prepare_command(chosen.runtime.choices.data, chosen.overrides.task)
    (prepared,) = locate(run.data.name, data_dir, [name], make)
    names = read_label_names(data_dir / "subset" / f"{run.part}.json")
    part = open_part(name, prepared.json_path, prepared.images_dir, names)
    cells = draw_augmented(run, part, prepared) if run.augmented else draw_prepared(run, part)
    kind = "as training is fed" if run.augmented else "as prepared"
    path = Path(run.output) / f"{run.part}{'_augmented' if run.augmented else ''}.jpg"
    for sheet in write_sheets(cells, part, kind, run.columns, path):
        print(sheet)


def draw_prepared(run: DictConfig, part: Part) -> list[Cell]:
    pictures = pick(part, run.num_images, run.seed, list(run.classes), list(run.image_ids))
    return list(as_prepared(part, pictures))


def draw_augmented(run: DictConfig, part: Part, prepared: Prepared) -> list[Cell]:
    num_rows = max(1, run.num_images // run.columns)
    pictures = pick(part, num_rows, run.seed, list(run.classes), list(run.image_ids))
    register([prepared], run.data.classes)
    cfg = to_cfg(run, output_dir=run.output)
    feed = build_feed(cfg, prepared.name, list(run.data.classes), run.seed)
    return list(as_fed(part, pictures, feed, run.columns))


if __name__ == "__main__":
    answer_help(__doc__, "show")
    store_defaults()
    report_errors(main, "show")
