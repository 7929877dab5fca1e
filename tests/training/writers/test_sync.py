"""What is sent later of a run that was kept offline, to a server that keeps what comes."""

import io
import logging
import os
import re
import signal
import socket
import subprocess
import sys
import zipfile
from pathlib import Path

import pytest
from processes import wait_until
from wandb_server import serve

from oiv5_d2.runs.layout import read_record

pytestmark = [
    pytest.mark.slow,
    pytest.mark.filterwarnings("default"),  # W&B's own, on its threads
]
KEY = "0123456789abcdef0123456789abcdef01234567"
CUT_OFF = -signal.SIGKILL


@pytest.fixture
def resumed(keep, monkeypatch, tmp_path):
    """The run directory of a run that was made in two pieces, each with an evaluation."""
    monkeypatch.chdir(tmp_path)  # as usual, the run is below the working directory
    few = {"images": 2, "extremes": 1, "table_images": 1}
    keep("d2.SOLVER.MAX_ITER=1", composed={"launch": {"rdzv_endpoint": "node:1"}}, **few)
    return keep("d2.SOLVER.MAX_ITER=2", resume=True, **few)


@pytest.fixture
def sync(tmp_path, caplog):
    """Return a function that calls what the run's last line says; it returns the exit code."""
    caplog.set_level(logging.INFO)

    def call(address, seconds=300, command=None):
        if command is None:
            (command,) = commands(record.message for record in caplog.get_records("setup"))
        path = f"{Path(sys.executable).parent}:{os.environ['PATH']}"
        own = {"WANDB_BASE_URL": address, "WANDB_API_KEY": KEY, "WANDB_CACHE_DIR": str(tmp_path)}
        environment = {**os.environ, **own, "PATH": path}
        environment.pop("WANDB_SERVICE", None)  # of the training's own process
        with (tmp_path / "said").open("w") as said:
            process = subprocess.Popen(
                ["sh", "-c", command],
                env=environment,
                stdout=said,
                stderr=said,
                start_new_session=True,
            )
        try:
            return process.wait(seconds)
        except subprocess.TimeoutExpired:
            os.killpg(process.pid, signal.SIGKILL)
            process.wait()
            return CUT_OFF

    return call


def commands(lines):
    """Return what is said to send a run: one command for all pieces."""
    return {line.partition(":  ")[2] for line in lines if "To send it to W&B:" in line}


def test_a_run_in_pieces_arrives_as_one_and_tells_nothing_private(sync, resumed, tmp_path):
    with serve() as (address, received):
        assert sync(address) == 0, (tmp_path / "said").read_text()
    check_arrived(received, resumed, tmp_path)


def test_a_run_arrives_after_all_that_can_go_wrong(sync, resumed, deaf_server, tmp_path):
    assert sync("http://127.0.0.1:9", 20) != 0  # refuses
    assert sync("http://no-such-host.invalid", 20) != 0
    assert sync(deaf_server, 20) != 0
    with serve() as (address, received):
        received.fail_first, received.seconds = 3, 0.2
        assert sync(address) == 0, (tmp_path / "said").read_text()
    check_arrived(received, resumed, tmp_path)


SILENCED = """
import logging, time
from pathlib import Path
from oiv5_d2.training import compat
from detectron2.utils.events import EventStorage
from oiv5_d2.training.writers.service import Connection
from oiv5_d2.training.writers.settings import About, Send
from oiv5_d2.training.writers.wandb_writer import WandbWriter
logging.basicConfig(level=logging.INFO)
connection = Connection({"project": "test", "dir": "run"}, Send(), finish_seconds=3)
about = About(Path("run"), (), (), (), "segm/AP", {})
writer = WandbWriter(connection, about, Send(models=[]))
with EventStorage(0) as storage:
    for step in range(20):
        storage.put_scalar("loss", 0.5)
        writer.write()
        storage.step()
        while step == 9 and not Path("silent").exists():
            time.sleep(0.1)
writer.close()
print("the training goes on")
"""


def test_a_service_that_falls_silent_is_left_behind_and_gets_the_rest_later(
    sync, monkeypatch, tmp_path
):
    monkeypatch.chdir(tmp_path)
    with serve() as (address, received), (tmp_path / "output").open("w") as output:
        own = {"WANDB_BASE_URL": address, "WANDB_API_KEY": KEY}
        environment = {name: value for name, value in os.environ.items() if name != "WANDB_SERVICE"}
        script = [sys.executable, "-W", "ignore", "-c", SILENCED]
        process = subprocess.Popen(script, env=environment | own, stdout=output, stderr=output)
        wait_until(lambda: received.stream, process)
        received.seconds = 600
        (tmp_path / "silent").touch()
        assert process.wait(120) == 0
    said = (tmp_path / "output").read_text()
    assert "the training goes on" in said and said.count("WARNING") == 1
    assert "Traceback" not in said
    (command,) = commands(said.splitlines())
    with serve() as (address, received):
        assert sync(address, command=command) == 0, (tmp_path / "said").read_text()
    (id_,) = {one["name"] for one in received.named("UpsertBucket")}
    assert [row["_step"] for row in received.rows(id_)] == list(range(20))


def check_arrived(received, run_dir, tmp_path):
    id_ = read_record(run_dir)["wandb_id"]
    assert {one["name"] for one in received.named("UpsertBucket")} == {id_}
    steps = [row["_step"] for row in received.rows(id_)]
    assert steps == sorted(set(steps)) and steps[-1] == 1
    shown = {name for row in received.rows(id_) for name in row}
    assert {"total_loss", "segm/AP", "validation/images", "validation/table"} <= shown
    check_files(received)
    check_privacy(received, tmp_path)


def check_files(received):
    kinds = {one["input"]["artifactTypeName"] for one in received.named("CreateArtifact")}
    assert {"dataset", "model", "predictions", "run_table"} <= kinds
    committed = {one["artifactID"] for one in received.named("CommitArtifact")}
    assert len(committed) == len(received.named("CreateArtifact"))
    assert received.named("UseArtifact")  # data -> run
    assert any(name.endswith(("model_best.pth", "model_final.pth")) for name in received.files)
    assert any("/mask/validation/" in name for name in received.files)


def check_privacy(received, tmp_path):
    everything = b"\n".join(received.bodies)
    texts = "\n".join(texts_of(body) for body in received.bodies)
    assert "total_loss" in texts and "fpn_lateral2" in texts  # requests, and a checkpoint's names
    for private in (str(tmp_path), str(Path(__file__).parents[3]), sys.prefix, KEY, "node:1"):
        assert private.encode() not in everything
    # A short name may be a part of a random id, and of the bytes of any weights or picture.
    if found := re.search(rf"(?<!\w){re.escape(socket.gethostname())}(?!\w)", texts):
        pytest.fail(texts[max(0, found.start() - 200) : found.end() + 200])


def texts_of(body):
    """Return a text as it is, and of a checkpoint all but the tensors; empty for a picture."""
    if zipfile.is_zipfile(io.BytesIO(body)):
        with zipfile.ZipFile(io.BytesIO(body)) as file:
            names = [name for name in file.namelist() if "/data/" not in name]
            return "\n".join(file.read(name).decode(errors="replace") for name in names)
    try:
        return body.decode()
    except UnicodeDecodeError:
        return ""
