import json
import logging
import os
import signal
import subprocess
import sys
import time

import cv2
import numpy as np
import psutil
import pytest
import torch
import wandb
from detectron2.utils.events import EventStorage
from wandb_files import find_pieces, read_history

from oiv5_d2.training.writers.service import SERVICE, Connection
from oiv5_d2.training.writers.settings import About, Send
from oiv5_d2.training.writers.wandb_writer import WandbWriter

pytestmark = pytest.mark.filterwarnings("default")  # W&B's own, on its threads


def build(run_dir, config=None, finish_seconds=120.0, **arguments):
    about = About(run_dir, (), (), (), "segm/AP", {})
    more = {"config": config or {}, "dir": str(run_dir), "project": "test"}
    return WandbWriter(Connection({**more, **arguments}, Send(), finish_seconds), about, Send())


def log_steps(writer, num_steps):
    with EventStorage(0) as storage:
        for _ in range(num_steps):
            storage.put_scalars(loss_cls=0.5, loss_mask=0.25)
            writer.write()
            storage.step()


def end(writer):
    """End a run as when Python exits: then all is on disk."""
    writer.close()
    wandb.teardown()


def test_a_run_without_a_key_is_kept_offline_in_its_folder(tmp_path):
    writer = build(tmp_path / "run", {"d2": {"SEED": 1}})
    log_steps(writer, 3)
    end(writer)
    (run_dir,) = (tmp_path / "run" / "wandb").glob("offline-run-*")
    (record,) = run_dir.glob("*.wandb")
    content = record.read_bytes()
    assert b"loss_cls" in content and b"loss_mask" in content and b"SEED" in content


def test_an_image_in_the_event_storage_is_kept_with_its_run(tmp_path):
    image = np.zeros((3, 4, 6), np.uint8)
    image[0] = 200  # red
    writer = build(tmp_path / "run")
    with EventStorage(7) as storage:
        storage.put_scalar("loss_cls", 0.5)
        storage.put_image("what the model sees", image)
        writer.write()
        writer.write()  # the same again is no second picture
    end(writer)
    (png,) = (tmp_path / "run").glob("wandb/offline-run-*/files/media/images/what the model*.png")
    assert cv2.imread(str(png)).tolist() == np.full((4, 6, 3), (0, 0, 200)).tolist()


def test_images_of_tensors_and_with_numbers_are_one_list(tmp_path):
    grey = torch.full((3, 4, 6), 0.2, requires_grad=True)  # as Detectron2's mask head has it
    writer = build(tmp_path / "run")
    with EventStorage(7) as storage:
        for number in range(2):
            storage.put_image(f"mask ({number})", (number + 1) * grey)
        writer.write()
    end(writer)
    (piece,) = find_pieces(tmp_path / "run")
    (row,) = read_history(piece)
    assert row["mask.count"] == 2
    paths = (tmp_path / "run").glob("wandb/offline-run-*/files/media/images/mask_*.png")
    assert {int(value) for path in paths for value in np.unique(cv2.imread(str(path)))} == {51, 102}


def test_a_w_and_b_that_refuses_to_start_is_said_once(tmp_path, caplog):
    with caplog.at_level(logging.WARNING):
        writer = build(tmp_path, project=["no name"])
        log_steps(writer, 3)
        writer.close()
    failures = [r for r in caplog.records if r.message.startswith("W&B failed")]
    assert len(failures) == 1


@pytest.mark.slow
@pytest.mark.parametrize("trouble", ["SIGKILL", "SIGSTOP"])
def test_a_run_outlives_w_and_b_s_service(tmp_path, trouble):
    # In a process of its own, which must end by itself.
    script = f"""
import psutil, time
from pathlib import Path
from oiv5_d2.training.writers.service import Connection
from oiv5_d2.training.writers.settings import About, Send
from oiv5_d2.training.writers.wandb_writer import WandbWriter
from tests_steps import log_steps
connection = Connection({{"project": "test", "dir": {str(tmp_path)!r}}}, Send(), finish_seconds=3)
about = About(Path({str(tmp_path)!r}), (), (), (), "segm/AP", {{}})
writer = WandbWriter(connection, about, Send())
log_steps(writer, 1)
deadline = time.monotonic() + 120
while not list(Path({str(tmp_path)!r}).glob("wandb/offline-run-*/*.wandb")):
    assert time.monotonic() < deadline, "W&B began no run"
    time.sleep(0.1)
for child in psutil.Process().children():
    if child.name() == {SERVICE!r}:
        child.send_signal({int(getattr(signal, trouble))})
log_steps(writer, 400)
writer.close()
print("the training goes on")
"""
    (tmp_path / "tests_steps.py").write_text(STEPS)
    # A service of its own too, not the one that an earlier test may have left in this process.
    own = {name: value for name, value in os.environ.items() if name != "WANDB_SERVICE"}
    # Into a file: a pipe would be held open by what the service leaves behind.
    with (tmp_path / "said").open("w") as said:
        command = [sys.executable, "-W", "ignore", "-c", script]
        done = subprocess.run(command, cwd=tmp_path, env=own, stdout=said, stderr=said, timeout=240)
    assert done.returncode == 0, (tmp_path / "said").read_text()
    assert "the training goes on" in (tmp_path / "said").read_text()
    deadline = time.monotonic() + 30  # a killed process is there a little longer
    while [p for p in psutil.process_iter(["cwd", "name"]) if is_left(p, tmp_path)]:
        assert time.monotonic() < deadline, "W&B's service is left"
        time.sleep(0.1)


def is_left(process, folder):
    return process.info["name"] == SERVICE and process.info["cwd"] == str(folder)


STEPS = """
from detectron2.utils.events import EventStorage


def log_steps(writer, num_steps):
    with EventStorage(0) as storage:
        for _ in range(num_steps):
            storage.put_scalars(**{f"scalar_{i}": 0.5 for i in range(40)})
            writer.write()
            storage.step()
"""


def test_settings_can_be_shown_as_json(tmp_path):
    # What the run passes on as config must be plain, or W&B refuses it.
    from detectron2.config import get_cfg

    from oiv5_d2.training.config import plain

    assert json.loads(json.dumps(plain(get_cfg())))["SOLVER"]["STEPS"] == [30000]


@pytest.mark.slow
@pytest.mark.parametrize("key", ["abc123", "0123456789" * 4])
def test_a_key_that_is_not_taken_leaves_the_run_in_its_folder(tmp_path, monkeypatch, key):
    monkeypatch.setenv("WANDB_API_KEY", key)
    monkeypatch.setenv("WANDB_BASE_URL", "http://127.0.0.1:9")
    with EventStorage():
        build(tmp_path).close()
    assert list((tmp_path / "wandb").glob("offline-run-*"))
