"""What W&B keeps of whole runs, read back from its files."""

import os
import signal
import socket

import pytest
from wandb_files import find_pieces, of_kind, read_config, read_history

from oiv5_d2.problems import Stopped
from oiv5_d2.runs.layout import TRIAL_JSON, read_record
from oiv5_d2.training.trainer import Trainer
from oiv5_d2.training.writers.settings import init_arguments

pytestmark = pytest.mark.filterwarnings("default")  # W&B's own, on its threads
LOSSES = {"loss_cls", "loss_box_reg", "loss_mask", "loss_rpn_cls", "loss_rpn_loc", "total_loss"}
NOTHING = {"images": 0, "extremes": 0, "training_images": 0, "tables": False, "dataset": None}
NOTHING |= {"models": [], "predictions": False, "system": False}


@pytest.fixture
def stop_at(monkeypatch):
    """Send this process a signal in a step of a training."""

    def stop(step, number=signal.SIGTERM):
        original = Trainer.run_step

        def run_step(trainer):
            if trainer.iter == step:
                os.kill(os.getpid(), number)
            original(trainer)

        monkeypatch.setattr(Trainer, "run_step", run_step)
        return lambda: monkeypatch.setattr(Trainer, "run_step", original)

    return stop


def test_a_run_has_its_name_question_numbers_and_axes(keep):
    run_dir = keep("d2.SOLVER.MAX_ITER=2", **NOTHING)
    (piece,) = find_pieces(run_dir)
    (run,) = of_kind(piece, "run")
    assert run.run_id == read_record(run_dir)["wandb_id"]
    assert (run.display_name, run.run_group, run.job_type) == ("blocks run", "blocks", "train")
    assert run.notes == "Does it run?" and list(run.tags) == ["mini"]
    (row,) = read_history(piece)
    assert row.keys() >= LOSSES | {"segm/AP", "bbox/AP-Car", "lr"}
    # Two steps of two images, of four.
    assert (row["step"], row["epoch"], row["images"]) == (1, 1.0, 4)
    axes = {metric.name: metric for metric in of_kind(piece, "metric")}
    assert axes[""].glob_name == "*" and axes[""].step_metric == "step"
    assert axes["segm/AP"].summary.max
    assert [one.exit_code for one in of_kind(piece, "exit")] == [0]
    assert of_kind(piece, "stats") == []


def test_a_trial_says_of_which_sweep_it_is(tmp_path):
    run_dir, record = tmp_path / "sweep_1" / "3", {"wandb_id": "a", "name": "x", "question": "?"}
    run_dir.mkdir(parents=True)
    (run_dir / TRIAL_JSON).touch()
    found = init_arguments({"tags": ["mini"]}, record, {}, run_dir)
    assert (found["name"], found["job_type"]) == ("x sweep_1 3", "trial")
    assert found["tags"] == ["mini", "sweep_1"]


def test_a_stopped_run_goes_on_as_the_same_one(keep, stop_at):
    go_on = stop_at(1)
    with pytest.raises(Stopped):
        keep("d2.SOLVER.MAX_ITER=4", **NOTHING)
    go_on()
    run_dir = keep("d2.SOLVER.MAX_ITER=4", resume=True, **NOTHING)
    pieces = find_pieces(run_dir)
    runs = [of_kind(piece, "run")[0] for piece in pieces]
    assert {run.run_id for run in runs} == {read_record(run_dir)["wandb_id"]}
    assert all(run.resume for run in runs)
    first, second = map(read_history, pieces)
    assert [row["_step"] for row in first] == [1] and [row["_step"] for row in second] == [3]
    exits = [of_kind(piece, "exit")[0].exit_code for piece in pieces]
    assert exits == [128 + signal.SIGTERM, 0]
    assert [len(of_kind(piece, "preempting")) for piece in pieces] == [1, 0]


def test_steps_made_twice_are_logged_once(keep, stop_at):
    # As after SIGKILL: what came after the checkpoint of step 2 is made again.
    words = ("d2.SOLVER.MAX_ITER=4", "d2.SOLVER.CHECKPOINT_PERIOD=2")
    run_dir = keep(*words, **NOTHING)
    for name in ("model_0000003.pth", "model_final.pth", "model_best.pth", "last_checkpoint"):
        (run_dir / name).unlink()
    keep(*words, resume=True, **NOTHING)
    first, second = map(read_history, find_pieces(run_dir))
    assert [row["_step"] for row in first] == [3]
    assert second == []


def test_an_evaluation_made_up_for_comes_after_all_steps(keep):
    run_dir = keep("d2.SOLVER.MAX_ITER=2", "d2.DATASETS.TEST=[]", **NOTHING)
    keep("d2.SOLVER.MAX_ITER=4", "d2.TEST.EVAL_PERIOD=2", resume=True, **NOTHING)
    first, second = map(read_history, find_pieces(run_dir))
    steps = [row["_step"] for row in [*first, *second]]
    assert steps == sorted(set(steps))
    assert [row["step"] for row in second if "segm/AP" in row] == [1, 3]


def test_the_whole_configuration_is_sent_without_paths_host_or_secrets(keep, monkeypatch, tmp_path):
    monkeypatch.setenv("STORE_SECRET", "correct horse battery")
    composed = {
        "data": {"dir": str(tmp_path / "elsewhere" / "data"), "seed": 0, "roll_up": True},
        "launch": {"rdzv_endpoint": f"{socket.gethostname()}:29500"},
        "store": {"account_key": "abcdefgh", "url": "https://me:pass@host.example/x?sig=123"},
        "note": f"on {socket.gethostname()} with correct horse battery",
    }
    run_dir = keep("d2.SOLVER.MAX_ITER=2", composed=composed, **NOTHING)
    (piece,) = find_pieces(run_dir)
    config = read_config(piece)
    assert config["data"] == {"dir": "…/data", "seed": 0, "roll_up": True}
    assert config["store"] == {"account_key": "(hidden)", "url": "https://host.example/x?(hidden)"}
    assert config["d2"]["SOLVER"]["MAX_ITER"] == 2
    assert config["run"]["data"]["blocks_train"]["num_images"] == 4
    assert config["run"]["git"].keys() == {"commit", "dirty"}
    content = piece.read_bytes().decode(errors="replace")
    for private in (str(tmp_path), socket.gethostname(), "battery", "abcdefgh", "me:pass"):
        assert private not in content


def test_an_image_before_an_evaluation_is_kept(keep):
    words = ("d2.SOLVER.MAX_ITER=4", "d2.TEST.EVAL_PERIOD=2", "d2.VIS_PERIOD=3")
    (piece,) = find_pieces(keep(*words, **NOTHING))
    rows = read_history(piece)
    shown = [row["_step"] for row in rows if any(name.startswith("Left: GT") for name in row)]
    assert shown == [0, 3]
    assert [row["_step"] for row in rows if "segm/AP" in row] == [1, 3]
