"""Fill in masks that people did not draw:  python tools/fill_masks.py run=outputs/partial.

Then train on them:  python tools/train_net.py ... d2.DATASETS.TRAIN=[mini_partial_train_pseudo]
By another model of (image, boxes), saved by torch.export:  masker=segmenter.pt2
"""

import logging
from pathlib import Path

import hydra
from omegaconf import DictConfig

from oiv5_d2.console.commands import data_commands
from oiv5_d2.console.errors import report_errors, suggesting
from oiv5_d2.console.help import answer_help
from oiv5_d2.problems import wrong_setting
from oiv5_d2.runs.layout import data_choice, find_part, find_run

logger = logging.getLogger("oiv5_d2.fill_masks")


@hydra.main(version_base="1.3", config_path="../configs", config_name="fill_masks")
def main(run: DictConfig) -> None:
    """Find a run and its data, and write the part's file with the masks."""
    if not 0 <= run.min_score <= 1:
        raise wrong_setting("min_score", run.min_score, "a probability, 0 to 1")
    run_dir = find_run(Path(run.run))
    with suggesting(data_commands(*data_choice(run_dir))):
        dataset = find_part(run_dir, run.part)
        fill_part(run, run_dir, dataset)


def fill_part(run: DictConfig, run_dir: Path, dataset) -> None:  # noqa: ANN001  # of a heavy import
    # Here, so that --help and a mistake on the command line are answered at once.
    from oiv5_d2.evaluation.filling import fill, masker_of_file, masker_of_run
    from oiv5_d2.training.models import load_cfg

    if run.masker is None:
        cfg = load_cfg(run_dir, run_dir / run.weights, run.device)
        masker = masker_of_run(cfg)
    else:
        masker = masker_of_file(Path(run.masker))
    path = dataset.json_path.with_stem(f"{dataset.json_path.stem}_pseudo")
    filled = fill(dataset, masker, run.min_score, path)
    logger.info("%d of %d objects got a mask: %s", filled.num_masks, filled.num_boxes, path)


if __name__ == "__main__":
    answer_help(__doc__, "fill_masks")
    report_errors(main, "fill_masks")
