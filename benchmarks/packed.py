"""Images as files beside the same images packed, for more and more:  python benchmarks/packed.py.

    python benchmarks/packed.py images=10000 rounds=5    # the most; a tenth and a hundredth as well

Writes COCO files of 100, 1,000 and 10,000 images of 288 x 384 px (a few pictures, each many times)
and packs them. For each, in processes of their own and in turns: what looks at all images before
the first step; then all images are read in random order as a training reads them, first from the
disk (what the system keeps of the files is dropped), then again from memory; at last they are
decoded, to compare with. Prints microseconds an image, the median and the extremes of the rounds,
and how many MB a process keeps for itself. Figures that were measured: docs/speed.md.
"""

import os
import sys
import tempfile
import time
from collections.abc import Callable, Iterable
from pathlib import Path
from statistics import median
from typing import Any

import numpy as np
import open as opening
from PIL import Image

from oiv5_d2.conversion import coco_file
from oiv5_d2.conversion.image_store import digest, index_path
from oiv5_d2.conversion.packing import find_shards, pack
from oiv5_d2.runs.packed import open_packed
from oiv5_d2.runs.prepared import Prepared, check_files
from oiv5_d2.training.data.pixels import decode_frame

HEIGHT, WIDTH = 288, 384
PICTURES = 20  # that differ
SHARD_BYTES = 64 << 20

Figures = dict[str, float]


def main() -> None:
    """Write the files and measure both ways on them in turns."""
    words = {key: int(value) for key, value in (word.split("=") for word in sys.argv[1:])}
    most, rounds = words.get("images", 10_000), words.get("rounds", 5)
    with tempfile.TemporaryDirectory() as name:
        os.environ["OIV5_D2_CACHE"] = name
        for number in (most // 100, most // 10, most):
            loose = draw(Path(name) / f"loose-{number}", number)
            packed, seconds = pack_copy(loose, Path(name) / f"packed-{number}")
            print(f"{number:,} images: packed in {1e6 * seconds / number:.0f} us an image")
            found: dict[str, list[Figures]] = {"files": [], "packed": []}
            for _ in range(rounds):
                for way, dataset in (("files", loose), ("packed", packed)):
                    found[way].append(opening.in_a_process(measure, dataset))
            for way, some in found.items():
                show(way, some)


def show(way: str, some: list[Figures]) -> None:
    """Print the median of the rounds, and their extremes."""
    for name in some[0]:
        values = [one[name] for one in some]
        print(f"  {way:7} {name:28} {median(values):9.1f}  {min(values):9.1f} to {max(values):.1f}")


def measure(dataset: Prepared) -> Figures:
    """Return what opening and reading take in this process."""
    packed = open_packed(dataset.json_path)
    names = [one["file_name"] for one in packed.images()]
    order = np.random.default_rng(0).permutation(len(names)).tolist()
    drop_from_memory(dataset)
    before = opening.private()
    looking = timed(lambda: check_files(dataset, packed.images()))
    images = dataset.images
    figures = {"before the first step, us": looking / len(names)}
    drop_from_memory(dataset)
    for name in ("read from the disk, us", "read from memory, us"):
        read = timed(lambda: [len(images.read(names[i])) for i in order])
        figures[name] = read / len(names)
    figures["memory of its own, MB"] = opening.private() - before
    some = [images.read(name) for name in names[:200]]
    figures["digest, us"] = timed(lambda: [digest(data) for data in some]) / len(some)
    decoding = timed(lambda: [decode_frame(data, "BGR") for data in some])
    figures["decode, to compare, us"] = decoding / len(some)
    return figures


def timed(work: Callable[[], object]) -> float:
    """Return the microseconds that passed."""
    begin = time.perf_counter()
    work()
    return 1e6 * (time.perf_counter() - begin)


def drop_from_memory(dataset: Prepared) -> None:
    """Let the system forget what it keeps of the images, and of what was found out about them."""
    pack_of = index_path(dataset.json_path)
    paths: Iterable[Path] = dataset.images_dir.rglob("*.jpg")
    if pack_of.is_file():
        paths = [pack_of, *find_shards(dataset.json_path)]
    for path in paths:
        with path.open("rb") as file:
            os.fsync(file.fileno())
            os.posix_fadvise(file.fileno(), 0, 0, os.POSIX_FADV_DONTNEED)
    for path in (dataset.json_path.parent.parent / ".stamps").glob("checked-*"):
        path.unlink()


def pack_copy(loose: Prepared, data_dir: Path) -> tuple[Prepared, float]:
    """Pack images into another folder; return the data set there, and the seconds that it took."""
    path = data_dir / "coco" / loose.json_path.name
    path.parent.mkdir(parents=True)
    path.write_bytes(loose.json_path.read_bytes())
    seconds = timed(lambda: pack(path, loose.images_dir, SHARD_BYTES)) / 1e6
    return Prepared(loose.name, path, data_dir / "images"), seconds


def draw(data_dir: Path, num_images: int) -> Prepared:
    """Write images and a COCO file of them."""
    rng = np.random.default_rng(0)
    folder, path = data_dir / "images" / "train", data_dir / "coco" / "train.json"
    folder.mkdir(parents=True)
    files = [_jpeg(rng, data_dir / "picture.jpg") for _ in range(PICTURES)]
    for number in range(num_images):
        (folder / f"{number:016x}.jpg").write_bytes(files[number % PICTURES])
    size: dict[str, Any] = {"height": HEIGHT, "width": WIDTH}
    images = ({"id": n + 1, "file_name": f"train/{n:016x}.jpg", **size} for n in range(num_images))
    categories = [{"id": i, "name": name} for i, name in enumerate(opening.CLASSES, start=1)]
    coco_file.write(path, {"categories": categories}, map(coco_file.dumps, images), [])
    return Prepared("many_train", path, data_dir / "images")


def _jpeg(rng: np.random.Generator, path: Path) -> bytes:
    """Return a picture with as much detail as a photo: some 40 kB."""
    coarse = Image.fromarray(rng.integers(0, 255, (HEIGHT // 4, WIDTH // 4, 3), dtype=np.uint8))
    coarse.resize((WIDTH, HEIGHT), Image.Resampling.BICUBIC).save(path, quality=90)
    return path.read_bytes()


if __name__ == "__main__":
    main()
