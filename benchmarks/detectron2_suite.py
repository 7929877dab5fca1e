"""Detectron2 v0.6's own tests on the Detectron2 and the libraries that are installed here.

    git clone --branch v0.6 https://github.com/facebookresearch/detectron2
    python benchmarks/detectron2_suite.py detectron2

The path is that of a checkout: its tests, and the zoo's configuration files, are put beside a copy
of the installed package; `training.compat` is all that is added. Prints how many tests pass, and
each one that does not with what it needs; the exit code is 1 if one fails for any other reason.
"""

import os
import re
import shutil
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from importlib.util import find_spec
from pathlib import Path
from typing import NamedTuple
from xml.etree import ElementTree

from oiv5_d2.table import Table, to_text

COMPAT = "oiv5_d2.training.compat"  # as a plugin of pytest: imported before anything else
UNKNOWN = "UNKNOWN"
# What a test needs, by what it says when it does not pass; the first one that fits.
NEEDS = {
    "a GPU": "CUDA not available|CUDA unavailable|requires gpu",
    "Caffe2": "needs Caffe2",
    "compiled operators": r"detectron2\._C|nms_rotated|Deformable|test_fast_eval",
    "mmdet": "mmdet not available",
    "black, shapely": r"No module named '(black|shapely)",
    "a download": r"urlopen error|datasets/(coco|cityscapes)",
}


class Outcome(NamedTuple):
    """What became of a test: passed, skipped or failed, and why if it did not pass."""

    name: str
    kind: str
    said: str = ""

    @property
    def need(self) -> str:
        """What it needs; `UNKNOWN` if that is not among `NEEDS`."""
        said = f"{self.name} {self.said}"
        return next((need for need, sign in NEEDS.items() if re.search(sign, said)), UNKNOWN)


def main(checkout: Path) -> int:
    """Run the suite; print the table."""
    with tempfile.TemporaryDirectory() as folder:
        lay_out(checkout, Path(folder))
        outcomes = list(read_outcomes(run(Path(folder))))
    left = [outcome for outcome in outcomes if outcome.kind != "passed"]
    left.sort(key=lambda outcome: (outcome.need, outcome.name))
    rows = [(one.need, one.kind, one.name, one.said.partition("\n")[0][:60]) for one in left]
    title = f"{len(outcomes) - len(left)} of {len(outcomes)} tests pass"
    print(
        title, to_text(Table(title, ("needs", "kind", "test", "said"), rows, num_names=4)), sep="\n"
    )
    return any(outcome.need == UNKNOWN for outcome in left)


def lay_out(checkout: Path, folder: Path) -> None:
    """Put the installed package, the zoo's files and the tests into a folder."""
    spec = find_spec("detectron2")
    assert spec and spec.origin
    shutil.copytree(Path(spec.origin).parent, folder / "detectron2")
    zoo = folder / "detectron2" / "model_zoo" / "configs"
    if not zoo.exists():
        shutil.copytree(checkout / "configs", zoo)
    shutil.copytree(checkout / "tests", folder / "tests")


def run(folder: Path) -> Path:
    """Run the tests of a folder; return pytest's report."""
    report = folder / "report.xml"
    words = ["-q", "-p", COMPAT, "-p", "no:cacheprovider", "-W", "ignore", f"--junitxml={report}"]
    paths = os.pathsep.join([str(folder), str(Path(__file__).parents[1])])
    environment = {**os.environ, "PYTHONPATH": f"{paths}:{os.environ.get('PYTHONPATH', '')}"}
    command = [sys.executable, "-m", "pytest", *words, "tests"]
    subprocess.run(command, cwd=folder, env=environment, stdout=sys.stderr, check=False)
    return report


def read_outcomes(report: Path) -> Iterator[Outcome]:
    """Yield what pytest wrote of each test; an error outside the test counts as its failure."""
    for case in ElementTree.parse(report).iter("testcase"):
        name = f"{case.get('classname', '')}.{case.get('name', '')}".removeprefix("tests.")
        marks = [mark for mark in case if mark.tag in ("skipped", "failure", "error")]
        if marks:
            kind = "skipped" if marks[0].tag == "skipped" else "failed"
            said = f"{marks[0].get('message', '')}\n{marks[0].text or ''}".strip()
            yield Outcome(name, kind, said)
        else:
            yield Outcome(name, "passed")


if __name__ == "__main__":
    sys.exit(main(Path(sys.argv[1])))
