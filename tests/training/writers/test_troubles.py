"""W&B in trouble: the run ends well, what can be kept is kept, one warning says why."""

import logging
import signal
import subprocess
import sys

import pytest
import wandb
from wandb_files import find_pieces, read_history

from oiv5_d2.training.writers import service

pytestmark = pytest.mark.filterwarnings("default")  # W&B's own, on its threads
KEY = "0123456789abcdef0123456789abcdef01234567"
QUICK = {"training_images": 0, "tables": False, "dataset": None, "models": []}


@pytest.fixture
def environment(monkeypatch):
    monkeypatch.setattr(service, "INIT_SECONDS", 3)
    return monkeypatch.setenv


def warnings_of(caplog):
    mine = [r for r in caplog.records if r.name.startswith("oiv5_d2.training.writers")]
    return [r.message for r in mine if r.levelno >= logging.WARNING]


def check_kept(keep, caplog):
    run_dir = keep("d2.SOLVER.MAX_ITER=2", **QUICK)
    (warning,) = warnings_of(caplog)
    assert "offline" in warning
    pieces = [piece for piece in find_pieces(run_dir) if read_history(piece)]
    (rows,) = map(read_history, pieces)
    assert "total_loss" in rows[-1] and "offline-run" in pieces[0].parent.name


def test_a_service_that_was_killed_does_not_end_the_run(monkeypatch):
    """What `wandb.teardown` does if it reaches the service before it notices that it was killed."""
    monkeypatch.setattr(wandb, "teardown", lambda: sys.exit(-signal.SIGKILL))
    service._end_service()


def test_a_key_that_is_none(keep, environment, caplog):
    environment("WANDB_API_KEY", "abc123")
    check_kept(keep, caplog)


@pytest.mark.slow
@pytest.mark.parametrize("seconds", [3, service.INIT_SECONDS])  # W&B itself gives up in between
def test_a_host_that_refuses(keep, environment, caplog, monkeypatch, seconds):
    monkeypatch.setattr(service, "INIT_SECONDS", seconds)
    environment("WANDB_API_KEY", KEY)
    environment("WANDB_BASE_URL", "http://127.0.0.1:9")
    check_kept(keep, caplog)


@pytest.mark.slow
def test_a_service_that_never_answers(keep, environment, caplog, deaf_server):
    environment("WANDB_API_KEY", KEY)
    environment("WANDB_BASE_URL", deaf_server)
    check_kept(keep, caplog)


def test_a_full_disk_ends_w_and_b_and_not_the_run(keep, caplog, tmp_path):
    # W&B's folder lies on another disk than the run: here in the place of a file.
    (tmp_path / "full").write_text("")
    run_dir = keep("d2.SOLVER.MAX_ITER=2", logger={"dir": str(tmp_path / "full")}, **QUICK)
    assert (run_dir / "model_final.pth").is_file()
    (warning,) = warnings_of(caplog)
    assert warning.startswith("W&B failed")


ABSENT = """
import logging, sys
from pathlib import Path

class Absent:
    def find_spec(self, name, path=None, target=None):
        if name.split(".")[0] == "wandb":
            raise ModuleNotFoundError(f"No module named {name!r}")

sys.meta_path.insert(0, Absent())
logging.basicConfig()
from detectron2.utils.events import EventStorage
from oiv5_d2.training.writers.service import Connection
from oiv5_d2.training.writers.settings import About, Send
from oiv5_d2.training.writers.wandb_writer import WandbWriter
about = About(Path(sys.argv[1]), (), (), (), "segm/AP", {})
writer = WandbWriter(Connection({"dir": sys.argv[1]}, Send()), about, Send(models=[]))
with EventStorage(0) as storage:
    storage.put_scalar("loss", 1.0)
    writer.write()
writer.close()
print("the training goes on")
"""


@pytest.mark.slow
def test_w_and_b_that_is_not_installed(tmp_path):
    command = [sys.executable, "-W", "ignore", "-c", ABSENT, str(tmp_path)]
    done = subprocess.run(command, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    assert "the training goes on" in done.stdout
    assert done.stderr.count("W&B is not installed") == 1
