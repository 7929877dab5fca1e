"""A data set whose images are packed trains and is evaluated as one of files, to the bit."""

import json

import pytest
from packed_data import write_packed
from raising import refused

from oiv5_d2.conversion.packing import find_shards
from oiv5_d2.problems import Kind, Remedy
from oiv5_d2.runs.layout import read_record

WORDS = ("d2.SOLVER.MAX_ITER=4", "d2.SOLVER.CHECKPOINT_PERIOD=4", "augment=[default,copy_paste]")
LOSSES = "loss"


@pytest.fixture
def data_dirs(prepared_dir, tmp_path):
    """The same data twice: as files, and packed without them."""
    write_packed(prepared_dir, tmp_path / "loose", tmp_path / "packed")
    return tmp_path / "loose", tmp_path / "packed"


def losses(run_dir):
    lines = map(json.loads, (run_dir / "metrics.json").read_text().splitlines())
    return [{name: one[name] for name in one if LOSSES in name} for one in lines]


WORKERS = ("d2.DATALOADER.NUM_WORKERS=2",), ("launch=cpu2",)
WAYS = [(), *(pytest.param(one, marks=pytest.mark.slow) for one in WORKERS)]


@pytest.mark.parametrize("words", WAYS, ids=["here", "workers", "cpu2"])
def test_losses_weights_and_results_are_the_same(data_dirs, start, tmp_path, weights, words):
    for data_dir in data_dirs:
        start(*WORDS, *words, data_dir=data_dir, name=f"run_{data_dir.name}")
    loose, packed = (tmp_path / f"run_{one.name}" for one in data_dirs)
    assert losses(loose) == losses(packed) and losses(loose)[0]
    assert read_record(loose)["results"] == read_record(packed)["results"]
    ours, theirs = (weights(run_dir / "model_final.pth") for run_dir in (loose, packed))
    assert all(ours[name].equal(theirs[name]) for name in ours)


@pytest.mark.parametrize("part", ["train", "validation"])
def test_a_damaged_pack_is_named_before_a_step_or_at_the_image(data_dirs, start, tmp_path, part):
    _, data_dir = data_dirs
    shard, *_ = find_shards(data_dir / f"coco/{part}.json")
    whole = shard.read_bytes()
    shard.write_bytes(whole[:-1])
    with refused(Kind.DAMAGED, remedy=Remedy.PACK_AGAIN, about=shard):
        start(*WORDS, data_dir=data_dir)
    assert not (tmp_path / "run").exists()
    shard.write_bytes(whole[:600] + bytes([whole[600] ^ 1]) + whole[601:])
    with refused(Kind.DAMAGED, remedy=Remedy.PACK_AGAIN, about=f"{part}/1.png") as caught:
        start(*WORDS, "d2.DATALOADER.NUM_WORKERS=1", data_dir=data_dir)
    assert caught.value.subject == str(shard)
