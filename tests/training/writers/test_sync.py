"""What `wandb sync` sends of a run that was kept offline, to a server that keeps what comes."""

import os
import re
import socket
import subprocess
import sys
from pathlib import Path

import pytest
from wandb_files import find_pieces
from wandb_server import serve

from oiv5_d2.runs.layout import read_record

pytestmark = [
    pytest.mark.slow,
    pytest.mark.filterwarnings("default"),  # W&B's own, on its threads
]
KEY = "0123456789abcdef0123456789abcdef01234567"


@pytest.fixture
def resumed(keep, monkeypatch, tmp_path):
    """The run directory of a run that was made in two pieces, each with an evaluation."""
    monkeypatch.chdir(tmp_path)  # as usual, the run is below the working directory
    few = {"images": 2, "extremes": 1, "table_images": 1}
    keep("d2.SOLVER.MAX_ITER=1", composed={"launch": {"rdzv_endpoint": "node:1"}}, **few)
    return keep("d2.SOLVER.MAX_ITER=2", resume=True, **few)


def sync(pieces, address, tmp_path):
    own = {"WANDB_BASE_URL": address, "WANDB_API_KEY": KEY, "WANDB_CACHE_DIR": str(tmp_path)}
    own["WANDB_PROGRAM"] = "train_net.py"  # otherwise the command sends its own path
    command = [str(Path(sys.executable).parent / "wandb"), "sync", *map(str, pieces)]
    with (tmp_path / "said").open("w") as said:
        environment = {**os.environ, **own}
        environment.pop("WANDB_SERVICE", None)  # of the training's own process
        done = subprocess.run(command, env=environment, stdout=said, stderr=said, timeout=300)
    return done.returncode, (tmp_path / "said").read_text()


@pytest.mark.parametrize("num_failures", [0, 3])
def test_a_run_in_pieces_arrives_as_one_and_tells_nothing_private(resumed, tmp_path, num_failures):
    id_ = read_record(resumed)["wandb_id"]
    pieces = [piece.parent for piece in find_pieces(resumed)]
    with serve() as (address, received):
        received.fail_first = num_failures
        code, said = sync(pieces, address, tmp_path)
    assert code == 0, said
    check_run(received, id_)
    check_files(received, id_)
    check_privacy(received, tmp_path)


def check_run(received, id_):
    assert {one["name"] for one in received.named("UpsertBucket")} == {id_}
    steps = [row["_step"] for row in received.rows(id_)]
    assert steps == sorted(set(steps)) and steps[-1] == 1
    shown = {name for row in received.rows(id_) for name in row}
    assert {"total_loss", "segm/AP", "validation/images", "validation/table"} <= shown


def check_files(received, id_):
    kinds = {one["input"]["artifactTypeName"] for one in received.named("CreateArtifact")}
    assert {"dataset", "model", "predictions", "run_table"} <= kinds
    committed = {one["artifactID"] for one in received.named("CommitArtifact")}
    assert len(committed) == len(received.named("CreateArtifact"))
    assert received.named("UseArtifact")  # data -> run
    assert any(name.endswith(("model_best.pth", "model_final.pth")) for name in received.files)
    assert any("/mask/validation/" in name for name in received.files)


def check_privacy(received, tmp_path):
    content = b"\n".join(received.bodies)
    assert b"total_loss" in content
    for private in (
        str(tmp_path),
        str(Path(__file__).parents[3]),
        socket.gethostname(),
        KEY,
        "node:1",
    ):
        # A short name may be a part of a random id.
        if found := re.search(rb"(?<!\w)%s(?!\w)" % re.escape(private.encode()), content):
            near = content[max(0, found.start() - 200) : found.end() + 200]
            pytest.fail(f"{private} in …{near.decode(errors='replace')}…")
