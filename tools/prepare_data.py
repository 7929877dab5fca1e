"""Make training data out of a release:  python tools/prepare_data.py data=mini.

Select, fetch, convert, verify, audit; what is done is not repeated. Only show the plan: plan=true
A folder laid out as the release:  python tools/prepare_data.py data=folder data.source=/path
"""

import logging
from collections.abc import Mapping
from functools import partial
from typing import TYPE_CHECKING, Any

import hydra
from hydra.core.hydra_config import HydraConfig
from omegaconf import DictConfig

from oiv5_d2.console.commands import read_class_file
from oiv5_d2.console.errors import report_errors
from oiv5_d2.console.help import answer_help

if TYPE_CHECKING:
    from oiv5_d2.preparation.plan import Plan
    from oiv5_d2.preparation.settings import Request

NETWORKS = {"100 Mbit/s": 100e6, "1 Gbit/s": 1e9}

logger = logging.getLogger("oiv5_d2.prepare_data")


@hydra.main(version_base="1.3", config_path="../configs", config_name="prepare")
def main(run: DictConfig) -> None:
    """Run every stage that is not done, and print the result."""
    # Here, so that --help and a mistake on the command line are answered at once.
    from oiv5_d2.audit.audit import read_audit
    from oiv5_d2.audit.figures import AUDIT_JSON
    from oiv5_d2.audit.findings import refuse_errors
    from oiv5_d2.console.bars import shown
    from oiv5_d2.console.screen import console, set_up_logging
    from oiv5_d2.files import naming_full_disk
    from oiv5_d2.preparation.plan import make_plan
    from oiv5_d2.preparation.settings import read_request
    from oiv5_d2.preparation.stages import locked
    from oiv5_d2.preparation.steps import run_stages

    set_up_logging()
    request = read_request(run)
    show = partial(shown, console)
    with naming_full_disk(request.data.dir), locked(request.data.dir):
        if request.plan:
            show_plan(make_plan(request, show), request)
            return
        num_run = run_stages(request, show, lambda name: logger.info("%s: done", name))
    if num_run == 0:
        logger.info("Everything is done already; force=true does it again")
    report = read_audit(request.data.dir)
    show_summary(report, request)
    refuse_errors(report["findings"], request.max_errors, request.data.dir / AUDIT_JSON)


def show_plan(plan: "Plan", request: "Request") -> None:
    """Print what would be done."""
    from oiv5_d2.acquisition.transfer import folder_of
    from oiv5_d2.console.screen import console, draw, duration, size
    from oiv5_d2.preparation.plan import seconds_at
    from oiv5_d2.preparation.tables import plan_tables

    for state in (True, False):
        names = [name for name, done in plan.stages if done == state]
        if names:
            console.print(f"{'Done' if state else 'To do'}: {', '.join(names)}")
    if request.data.is_drawn and not plan.parts:
        console.print(f"The synthetic release is still to be drawn: {request.data.synthetic}")
    for table in plan_tables(plan):
        draw(table)
    for problem in (problem for split in plan.splits for problem in split.problems):
        console.print(f"Some sizes are unknown: {problem}", soft_wrap=True)
    if plan.num_bytes and folder_of(request.data.buckets[1]) is None:
        times = (f"{duration(seconds_at(plan.num_bytes, rate))} at {name}"
                 for name, rate in NETWORKS.items())  # fmt: skip
        console.print(f"{size(plan.num_bytes)} to fetch: {', '.join(times)}")
    if plan.pack_bytes:
        console.print(f"{size(plan.pack_bytes)} to pack")
    needed = f"about {size(plan.disk_bytes)} needed, " if plan.disk_bytes else ""
    console.print(f"Disk of {request.data.dir}: {needed}{size(plan.free_bytes)} free")
    if plan.disk_bytes > plan.free_bytes:
        console.print("That does not fit: free some disk space, or set data.limit or data.dir")


def show_summary(report: Mapping[str, Any], request: "Request") -> None:
    """Print the result, where it is, and what to do next."""
    from oiv5_d2.audit.tables import short_tables, tables
    from oiv5_d2.console.screen import console, draw

    for table in tables(report) if request.show_audit else short_tables(report):
        draw(table)
    if request.data.is_made_here:
        show_files(report, request)
    for what, where in places(request):
        console.print(f"  {what:<32}{where}", soft_wrap=True)
    console.print("Next:")
    for command in next_commands(request):
        console.print(f"  {command}", soft_wrap=True)


def show_files(report: Mapping[str, Any], request: "Request") -> None:
    """Print what became of the files that were wanted."""
    from oiv5_d2.acquisition.manifest import MANIFEST_CSV, num_to_retry, read_manifest
    from oiv5_d2.console.screen import console, draw
    from oiv5_d2.preparation.tables import files_line, not_fetched, verified_line

    manifest, choice = read_manifest(request.data.dir / MANIFEST_CSV), request.data.choice
    table = not_fetched(manifest)
    if table.rows:
        draw(table)
    if line := verified_line(report, [p for p in choice.parts if p in choice.keep_verified]):
        console.print(f"{line}; data.keep_verified=[] leaves them out", soft_wrap=True)
    console.print(files_line(manifest))
    if num_failed := num_to_retry(manifest):
        rerun = f"{num_failed:,} files failed and may succeed later: rerun with retry_failed=true"
        console.print(rerun)


def places(request: "Request") -> list[tuple[str, str]]:
    """Return what was made, and where it is."""
    from oiv5_d2.acquisition.manifest import MANIFEST_CSV
    from oiv5_d2.audit.figures import AUDIT_JSON
    from oiv5_d2.conversion.convert import coco_path
    from oiv5_d2.preparation.listings import CREDITS_CSV, IMAGE_LIST_TXT

    folder = request.data.dir
    made = [
        ("COCO files", " ".join(str(coco_path(folder, part)) for part in request.data.parts)),
        ("audit; show_audit=true shows it", str(folder / AUDIT_JSON)),
    ]
    if not request.data.is_made_here:
        return made
    return [
        *made,
        ("images", str(folder / "images")),
        ("each file's state and source", str(folder / MANIFEST_CSV)),
        ("authors and licences (CC BY)", str(folder / CREDITS_CSV)),
        ("ids for other downloaders", str(folder / IMAGE_LIST_TXT)),
    ]


def next_commands(request: "Request") -> list[str]:
    """Return the commands that show and train the data, with the same choice of data."""
    from oiv5_d2.console.commands import data_words
    from oiv5_d2.console.shell import command

    chosen = HydraConfig.get()
    words = data_words(chosen.runtime.choices.data, chosen.overrides.task)
    experiment = "quickstart" if request.data.is_drawn else "r50_traffic"
    return [command("show_data", *words), command("train_net", f"+experiment={experiment}", *words)]


if __name__ == "__main__":
    answer_help(__doc__, "prepare", ["data/open_images", "transfer/default"])
    report_errors(
        main, "prepare", [read_class_file], to_go_on="the same command continues from here"
    )
