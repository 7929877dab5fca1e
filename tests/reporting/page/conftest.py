import shutil

import pytest

from oiv5_d2.evaluation.analysis import analyse
from oiv5_d2.evaluation.diagnosis import diagnose
from oiv5_d2.evaluation.formats import read_predictions
from oiv5_d2.evaluation.hierarchy import read_above
from oiv5_d2.evaluation.scoring import find_tasks, score
from oiv5_d2.evaluation.truth import read_truth
from oiv5_d2.reporting.page.page import write_run_page
from oiv5_d2.runs.results import write_results


def evaluate(run_dir, street):
    """Evaluate the run's detections as training does."""
    folder = run_dir / "evaluation" / "street_test"
    truth = read_truth(street.coco_path("test"), "street_test")
    found, _ = read_predictions(folder / "coco_instances_results.json", truth, {})
    above, tasks = read_above(truth, {}, None), find_tasks(truth, found)
    analysis = analyse(diagnose(truth, found, tasks[-1]), {})
    results = score(truth, found, above, tasks, analysis, resamples=20)
    write_results(folder / "results.json", results)


def complete(run_dir, street):
    """Give a run all that an evaluation says, and Hydra's notes."""
    evaluate(run_dir, street)
    (run_dir / ".hydra").mkdir()
    notes = {
        "overrides": "- name=street\n- d2.SEED=7\n",
        "config": "name: street\ndata: {name: street, dir: /home/someone/street}\n",
        "hydra": "hydra: {runtime: {choices: {experiment: quickstart}}}\n",
    }
    for name, text in notes.items():
        (run_dir / ".hydra" / f"{name}.yaml").write_text(text)


@pytest.fixture
def judged_run_dir(run_dir, street):
    """A run with all of it, to do with as a test pleases."""
    complete(run_dir, street)
    return run_dir


@pytest.fixture(scope="session")
def page_path(street, tmp_path_factory, kept_run_dir):
    """The page of such a run, read only."""
    run_dir = tmp_path_factory.mktemp("judged") / "run"
    shutil.copytree(kept_run_dir, run_dir)
    complete(run_dir, street)
    return write_run_page(run_dir, street.root, 60)
