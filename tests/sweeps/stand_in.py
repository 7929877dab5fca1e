"""A tool that takes a moment where training takes hours: its metric grows to 100 * rate.

It keeps its step in a file, as a run keeps its checkpoints, and reports as a run's hook does.
"""

import json
import multiprocessing
import os
import sys
import time
from pathlib import Path

from oiv5_d2.files import write_whole
from oiv5_d2.runs.study import Reports

STEPS = 10


def main() -> None:
    words = dict(word.split("=", 1) for word in sys.argv[1:])
    run_dir, rate = Path(words["run_dir"].strip("'")), float(words["rate"])
    path = run_dir / "step"
    step = int(path.read_text()) if path.is_file() else 0
    commands = json.loads((run_dir / "run.json").read_text()) if step else {"pieces": 0}
    record = {"pieces": commands["pieces"] + 1, "metric": "segm/AP"}
    write_whole(run_dir / "run.json", json.dumps(record).encode())
    print(f"rate {rate}", flush=True)
    print(f"workers start by {multiprocessing.get_start_method()}", flush=True)
    print(f"gpus {os.environ['CUDA_VISIBLE_DEVICES']}", flush=True)
    if rate > 1:
        print("error: step 3 diverged: loss=nan\n  Change rate.", file=sys.stderr)
        raise SystemExit(1)
    reports, value = Reports(run_dir), 0.0
    while step < STEPS:
        time.sleep(float(words.get("seconds", "0")))
        step += 1
        path.write_text(str(step))
        value = 100 * rate * step / STEPS
        if reports.report(step, value):
            break
    results = {"segm": {"AP": 100 * rate if step == STEPS else value}}
    end = {"results": results, "seconds": 1.0, "iterations": step}
    write_whole(run_dir / "run.json", json.dumps(record | end).encode())


if __name__ == "__main__":
    main()
