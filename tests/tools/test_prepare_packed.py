"""The tool with ``pack=true``, on a tiny synthetic release and on a COCO file of another tool."""

import json
import shutil
from pathlib import Path

import pytest
from hydra import compose, initialize_config_dir

from oiv5_d2.console.errors import CONFIG_DIR
from oiv5_d2.conversion.convert import coco_path
from oiv5_d2.conversion.image_store import find_images, index_path
from oiv5_d2.conversion.packing import find_shards
from oiv5_d2.jobs import ignore, unseen
from oiv5_d2.preparation.plan import make_plan
from oiv5_d2.preparation.settings import read_request
from oiv5_d2.preparation.stages import locked
from oiv5_d2.preparation.steps import run_stages, stages

# pycocotools hands NumPy an array type of before NumPy 2; only a warning, and not ours to fix.
pytestmark = pytest.mark.filterwarnings("ignore:__array__ implementation doesn't accept a copy")

PARTS = "train", "validation", "test"


def ask(data_dir, *words):
    where = [f"data.dir={data_dir}", "max_missing=0.5", "pack=true", "shard_mb=1"]
    with initialize_config_dir(str(CONFIG_DIR), version_base="1.3"):
        return read_request(compose("prepare", ["workers=1", *where, *words]))


def prepare(request):
    with locked(request.data.dir):
        return run_stages(request, unseen, ignore)


def packed(data_dir):
    return {path.name: path.read_bytes() for path in (data_dir / "packed").iterdir()}


@pytest.fixture
def request_of(tiny_release, tmp_path):
    release = ["data=folder", "data.name=folder", f"data.source={tiny_release}"]
    return lambda *words: ask(tmp_path / "tiny", *release, *words)


def test_packing_comes_last_once_and_repeats_nothing(request_of, tmp_path):
    data_dir = tmp_path / "tiny"
    assert prepare(request_of("pack=false")) == 9 and not (data_dir / "packed").exists()
    plan = make_plan(request_of())
    assert [name for name, is_done in plan.stages if not is_done] == [f"pack {p}" for p in PARTS]
    assert prepare(request_of()) == 3 and prepare(request_of()) == 0
    first = packed(data_dir)
    assert len(first) == 6 and plan.disk_bytes >= sum(map(len, first.values())) * 0.8
    find_shards(coco_path(data_dir, "train"))[0].unlink()
    assert prepare(request_of()) == 1
    assert packed(data_dir) == first


def test_linked_images_of_a_coco_file_are_packed_and_not_needed_then(request_of, tmp_path):
    prepare(request_of("pack=false"))
    shutil.copytree(tmp_path / "tiny/images", tmp_path / "real")
    (tmp_path / "theirs").mkdir()
    (tmp_path / "theirs/images").symlink_to(tmp_path / "real")
    shutil.copy(coco_path(tmp_path / "tiny", "train"), tmp_path / "theirs/train.json")
    theirs = (
        f"data.train={tmp_path}/theirs/train.json",
        f"data.validation={tmp_path}/theirs/train.json",
    )
    words = ["data=coco", "data.name=theirs", *theirs, "data.classes=[Person,Car]", "max_errors=99"]
    request = ask(tmp_path / "prepared", *words)
    prepare(request)
    path = coco_path(request.data.dir, "train")
    names = [one["file_name"] for one in json.loads(path.read_text())["images"]]
    expected = [Path(name).read_bytes() for name in names]
    shutil.rmtree(tmp_path / "real")
    images = find_images(path, request.data.dir / "images")
    assert [images.read(name) for name in names] == expected
    assert prepare(ask(tmp_path / "prepared", *words)) == 0
    assert index_path(path).is_file() and [s.name for s in stages(request)][-2:] == [
        "pack train",
        "pack validation",
    ]
