"""Make training data out of a release:  python tools/prepare_data.py data=mini.

Select, fetch, convert, verify, audit; what is done is not done again. What would be done: plan=true
A folder laid out as the release:  python tools/prepare_data.py data=folder data.source=/path
"""

import logging
import shlex
from collections.abc import Mapping
from contextlib import nullcontext
from functools import partial
from typing import Any

import hydra
from hydra.core.hydra_config import HydraConfig
from omegaconf import DictConfig, OmegaConf
from omegaconf.errors import OmegaConfBaseException

from oiv5_d2.acquisition.disk import REMEDY, naming_full_disk
from oiv5_d2.acquisition.manifest import MANIFEST_CSV, num_to_retry, read_manifest
from oiv5_d2.acquisition.stores import is_remote
from oiv5_d2.audit import tables as audit_tables
from oiv5_d2.audit.audit import read_audit
from oiv5_d2.audit.findings import refuse_errors
from oiv5_d2.console.bars import shown
from oiv5_d2.console.commands import data_words
from oiv5_d2.console.errors import report_errors
from oiv5_d2.console.help import answer_help
from oiv5_d2.console.quantities import duration, num_bytes_in, size
from oiv5_d2.console.screen import console, draw, set_up_logging
from oiv5_d2.conversion.coco import coco_path
from oiv5_d2.preparation import tables
from oiv5_d2.preparation.listings import CREDITS_CSV, IMAGE_LIST_TXT
from oiv5_d2.preparation.plan import Plan
from oiv5_d2.preparation.planning import make_plan
from oiv5_d2.preparation.request import Data, Request, check, make_request
from oiv5_d2.preparation.stages import locked
from oiv5_d2.preparation.stages import run as run_stage
from oiv5_d2.preparation.steps import AUDIT_JSON, is_to_do, stages

MUST_BE_GIVEN = {  # under data, for there is no sensible value
    "source": "give a folder or URL that holds the release, such as data.source=/path",
    "name": "give the data set one, such as data.name=street",
}
RATES = ("rate", "transfer.max_bytes_per_second")


logger = logging.getLogger(__name__)


@hydra.main(version_base="1.3", config_path="../configs", config_name="prepare")
def main(run: DictConfig) -> None:
    """Do every stage that is not done, and say what came out."""
    set_up_logging()
    request = read_request(run)
    check(request)
    if request.plan:
        show_plan(plan_it(request), request)
        return
    with naming_full_disk(request.data.dir), locked(request.data.dir):
        num_run = run_stages(request)
    if num_run == 0:
        logger.info("Everything is done already; force=true does it again")
    report = read_audit(request.data.dir)
    show_summary(report, request)
    refuse_errors(report["findings"], request.max_errors, request.data.dir / AUDIT_JSON)


def plan_it(request: Request) -> Plan:
    """Return the plan. Tables that come over a network leave their wanted rows in the folder."""
    keeps = locked(request.data.dir) if is_remote(request.data.buckets[0]) else nullcontext()
    with naming_full_disk(request.data.dir), keeps:
        return make_plan(request, partial(shown, console, request.transfer.trouble))


def read_request(run: DictConfig) -> Request:
    """Return the composed config as a checked record."""
    if unset := [key for key in MUST_BE_GIVEN if OmegaConf.is_missing(run.data, key)]:
        raise ValueError("; ".join(f"data.{key} is not set: {MUST_BE_GIVEN[key]}" for key in unset))
    read_rates(run)
    try:
        return make_request(run)
    except OmegaConfBaseException as error:
        key, said = error.full_key, str(error).splitlines()[0]
        if "is not a ListConfig" in said:
            said = f"it is a list: give {key}=[{OmegaConf.select(run, key)}]"
        raise ValueError(f"{key}: {said}") from error


def read_rates(run: DictConfig) -> None:
    """Put plain numbers for rates that were given with a unit."""
    for key in RATES:
        rate = OmegaConf.select(run, key)
        try:
            OmegaConf.update(run, key, int(num_bytes_in(rate)) if isinstance(rate, str) else rate)
        except ValueError as error:
            raise ValueError(f"{key}={rate}: {error}") from error


def run_stages(request: Request) -> int:
    """Run the stages that are not done; return how many."""
    num_run = 0
    for stage in stages(request):
        if not is_to_do(stage, request):
            logger.info("%s: done", stage.name)
            continue
        with shown(console, request.transfer.trouble, stage.name, stage.count()) as advance:
            run_stage(stage, request.data.dir, advance)
        num_run += 1
    return num_run


def show_plan(plan: Plan, request: Request) -> None:
    """Print what would be done."""
    for state in (True, False):
        names = [name for name, done in plan.stages if done == state]
        if names:
            console.print(f"{'Done' if state else 'To do'}: {', '.join(names)}")
    if request.data.is_drawn and not plan.needs:
        console.print(f"The release is to be drawn: {request.data.synthetic}")
    for table in tables.plan_tables(plan):
        draw(table)
    num_bytes = plan.image_bytes + plan.mask_bytes
    for line in tables.to_fetch(plan):
        console.print(f"To fetch: {line}", soft_wrap=True)
    if num_bytes and is_remote(plan.locations[1]):
        console.print(time_line(plan), soft_wrap=True)
    needed = f"about {size(plan.disk_bytes)} needed, " if plan.disk_bytes else ""
    console.print(f"Disk of {request.data.dir}: {needed}{size(plan.free_bytes)} free")
    if plan.disk_bytes > plan.free_bytes:
        console.print(f"That is more than there is: {REMEDY}", soft_wrap=True)


def time_line(plan: Plan) -> str:
    """Return how long fetching takes, or at least takes."""
    if plan.seconds is not None:
        rate = f"{size(plan.bytes_per_second or 0)}/s ({plan.rate_is})"
        return f"That takes about {duration(plan.seconds)} at {rate}"
    least = ""
    if plan.least_seconds is not None and plan.least_seconds >= 1:
        least = (
            f"At least {duration(plan.least_seconds)} at the {plan.answers_per_second:,.0f} answers"
            " a second that the server gave. "
        )
    return f"{least}For how long that takes give rate=<bytes a second>: no file came to measure by"


def show_summary(report: Mapping[str, Any], request: Request) -> None:
    """Print what came out, where it is, and what to do next."""
    data = request.data
    found = audit_tables.tables(report) if request.show_audit else audit_tables.short_tables(report)
    manifest = read_manifest(data.dir / MANIFEST_CSV)
    for table in [*found, tables.not_fetched(manifest)]:
        if table.rows:
            draw(table)
    console.print(tables.files_line(manifest))
    if num_failed := num_to_retry(manifest):
        console.print(f"{num_failed:,} files may be had another time: add retry_failed=true")
    for what, where in places(data):
        console.print(f"  {what:<32}{where}", soft_wrap=True)
    console.print("Next:")
    for command in next_commands(request):
        console.print(f"  {command}", soft_wrap=True)


def places(data: Data) -> list[tuple[str, str]]:
    """Return what was made, and where it is."""
    return [
        ("COCO files", " ".join(str(coco_path(data.dir, part)) for part in data.parts)),
        ("pictures", str(data.dir / "images")),
        ("each file's state and source", str(data.dir / MANIFEST_CSV)),
        ("authors and licences (CC BY)", str(data.dir / CREDITS_CSV)),
        ("ids for other downloaders", str(data.dir / IMAGE_LIST_TXT)),
        ("audit; show_audit=true shows it", str(data.dir / AUDIT_JSON)),
    ]


def next_commands(request: Request) -> list[str]:
    """Return the commands that show and train what was prepared, with the same choice of data."""
    chosen = HydraConfig.get()
    words = shlex.join(data_words(chosen.runtime.choices.data, chosen.overrides.task))
    experiment = "quickstart" if request.data.is_drawn else "r50_traffic"
    return [
        f"python tools/show_data.py {words}",
        f"python tools/train_net.py +experiment={experiment} {words}",
    ]


if __name__ == "__main__":
    answer_help(__doc__, "prepare", ["data/open_images", "transfer/default"])
    report_errors(main, "prepare", to_go_on="the same command goes on from here")
