"""One worker of a sweep over the stand-in, as a process: settings as JSON, then the words."""

import json
import logging
import shlex
import sys
from pathlib import Path

from oiv5_d2.problems import Problem
from oiv5_d2.sweeps import trials
from oiv5_d2.sweeps.settings import Settings
from oiv5_d2.sweeps.sweep import run_sweep

if __name__ == "__main__":
    logging.basicConfig(level=logging.INFO, format="%(message)s")
    trials.preloaded = list  # the stand-in needs neither PyTorch nor Detectron2
    common = {"sweep_dir": "sweep", "jobs": 1, "metric": "segm/AP", "params": {}, "sampler": None}
    common |= {"pruner": None, "trials": 20, "storage": None, "gpus": 1, "slurm": None}
    settings, words = common | json.loads(sys.argv[1]), sys.argv[2:]
    sys.argv = [str(Path("tools/stand_in.py").resolve())]
    try:
        run_sweep(Settings(**settings), words, lambda *words: shlex.join(words))
    except Problem as problem:
        raise SystemExit(str(problem)) from None
