"""Lay out the W&B workspace of the project:  python tools/wandb_workspace.py entity=me.

Without a key it is only written as JSON, and so it is with  save=false.
"""

import logging
from pathlib import Path

import hydra
from omegaconf import DictConfig

from oiv5_d2.console.errors import report_errors
from oiv5_d2.console.help import answer_help

logger = logging.getLogger("oiv5_d2.wandb_workspace")


@hydra.main(version_base="1.3", config_path="../configs", config_name="workspace")
def main(run: DictConfig) -> None:
    """Build the workspace, write it, and save it at W&B if there is a key."""
    # Here, so that --help and a mistake on the command line are answered at once.
    from oiv5_d2.reporting.dashboard import build_workspace, write_workspace

    place = (run.entity or "entity", run.project)
    classes, datasets = list(run.data.classes), list(run.d2.DATASETS.TEST)
    workspace = build_workspace(place, run.name, classes, datasets, run.metric)
    path = Path(run.to)
    write_workspace(path, workspace)
    logger.info("%s has the workspace", path)
    if run.save and run.entity and has_key():
        logger.info("Saved: %s", workspace.save().url)
    else:
        logger.info("Not saved at W&B, which needs `wandb login`, entity=<user or team>, save=true")


def has_key() -> bool:
    import wandb

    try:
        return bool(wandb.login(prompt=False, verify=False))
    except wandb.errors.AuthenticationError as error:
        logger.warning("%s", error)
        return False


if __name__ == "__main__":
    answer_help(__doc__, "workspace")
    report_errors(main, "workspace")
