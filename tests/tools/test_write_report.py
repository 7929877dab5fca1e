import json
from functools import partial
from pathlib import Path

import pytest

from oiv5_d2.runs.metrics import COCO
from oiv5_d2.runs.results import Results, write_results


@pytest.fixture
def run_dir(tmp_path):
    """A finished run without its data: enough for a record without images."""
    run_dir = tmp_path / "outputs" / "blocks" / "2026-01-02_03-04-05"
    run_dir.mkdir(parents=True)
    record = {
        "name": "blocks",
        "question": "",
        "command": "python tools/train_net.py",
        "git": {"commit": None, "dirty": None},
        "packages": {"torch": "2.9"},
        "hardware": {"gpus": [], "cpu": "Processor", "cores": 2},
        "seed": 1,
        "seconds": 60.0,
        "data": {
            "blocks_validation": {
                "json": "data/blocks/coco/validation.json",
                "images": "data/blocks/images",
                "sha256": "ab" * 32,
                "num_images": 3,
                "num_instances": 2,
            }
        },
    }
    (run_dir / "run.json").write_text(json.dumps(record))
    (run_dir / "config.yaml").write_text("SEED: 1\n")
    (run_dir / "metrics.json").write_text('{"iteration": 19, "total_loss": 1.0}\n')
    tasks = {task: dict.fromkeys(COCO.summary, 62.5) for task in ("bbox", "segm")}
    results = Results("blocks_validation", "ab" * 32, 3, {"Car": 2}, tasks)
    write_results(run_dir / "evaluation" / "blocks_validation" / "results.json", results)
    return run_dir


@pytest.fixture
def report(run_tool, tmp_path, monkeypatch):
    """Run the tool; return its output, or its error line."""
    monkeypatch.chdir(tmp_path)
    return partial(run_tool, "write_report", "images=false")


def test_the_newest_run_of_a_folder_is_reported_with_what_to_look_at(report, run_dir):
    out = report("run=outputs/blocks")
    assert "The newest finished run of outputs/blocks: outputs/blocks/2026-01-02" in out
    assert "blocks_validation       3     62.5" in out
    assert "  experiments/blocks/README.md\n" in out and "  experiments/README.md\n" in out
    assert "[blocks](blocks/README.md)" in Path("experiments/README.md").read_text()


def test_the_record_goes_where_it_is_told(report, run_dir):
    report(f"run={run_dir}", "to=elsewhere", "name=renamed")
    assert Path("elsewhere/renamed/README.md").read_text().startswith("# renamed\n")
    assert not Path("experiments").exists()


def test_a_folder_without_a_finished_run_is_named_with_the_remedy(report):
    first, remedy = report("run=outputs/none").splitlines()
    assert first.startswith("error: outputs/none ") and "tools/train_net.py" in remedy


def test_without_a_run_the_newest_of_all_is_reported(report, run_dir):
    assert "outputs/blocks/2026-01-02_03-04-05" in report()
