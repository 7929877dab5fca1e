"""Average checkpoints into one file of weights:  python tools/average.py run=outputs/quickstart.

Of several runs that started from the same weights:  weights=[model_final.pth,<path>]
Is it better?  python tools/evaluate.py run=outputs/quickstart weights=model_mean.pth
"""

import logging
from pathlib import Path

import hydra
from omegaconf import DictConfig, OmegaConf

from oiv5_d2.console.errors import report_errors
from oiv5_d2.console.help import answer_help
from oiv5_d2.problems import wrong_setting
from oiv5_d2.runs.layout import find_run, find_weights

logger = logging.getLogger("oiv5_d2.average")


@hydra.main(version_base="1.3", config_path="../configs", config_name="average")
def main(run: DictConfig) -> None:
    """Find the run and the checkpoints, and write their mean."""
    if run.weights is not None and not OmegaConf.is_list(run.weights):
        raise wrong_setting("weights", run.weights, "a list, such as [model_best.pth,...]")
    run_dir = find_run(Path(run.run))
    # Here, so that --help and a mistake on the command line are answered at once.
    from oiv5_d2.training.averages import write_mean
    from oiv5_d2.training.checkpoints import NUMBERED

    numbered = sorted(path.name for path in run_dir.glob(NUMBERED))
    paths = [find_weights(run_dir, name) for name in run.weights or numbered]
    write_mean(paths, run_dir / run.to)
    logger.info("%s is the mean of %s", run_dir / run.to, ", ".join(map(str, paths)))


if __name__ == "__main__":
    answer_help(__doc__, "average")
    report_errors(main, "average")
