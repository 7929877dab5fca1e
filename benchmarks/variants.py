"""Compare ways to train, at equal compute and over seeds:  python benchmarks/variants.py.

Trains the quickstart's data in each way that is not yet below outputs/variants (what was stopped is
resumed), two at a time, and writes experiments/variants/README.md. With --table, only the latter,
of what has finished.
"""

import os
import subprocess
import sys
from collections.abc import Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from statistics import mean, stdev
from typing import Any, NamedTuple

from oiv5_d2.files import whole_file
from oiv5_d2.reporting.record import read_answer
from oiv5_d2.reporting.tables import to_markdown
from oiv5_d2.runs.layout import RUN_JSON, is_finished, read_record
from oiv5_d2.runs.metrics import look_up
from oiv5_d2.table import Table

SEEDS, AT_ONCE = (1, 2, 3), 2
OUTPUTS, PAGE = Path("outputs/variants"), Path("experiments/variants/README.md")
COMMAND = ("python", "tools/train_net.py", "+experiment=quickstart", "logger=none")
CLASSES = ("Person", "Traffic light", "Car", "Traffic sign")
METRICS = ("AP", "AP50", *(f"AP-{name}" for name in CLASSES))
PLAIN = "d2.DATALOADER.SAMPLER_TRAIN=TrainingSampler"
AVERAGES = ("trainer.ema=0.99", "trainer.average_last=3", "d2.SOLVER.CHECKPOINT_PERIOD=50")
TRAININGS = {
    "plain": (PLAIN, *AVERAGES),
    "bf16": (PLAIN, "trainer.precision=bf16"),
    "class_aware": ("d2.DATALOADER.SAMPLER_TRAIN=ClassAwareSampler",),
    "copy_paste": (PLAIN, "augment=copy_paste"),
    "jitter": (  # as many pixels as the 160 x 213 of the others
        PLAIN,
        "augment=large_scale_jitter",
        "augment.large_scale_jitter.size=192",
        "augment.large_scale_jitter.scale=[0.5,2.0]",
    ),
}


class Variant(NamedTuple):
    """A row of the table: a training, and which of its weights are evaluated."""

    name: str
    training: str
    weights: str = ""  # as in a run's results; "" for the last step's


VARIANTS = (
    Variant("plain", "plain"),
    Variant("moving average of the weights (0.99)", "plain", "ema/"),
    Variant("mean of the last 3 checkpoints", "plain", "averaged/"),
    Variant("steps in bfloat16", "bf16"),
    Variant("class-aware sampler", "class_aware"),
    Variant("copy-paste", "copy_paste"),
    Variant("large-scale jitter", "jitter"),
)
Results = Mapping[int, Mapping[str, Any]]  # of one training, by seed


def train(training: str, seed: int) -> None:
    """Train in one way, unless that is done."""
    run_dir = OUTPUTS / f"{training}-{seed}"
    if is_finished(run_dir):
        return
    resume = [f"resume={str((run_dir / RUN_JSON).is_file()).lower()}"]
    words = [*COMMAND[1:], f"d2.SEED={seed}", f"run_dir={run_dir}", *resume, *TRAININGS[training]]
    run_dir.mkdir(parents=True, exist_ok=True)
    environment = {**os.environ, "OMP_NUM_THREADS": str(max(1, (os.cpu_count() or 1) // AT_ONCE))}
    with (run_dir / "screen.txt").open("a") as screen:
        command = [sys.executable, *words]
        subprocess.run(command, check=True, stdout=screen, stderr=screen, env=environment)
    print(f"{run_dir}: {look_up(read_record(run_dir)['results'], 'segm/AP'):.1f} AP", flush=True)


def read(training: str) -> Results:
    """Return the results of the seeds that have finished."""
    folders = {seed: OUTPUTS / f"{training}-{seed}" for seed in SEEDS}
    return {seed: read_record(one)["results"] for seed, one in folders.items() if is_finished(one)}


def compare() -> Table:
    """Return a row per variant: mean and standard deviation over seeds, and the gain."""
    results = {training: read(training) for training in TRAININGS}
    rows = [_row(one, results[one.training], results["plain"]) for one in VARIANTS]
    columns = ("variant", "seeds", *METRICS, "AP gained", "higher in")
    return Table("Variants", columns, rows)


def _row(variant: Variant, results: Results, plain: Results) -> tuple[str, ...]:
    found = {
        seed: {name: look_up(one, f"{variant.weights}segm/{name}") for name in METRICS}
        for seed, one in results.items()
    }
    gains = [found[seed]["AP"] - look_up(plain[seed], "segm/AP") for seed in found if seed in plain]
    higher = f"{sum(gain > 0 for gain in gains)} of {len(gains)}"
    gained = [_spread(gains, "+.1f"), higher] if any(gains) else ["", ""]
    scores = [_spread([one[name] for one in found.values()]) for name in METRICS]
    return (variant.name, str(len(found)), *scores, *gained)


def _spread(values: Sequence[float], form: str = ".1f") -> str:
    """Return mean and standard deviation; a dash where nothing was measured."""
    if not values:
        return "-"
    more = f" ± {stdev(values):.1f}" if len(values) > 1 else ""
    return f"{mean(values):{form}}{more}"


def write_page() -> None:
    """Write the table with the commands that made it; the answer stays as it was written."""
    words = [f"- {name}: `{' '.join((*COMMAND, *more))}`" for name, more in TRAININGS.items()]
    page = f"""# variants

- **Question** What helps the quickstart's model at equal compute: averages of the weights, another
  sampler, another augmentation, 16 bits?
- **Answer** {read_answer(PAGE)}
- **Run** `python benchmarks/variants.py`

Mask average precision (0 to 100) on mini_validation: mean over seeds ± standard deviation. All runs
make as many steps, of as many images of about as many pixels. The gain is over the plain run of the
same seed. The first three rows are three sets of weights of the same runs.

{to_markdown(compare())}

Each with `d2.SEED=1`, `2`, `3`:

{chr(10).join(words)}
"""
    PAGE.parent.mkdir(parents=True, exist_ok=True)
    with whole_file(PAGE) as temporary:
        temporary.write_text(page)


def main() -> None:
    """Train what is missing, then write the page."""
    if "--table" not in sys.argv:
        runs = [(training, seed) for seed in SEEDS for training in TRAININGS]
        with ThreadPoolExecutor(AT_ONCE) as pool:
            list(pool.map(train, *zip(*runs, strict=True)))
    write_page()
    print(PAGE)


if __name__ == "__main__":
    main()
