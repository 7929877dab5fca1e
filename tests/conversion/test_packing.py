import io
import pickle
import random
import signal
import subprocess
import sys
import tarfile
import time

import numpy as np
import pytest
from PIL import Image

from oiv5_d2.conversion import coco_file, image_store
from oiv5_d2.conversion.image_store import Images, find_images, index_path, open_pack
from oiv5_d2.conversion.packing import find_shards, pack
from oiv5_d2.problems import Kind, Problem, Remedy

SHARD_BYTES = 20_000
NUM_IMAGES = 30


@pytest.fixture
def data_dir(tmp_path):
    """Prepared data: images of several sizes, one of a long name that is not ASCII."""
    rng = np.random.default_rng(0)
    records = []
    for number in range(NUM_IMAGES):
        name = f"train/{rng.integers(1 << 40):x}.jpg" if number else f"train/{'ü' * 90}.jpg"
        path, side = tmp_path / "data/images" / name, 8 + number
        path.parent.mkdir(parents=True, exist_ok=True)
        pixels = rng.integers(0, 255, (side, 64, 3), dtype=np.uint8)
        Image.fromarray(pixels).save(path, quality=90)
        records.append({"id": number + 1, "file_name": name, "height": side, "width": 64})
    write(tmp_path / "data", records)
    return tmp_path / "data"


def write(data_dir, records, **head):
    coco_file.write(data_dir / "coco/train.json", head, map(coco_file.dumps, records), [])


def refused(function, *words):
    with pytest.raises(Problem) as caught:
        function(*words)
    return caught.value


def do_pack(data_dir, *rest):
    pack(data_dir / "coco/train.json", data_dir / "images", SHARD_BYTES, *rest)


def contents(data_dir):
    return {path.name: path.read_bytes() for path in (data_dir / "packed").iterdir()}


def loose(data_dir):
    folder = data_dir / "images"
    paths = (path for path in folder.rglob("*") if path.is_file())
    return {path.relative_to(folder).as_posix(): path.read_bytes() for path in paths}


def opened(data_dir):
    return find_images(data_dir / "coco/train.json", data_dir / "images")


def read_all(data_dir):
    images = opened(data_dir)
    return {name: images.read(name) for name in loose(data_dir)}


def test_every_image_is_read_as_it_was(data_dir):
    seen = []
    do_pack(data_dir, seen.append)
    images = opened(data_dir)
    assert images.pack and len(images.pack) == NUM_IMAGES == sum(seen)
    expected = loose(data_dir)
    (data_dir / "images").rename(data_dir / "elsewhere")
    for name, data in expected.items():
        assert name in images and images.read(name) == images.open(name).read() == data
    images.pack.check()
    assert "train/other.jpg" not in images
    with pytest.raises(FileNotFoundError):
        images.read("train/other.jpg")


def test_shards_are_plain_tars_in_the_order_of_ids(data_dir):
    do_pack(data_dir)
    paths = find_shards(data_dir / "coco/train.json")
    assert len(paths) > 2 and all(path.stat().st_size <= SHARD_BYTES for path in paths)
    found = {}
    for path in paths:
        with tarfile.open(path) as tar:
            for member in tar:
                assert (member.mtime, member.uid, member.uname) == (0, 0, "")
                found[member.name] = tar.extractfile(member).read()
    records = coco_file.read_records(data_dir / "coco/train.json", "images")
    assert list(found) == [one["file_name"] for one in records]
    assert found == loose(data_dir)


def test_an_image_larger_than_a_shard_has_one_of_its_own(data_dir):
    pack(data_dir / "coco/train.json", data_dir / "images", 1)
    assert len(find_shards(data_dir / "coco/train.json")) == NUM_IMAGES
    assert read_all(data_dir) == loose(data_dir)


def test_finished_shards_are_kept_and_wrong_ones_made_again(data_dir):
    do_pack(data_dir)
    expected = contents(data_dir)
    first, second, third, *_ = find_shards(data_dir / "coco/train.json")
    before = first.stat().st_ino
    index_path(data_dir / "coco/train.json").unlink()
    flip(second, 700)
    third.write_bytes(third.read_bytes() + b"more")
    (first.parent / "train-00099.tar").touch()  # of an earlier packing
    seen = []
    do_pack(data_dir, seen.append)
    assert contents(data_dir) == expected and sum(seen) == NUM_IMAGES
    assert first.stat().st_ino == before


def test_images_that_training_cannot_use_are_refused_and_packed_ones_stay(data_dir):
    do_pack(data_dir)
    expected = contents(data_dir)
    name = next(iter(loose(data_dir)))
    path = data_dir / "images" / name
    path.rename(path.with_suffix(".away"))
    problem = refused(do_pack, data_dir)
    assert (problem.kind, problem.subject) == (Kind.ABSENT, str(path))
    assert contents(data_dir) == expected
    path.write_bytes(path.with_suffix(".away").read_bytes()[:-30])
    problem = refused(do_pack, data_dir)
    assert (problem.kind, problem.subject) == (Kind.DAMAGED, str(path))
    Image.new("RGB", (5, 4)).save(path)
    assert refused(do_pack, data_dir).kind is Kind.DAMAGED


def test_a_pack_of_another_coco_file_is_left_for_the_files(data_dir):
    do_pack(data_dir)
    records = list(coco_file.read_records(data_dir / "coco/train.json", "images"))
    write(data_dir, records, info={"made": "otherwise"})
    assert opened(data_dir) == Images(data_dir / "images")
    (data_dir / "images").rename(data_dir / "elsewhere")
    problem = refused(opened, data_dir)
    assert (problem.kind, problem.remedy) == (Kind.MISMATCH, Remedy.PACK_AGAIN)


def test_another_process_gets_the_path_only(data_dir):
    do_pack(data_dir)
    images = opened(data_dir)
    sent = pickle.dumps(images)
    assert len(sent) < 600 and pickle.loads(sent).pack is images.pack
    names = list(loose(data_dir))
    script = (
        "import pickle, sys; images, names = pickle.load(sys.stdin.buffer);"
        "sys.stdout.buffer.write(b''.join(map(images.read, names)))"
    )
    given = pickle.dumps((images, names))
    got = subprocess.run([sys.executable, "-c", script], input=given, capture_output=True)
    assert got.stdout == b"".join(loose(data_dir).values())


def flip(path, place):
    data = bytearray(path.read_bytes())
    data[place] ^= 1
    path.write_bytes(data)


def test_a_flipped_byte_of_an_image_is_noticed(data_dir):
    do_pack(data_dir)
    rng, seen = random.Random(0), 0
    for path in find_shards(data_dir / "coco/train.json"):
        whole = path.read_bytes()
        with tarfile.open(path) as tar:
            spans = [(one.offset_data, one.offset_data + one.size, one.name) for one in tar]
        for place in rng.sample(range(len(whole)), 25):
            flip(path, place)
            struck = [name for begin, end, name in spans if begin <= place < end]
            try:
                found = read_all(data_dir)
            except Problem as problem:
                assert problem.kind is Kind.DAMAGED and problem.subject == str(path)
                assert len(struck) == 1 and struck[0] in problem.detail
                seen += 1
            else:
                assert not struck and found == loose(data_dir)
            path.write_bytes(whole)
    assert seen > 20


def test_a_flipped_byte_of_the_index_is_noticed(data_dir):
    do_pack(data_dir)
    path = index_path(data_dir / "coco/train.json")
    whole = path.read_bytes()
    for place in [0, len(whole) - 1, *random.Random(0).sample(range(len(whole)), 100)]:
        flip(path, place)
        image_store._open_pack.cache_clear()
        problem = refused(open_pack, path)
        assert (problem.kind, problem.remedy) == (Kind.DAMAGED, Remedy.PACK_AGAIN)
        path.write_bytes(whole)
    for end in (0, 10, 40, len(whole) // 2):
        path.write_bytes(whole[:end])
        assert refused(open_pack, path).kind is Kind.DAMAGED


@pytest.mark.parametrize("change", ["cut", "gone", "longer"])
def test_a_shard_that_is_not_whole_is_noticed_before_an_image_is_read(data_dir, change):
    do_pack(data_dir)
    path = find_shards(data_dir / "coco/train.json")[1]
    images = opened(data_dir)
    data = path.read_bytes()
    path.unlink()
    if change != "gone":
        path.write_bytes(data[:-2000] if change == "cut" else data + b"1")
    problem = refused(images.pack.check)
    assert (problem.subject, problem.remedy) == (str(path), Remedy.PACK_AGAIN)
    if change != "longer":
        assert refused(lambda: [images.read(name) for name in loose(data_dir)]).subject == str(path)


PACK = """
import sys
from pathlib import Path
from oiv5_d2.conversion.packing import pack
data_dir = Path(sys.argv[1])
print("begins", flush=True)
pack(data_dir / "coco/train.json", data_dir / "images", int(sys.argv[2]))
"""


@pytest.mark.slow
def test_a_killed_packing_goes_on_to_the_same_files(data_dir):
    do_pack(data_dir)
    expected = contents(data_dir)
    command = [sys.executable, "-c", PACK, str(data_dir), str(SHARD_BYTES)]
    rng, num_killed = random.Random(0), 0
    while num_killed < 10:
        for path in (data_dir / "packed").iterdir():
            if rng.random() < 0.7:
                path.unlink()
        with subprocess.Popen(command, stdout=subprocess.PIPE) as process:
            process.stdout.readline()
            time.sleep(rng.uniform(0, 0.03))
            process.send_signal(signal.SIGKILL)
        num_killed += process.returncode == -signal.SIGKILL
        whole = {name: data for name, data in contents(data_dir).items() if name in expected}
        assert all(expected[name] == data for name, data in whole.items())
        do_pack(data_dir)
        left = {name: data for name, data in contents(data_dir).items() if name in expected}
        assert left == expected


def test_an_image_in_a_pack_is_opened_by_pillow(data_dir):
    do_pack(data_dir)
    name = next(iter(loose(data_dir)))
    with (
        Image.open(opened(data_dir).open(name)) as packed,
        Image.open(io.BytesIO((data_dir / "images" / name).read_bytes())) as file,
    ):
        assert packed.tobytes() == file.tobytes()
