"""Look at all images, as a training does before it begins:  python benchmarks/images.py.

The images are links to some that are given, each of them its own file to the system; they lie in
memory, so what is measured is the look, not a disk. Prints the seconds of the first look, of later
ones, and of the processors.
"""

import os
import resource
import sys
import tempfile
import time
from pathlib import Path

import numpy as np
import simplejpeg

from oiv5_d2.conversion.coco_file import dumps, write
from oiv5_d2.runs.packed import Packed, open_packed
from oiv5_d2.runs.prepared import Prepared, check_files
from oiv5_d2.table import Table, to_text

NUM_FILES, SIZE = 20, (768, 1024)  # that the images are links to
LOOKS = ("first", "second", "third")


def main(words: list[str]) -> None:
    """Print a row a look."""
    options = {"images": "100000"} | dict(word.split("=", 1) for word in words)
    shared = Path("/dev/shm")
    with tempfile.TemporaryDirectory(dir=shared if shared.is_dir() else None) as folder:
        dataset = make(Path(folder), int(options["images"]))
        packed = open_packed(dataset.json_path)
        rows = [measure(name, dataset, packed) for name in LOOKS]
    load = f"load {os.getloadavg()[0]:.1f}, {len(os.sched_getaffinity(0))} cores"
    print(to_text(Table(f"{options['images']} images, {load}", ("look", "s", "CPU s"), rows)))


def measure(name: str, dataset: Prepared, packed: Packed) -> tuple[str, str, str]:
    """Look once."""
    before, start = cpu_seconds(), time.perf_counter()
    check_files(dataset, packed.images())
    return name, f"{time.perf_counter() - start:.2f}", f"{cpu_seconds() - before:.2f}"


def cpu_seconds() -> float:
    """Return the seconds of this process and of those that it ended."""
    kinds = (resource.RUSAGE_SELF, resource.RUSAGE_CHILDREN)
    return sum(sum(resource.getrusage(kind)[:2]) for kind in kinds)


def make(root: Path, num_images: int) -> Prepared:
    """Make a prepared part of images that are links."""
    images = root / "images"
    images.mkdir()
    random = np.random.default_rng(0)
    files = [root / f"{number}.jpg" for number in range(NUM_FILES)]
    for file in files:
        pixels = random.integers(0, 255, (*(side // 8 for side in SIZE), 3), np.uint8)
        file.write_bytes(simplejpeg.encode_jpeg(pixels.repeat(8, axis=0).repeat(8, axis=1)))
    records = []
    for number in range(num_images):
        name = f"{number:016x}.jpg"
        (images / name).symlink_to(files[number % NUM_FILES])
        about = {"id": number + 1, "file_name": name, "height": SIZE[0], "width": SIZE[1]}
        records.append(dumps(about))
    head = {"info": {}, "categories": [{"id": 1, "name": "Car"}]}
    write(root / "coco" / "train.json", head, records, [])
    return Prepared("links_train", root / "coco" / "train.json", images)


if __name__ == "__main__":
    main(sys.argv[1:])
