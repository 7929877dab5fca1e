"""Train one experiment:  python tools/train_net.py +experiment=r101_traffic.

A sweep:  python tools/train_net.py -m +experiment=quickstart d2.SOLVER.BASE_LR=0.02,0.04
The settings that follow from the data: recipe=true; only show them: plan=true
An earlier run again: again=outputs/<name>/<time>, with what is to be different
Resume:   the same command with  run_dir=outputs/<name>/<time> resume=true
"""

import logging
import math
import os
import sys
from pathlib import Path

import hydra
from hydra.core.hydra_config import HydraConfig
from omegaconf import DictConfig, OmegaConf

from oiv5_d2.console import slurm
from oiv5_d2.console.commands import (
    check_d2,
    check_run_dir,
    choose_defaults,
    data_commands,
    explicit_keys,
    follow_torchrun,
    hydra_notes,
    in_solver,
    is_below,
    is_watched,
    locate_datasets,
    read_class_file,
    repeat_run,
)
from oiv5_d2.console.errors import report_errors, resuming, suggesting
from oiv5_d2.console.help import answer_help
from oiv5_d2.console.screen import OURS, set_up_logging
from oiv5_d2.console.shell import command, setting
from oiv5_d2.keys import leaves
from oiv5_d2.runs.layout import is_trial
from oiv5_d2.runs.prepared import Prepared
from oiv5_d2.table import to_text

logger = logging.getLogger(f"{OURS}.train_net")


@hydra.main(version_base="1.3", config_path="../configs", config_name="train")
def main(run: DictConfig) -> float:
    """Compose, bridge, train; return the metric that a sweep compares."""
    chosen = HydraConfig.get()
    notes = hydra_notes(run)  # before the recipe
    os.chdir(chosen.runtime.cwd)  # with hydra.job.chdir=true, too, paths are the caller's
    check_run_dir(run.launch, chosen.overrides.task)
    check_d2(OmegaConf.to_container(run.d2), chosen.runtime.choices.detectron2)
    run_dir = chosen.runtime.output_dir
    commands = data_commands(chosen.runtime.choices.data, chosen.overrides.task)
    with resuming(run_dir), suggesting(commands):
        datasets = locate_datasets(run)
        if run.plan or run.recipe:
            follow_recipe(run, datasets)
        if run.plan:
            return math.nan
        metric = train_run(run, datasets, run_dir, notes)
    if is_watched():
        show_results(Path(os.path.relpath(run_dir)))
    return metric


def follow_recipe(run: DictConfig, datasets: list[Prepared]) -> None:
    """Print the recipe; let the run follow it where neither command line nor experiment decides."""
    # Here, so that a mistake on the command line is answered at once.
    from oiv5_d2.recipe import rules, tables
    from oiv5_d2.recipe.objects import read_objects

    chosen = HydraConfig.get()
    explicit = explicit_keys(chosen.overrides.task)
    before = dict(leaves(OmegaConf.to_container(run, resolve=True)))
    train = [one for one in datasets if one.name in run.d2.DATASETS.TRAIN]
    objects = read_objects(train, list(run.data.classes))
    given = rules.Ingredients(objects, *in_solver(chosen.runtime.choices.solver))
    found, after = rules.follow(given, before, lambda key: is_below(key, explicit))
    for table in tables.recipe_tables(found, objects, before, after):
        logger.info("%s\n%s", table.title, to_text(table))
    for key, value in rules.changes(before, after):
        OmegaConf.update(run, key, value)


def train_run(
    run: DictConfig, datasets: list[Prepared], run_dir: str, notes: dict[str, str]
) -> float:
    # Here, so that --help and a mistake on the command line are answered at once.
    from oiv5_d2.console.bars import open_screen
    from oiv5_d2.evaluation.evaluator import build_evaluator
    from oiv5_d2.training.config import to_cfg
    from oiv5_d2.training.features import Features
    from oiv5_d2.training.job import Settings
    from oiv5_d2.training.launch import Launch
    from oiv5_d2.training.run import check_run, train

    cfg = to_cfg(run, run_dir)
    settings = Settings(
        name=run.name,
        question=run.question,
        classes=tuple(run.data.classes),
        datasets=tuple(datasets),
        resume=run.resume,
        wandb=OmegaConf.to_container(run.logger, resolve=True) if run.get("logger") else {},
        launch=Launch(**OmegaConf.to_container(run.launch, resolve=True)),
        features=Features(run.metric, OmegaConf.to_container(run.augment), **run.trainer),
        composed=OmegaConf.to_container(run, resolve=True),
        notes=notes,
    )
    if settings.launch.slurm is None or slurm.is_job():
        return train(cfg, settings, build_evaluator, open_screen)
    check_run(cfg, settings, cuda_available=True)
    submission = Path(__file__), typed_words(), Path(run_dir), settings.launch.slurm
    if is_trial(Path(run_dir)):
        slurm.run_job(*submission)
    else:
        print(slurm.describe(slurm.submit(*submission)))
    return math.nan


def typed_words() -> list[str]:
    """Return the command line's words, with the folder of settings if it names one."""
    places = [word for word in sys.argv[1:] if word.startswith("--config-path=")]
    return [*places, *HydraConfig.get().overrides.task]


def show_results(run_dir: Path) -> None:
    """Print the tables of a finished run, its folder, and what can be done with it next."""
    from oiv5_d2.console.screen import console, draw
    from oiv5_d2.reporting.tables import ap_table, class_table
    from oiv5_d2.runs.layout import is_finished, read_evaluations
    from oiv5_d2.runs.results import describe_gaps

    if not is_finished(run_dir):  # submitted only
        return
    if evaluations := read_evaluations(run_dir):
        draw(ap_table(evaluations))
        draw(class_table(evaluations))
    for note in (note for results in evaluations for note in describe_gaps(results)):
        console.print(note, markup=False, soft_wrap=True)
    lines = [f"The run is in {run_dir}", "Next:"]
    for tool, *words in (("evaluate", "part=test"), ("write_report",)):
        lines.append(f"  {command(tool, setting('run', run_dir), *words)}")
    console.print("\n".join(lines), markup=False, highlight=False, soft_wrap=True)


def start() -> None:
    if is_watched():
        set_up_logging()
    repeat_run()
    read_class_file()
    choose_defaults()
    follow_torchrun()
    if "plan=true" in sys.argv:  # which leaves nothing behind
        sys.argv += ["hydra.run.dir=."]
    main()


if __name__ == "__main__":
    answer_help(__doc__, "train")
    report_errors(start, "train")
