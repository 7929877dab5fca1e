"""From a COCO file to the first batch, beside Detectron2's own way:  python benchmarks/open.py.

    python benchmarks/open.py images=30000        # the most images; a tenth and a hundredth as well

Draws COCO files of 3,000, 30,000 and 300,000 images with 3.4 objects each, all of one small
picture, so that only opening counts. For each, in a process of its own: Detectron2's
``build_detection_train_loader``; ours for the first time, when the file is packed; and ours from
then on, when it also says classes, numbers and SHA-256, for which Detectron2's way reads the file
once more. Prints seconds of CPU, seconds that passed, and how much memory was added by then: in
all, and in pages that the process shares with no other. Figures that were measured: docs/speed.md.
"""

import json
import multiprocessing
import os
import sys
import tempfile
import time
from collections.abc import Callable
from concurrent.futures import ProcessPoolExecutor
from pathlib import Path
from typing import Any, NamedTuple, TypeVar

import numpy as np
from hydra import compose, initialize_config_dir
from PIL import Image
from pycocotools import mask as run_lengths

from oiv5_d2.console.errors import CONFIG_DIR
from oiv5_d2.runs.prepared import Prepared, fingerprint
from oiv5_d2.training.catalog import register
from oiv5_d2.training.config import to_cfg
from oiv5_d2.training.data.loader import build_train_loader

from detectron2.data import build_detection_train_loader  # isort: skip
from detectron2.data.datasets import register_coco_instances  # isort: skip

Way = Callable[[Prepared], None]
Figures = TypeVar("Figures")

CLASSES = ("Person", "Traffic light", "Car", "Traffic sign")
HEIGHT, WIDTH = 48, 64
OBJECTS = 10 / 3  # of an image
CORNERS = 40  # of an outline: as many run lengths as a real one has
WORDS = (
    "+experiment=r50_traffic",
    "logger=none",
    "data.name=many",
    "d2.DATALOADER.NUM_WORKERS=0",
    "d2.MODEL.DEVICE=cpu",
)


class Needed(NamedTuple):
    """What a way needs to the first batch.

    Attributes:
        cpu: seconds.
        wall: seconds that passed.
        peak: MB that it added at most.
        own: MB that it added and shares with no other process, at the end.
    """

    cpu: float
    wall: float
    peak: float
    own: float


def main() -> None:
    """Draw the files and run every way on them."""
    words = dict(word.split("=") for word in sys.argv[1:])
    most = int(words.get("images", 300_000))
    print("   images  way                       CPU s passed s  peak MB   own MB")
    with tempfile.TemporaryDirectory() as name:
        os.environ["OIV5_D2_CACHE"] = name
        for number in (most // 100, most // 10, most):
            dataset = draw(Path(name), number)
            for title, way in WAYS:
                row = in_a_process(measure, way, dataset)
                figures = f"{row.cpu:8.2f} {row.wall:8.2f} {row.peak:8.0f} {row.own:8.0f}"
                print(f"{number:9,}  {title:22} {figures}", flush=True)


def stock(dataset: Prepared) -> None:
    """Load the first batch as Detectron2 does."""
    register_coco_instances(dataset.name, {}, str(dataset.json_path), str(dataset.images_dir))
    loader = build_detection_train_loader(cfg())
    next(iter(loader))


def ours(dataset: Prepared) -> None:
    """Load the first batch as a training does, which also identifies the data."""
    fingerprint(dataset)
    register([dataset], CLASSES)
    next(build_train_loader(cfg(), {}))


WAYS = (("Detectron2", stock), ("ours, the first time", ours), ("ours, from then on", ours))


def cfg() -> Any:
    """Return Detectron2's configuration of a training on the drawn files."""
    with initialize_config_dir(str(CONFIG_DIR), version_base="1.3"):
        return to_cfg(compose("train", [*WORDS]), "x")


def measure(way: Way, dataset: Prepared) -> Needed:
    """Return what a way needs in this process."""
    cfg()  # whatever is imported only then
    before, own = peak(), private()
    begin, passed = time.process_time(), time.perf_counter()
    way(dataset)
    seconds = time.process_time() - begin, time.perf_counter() - passed
    return Needed(*seconds, peak() - before, private() - own)


def peak() -> float:
    """Return the most MB that this process has had."""
    return _count("status", "VmHWM")


def private() -> float:
    """Return the MB of this process that it shares with no other."""
    return _count("smaps_rollup", "Private_")


def _count(name: str, prefix: str) -> float:
    """Return the MB that Linux names so in one of its files about this process."""
    lines = Path("/proc/self", name).read_text().splitlines()
    return sum(int(line.split()[1]) for line in lines if line.startswith(prefix)) / 1024


def in_a_process(function: Callable[..., Figures], *arguments: object) -> Figures:
    """Return what a function returns in a process of its own."""
    context = multiprocessing.get_context("spawn")
    with ProcessPoolExecutor(1, mp_context=context) as pool:
        return pool.submit(function, *arguments).result()


def draw(folder: Path, num_images: int) -> Prepared:
    """Write a COCO file whose images are all one."""
    rng = np.random.default_rng(0)
    Image.fromarray(rng.integers(0, 255, (HEIGHT, WIDTH, 3), dtype=np.uint8)).save(folder / "a.jpg")
    masks = [_mask(rng) for _ in range(100)]
    images = [
        {"id": number, "file_name": "a.jpg", "height": HEIGHT, "width": WIDTH}
        for number in range(num_images)
    ]
    annotations = [
        {**masks[number % 100], "id": number, "image_id": image, "category_id": number % 4 + 1}
        for number, image in enumerate(rng.integers(0, num_images, round(OBJECTS * num_images)))
    ]
    categories = [{"id": i, "name": name} for i, name in enumerate(CLASSES, start=1)]
    for annotation in annotations:
        annotation["image_id"] = int(annotation["image_id"])
    path = folder / f"{num_images}.json"
    content = {"images": images, "annotations": annotations, "categories": categories}
    path.write_text(json.dumps(content))
    return Prepared("many_train", path, folder)


def _mask(rng: np.random.Generator) -> dict[str, Any]:
    """Return a mask of as many run lengths as one of a real object."""
    mask = np.zeros((HEIGHT, WIDTH), np.uint8, order="F")
    for column in range(CORNERS):
        begin = int(rng.integers(0, HEIGHT - 8))
        mask[begin : begin + int(rng.integers(1, 8)), 4 + column // 2] = 1
    rle = run_lengths.encode(mask)
    about = {"bbox": run_lengths.toBbox(rle).tolist(), "area": int(mask.sum()), "iscrowd": 0}
    return {**about, "segmentation": {"size": [HEIGHT, WIDTH], "counts": rle["counts"].decode()}}


if __name__ == "__main__":
    main()
