"""A data set whose packed images stay on a server trains as one of files, to the bit."""

import json

import pytest
from faults import PASSING, sometimes
from hydra import compose, initialize_config_dir
from packed_data import write_packed
from servers import serve

from oiv5_d2.console.errors import CONFIG_DIR
from oiv5_d2.conversion.image_store import PACKED, find_images
from oiv5_d2.jobs import ignore, unseen
from oiv5_d2.preparation.settings import read_request
from oiv5_d2.preparation.stages import locked
from oiv5_d2.preparation.steps import run_stages
from oiv5_d2.problems import Kind, Problem
from oiv5_d2.runs.layout import read_record

WORDS = ("d2.SOLVER.MAX_ITER=4", "d2.SOLVER.CHECKPOINT_PERIOD=4")
HASTY = "{max_retries: 2, backoff: {init_backoff: 10ms, max_backoff: 20ms}}"


@pytest.fixture
def published(prepared_dir, tmp_path):
    """What is put into a bucket, and the same data as files."""
    write_packed(prepared_dir, tmp_path / "loose", tmp_path / "bucket")
    (tmp_path / "bucket/audit.json").write_text("{}")
    return tmp_path / "bucket", tmp_path / "loose"


def open_bucket(data_dir, url):
    words = ["data=traffic", "data.name=blocks", f"data.dir={data_dir}", f"data.packed={url}"]
    words += [f"transfer.retry_config={HASTY}", "+transfer.store.secret_access_key=hidden"]
    with initialize_config_dir(str(CONFIG_DIR), version_base="1.3"):
        request = read_request(compose("prepare", words))
    with locked(data_dir):
        return run_stages(request, unseen, ignore)


@pytest.mark.slow
@pytest.mark.parametrize("words", [(), ("d2.DATALOADER.NUM_WORKERS=2",)], ids=["here", "workers"])
def test_images_are_asked_for_by_ranges_and_losses_are_the_same(published, start, tmp_path, words):
    bucket, loose = published
    data_dir = tmp_path / "blocks"
    start(*WORDS, *words, data_dir=loose, name="loose")
    with serve(bucket, sometimes(0.2, PASSING)) as server:
        assert open_bucket(data_dir, server.url) == 1 and open_bucket(data_dir, server.url) == 0
        num_before = len(server.log)
        start(*WORDS, *words, data_dir=data_dir, name="remote")
        asked = [one for one in server.log[num_before:] if one.method == "GET"]
    assert asked and all(one.path.endswith(".tar") and one.range for one in asked)
    assert not list((data_dir / PACKED).glob("*.tar"))
    assert "hidden" not in (data_dir / PACKED / "bucket.json").read_text()
    records = [read_record(tmp_path / name)["results"] for name in ("loose", "remote")]
    assert records[0] == records[1]
    losses = [(tmp_path / name / "metrics.json").read_text() for name in ("loose", "remote")]
    first, second = ([json.loads(line) for line in one.splitlines()] for one in losses)
    for one, other in zip(first, second, strict=True):
        assert all(one[name] == other[name] for name in one if "loss" in name)


def test_another_file_in_the_bucket_is_noticed(published, tmp_path):
    bucket, _ = published
    open_bucket(tmp_path / "blocks", str(bucket))
    shard = next((bucket / PACKED).glob("train-*.tar"))
    data = bytearray(shard.read_bytes())
    data[700] ^= 1
    shard.write_bytes(data)
    images = find_images(tmp_path / "blocks/coco/train.json", tmp_path / "blocks/images")
    with pytest.raises(Problem) as caught:
        images.read("train/1.png")
    assert caught.value.kind is Kind.DAMAGED and str(shard) in caught.value.subject
