"""The training mapper beside Detectron2's own, in turns on one core:  python benchmarks/loader.py.

    python benchmarks/loader.py images=40 rounds=9

Images of 768 x 1024 px with 5.8 objects each, drawn here, go to a shortest side of 800 px and are
flipped at random. Each round takes all images with: Detectron2's mapper with bitmasks, and with
boxes alone; ours, which gives the same pixels, boxes, classes and masks, and with boxes alone; ours
with augment=fast_resize, whose pixels may differ by 1; and the limit, which is to decode and resize
these images as Pillow does, and nothing else. Prints milliseconds of CPU an image (min, median and
max of the rounds), the ratio to Detectron2's mapper and the share of the limit. `profile=1` prints
where the time goes instead. Figures that were measured: docs/speed.md.
"""

import cProfile
import pstats
import sys
import tempfile
import time
from collections.abc import Callable
from pathlib import Path
from statistics import median
from typing import Any

import cv2
import numpy as np
import pyarrow as pa
import simplejpeg
import torch
from hydra import compose, initialize_config_dir
from masks import draw_object
from numpy.typing import NDArray
from PIL import Image
from pycocotools import mask as run_lengths

from oiv5_d2.console.errors import CONFIG_DIR
from oiv5_d2.training.config import to_cfg
from oiv5_d2.training.data.mapper import build_mapper, seeded

from detectron2.data import DatasetMapper  # isort: skip
from detectron2.structures import BoxMode  # isort: skip

HEIGHT, WIDTH, SHORTEST = 768, 1024, 800
NUM_OBJECTS = 5.8  # of an image, on average, as in the traffic classes' training part
WORDS = ("+experiment=r50_traffic", "logger=none", f"d2.INPUT.MIN_SIZE_TRAIN=[{SHORTEST}]")

Record = dict[str, Any]
Way = Callable[[Record, int], object]  # of a record and a seed


def main() -> None:
    """Draw the images and time every way on them in turns."""
    words = {key: int(value) for key, value in (word.split("=") for word in sys.argv[1:])}
    torch.set_num_threads(1)
    cv2.setNumThreads(1)
    with tempfile.TemporaryDirectory() as folder:
        records = draw_records(Path(folder), words.get("images", 30))
        ways = build_ways(records)
        if words.get("profile"):
            profile(ways, records)
            return
        found = measure(ways, records, words.get("rounds", 7))
    report(found, records)


def build_ways(records: list[Record]) -> dict[str, Way]:
    """Return the ways to make a sample, by name."""
    with initialize_config_dir(str(CONFIG_DIR), version_base="1.3"):
        masks, boxes = (
            to_cfg(compose("train", [*WORDS, f"d2.MODEL.MASK_ON={on}"]), "x")
            for on in ("true", "false")
        )
    return {
        "Detectron2": _stock(DatasetMapper(masks, is_train=True)),
        "ours": build_mapper(masks, {}, records),
        "ours, fast_resize": build_mapper(masks, {"fast_resize": {}}, records),
        "Detectron2, boxes alone": _stock(DatasetMapper(boxes, is_train=True)),
        "ours, boxes alone": build_mapper(boxes, {}, records),
        "decode and resize": lambda record, _: decode_and_resize(record),
    }


def _stock(mapper: DatasetMapper) -> Way:
    def draw(record: Record, seed: int) -> object:
        with seeded(seed):
            return mapper(record)

    return draw


def decode_and_resize(record: Record) -> object:
    """Do what no way to these pixels can do without."""
    quads = simplejpeg.decode_jpeg(Path(record["file_name"]).read_bytes(), "BGRX")
    pixels = pa.Array.from_buffers(pa.uint32(), quads.size // 4, [None, pa.py_buffer(quads)])
    width = round(SHORTEST * WIDTH / HEIGHT)
    image = Image.fromarrow(pixels, "RGB", (WIDTH, HEIGHT))
    return image.resize((width, SHORTEST), Image.Resampling.BILINEAR)


def measure(ways: dict[str, Way], records: list[Record], num_rounds: int) -> dict[str, list[float]]:
    """Return for each way the seconds of CPU an image, one number a round."""
    found: dict[str, list[float]] = {name: [] for name in ways}
    for number in range(num_rounds + 1):
        for name, way in ways.items():
            begin = time.process_time()
            for index, record in enumerate(records):
                way(record, index)
            if number:  # the first round warms up
                found[name].append((time.process_time() - begin) / len(records))
    return found


def report(found: dict[str, list[float]], records: list[Record]) -> None:
    """Print a row a way."""
    num_objects = sum(len(record["annotations"]) for record in records) / len(records)
    print(f"{len(records)} images, {num_objects:.1f} objects each; ms of CPU an image")
    limit = median(found["decode and resize"])
    for name, seconds in found.items():
        low, middle, high = (1000 * one for one in (min(seconds), median(seconds), max(seconds)))
        peer = "Detectron2" + ", boxes alone" * ("boxes" in name)
        ratio = f"   {median(found[peer]) / median(seconds):4.2f} x Detectron2's"
        share = f"   {limit / median(seconds):4.0%} of the limit"
        print(f"{name:24} {low:6.2f} {middle:6.2f} {high:6.2f}{share}{ratio}")


def profile(ways: dict[str, Way], records: list[Record]) -> None:
    """Print the functions that take the most time, of Detectron2's mapper and of ours."""
    for name in ("Detectron2", "ours"):
        watched = cProfile.Profile()
        for index, record in enumerate(records):
            ways[name](record, index)
            watched.runcall(ways[name], record, index)
        print(name)
        pstats.Stats(watched).sort_stats("tottime").print_stats(16)


def draw_records(folder: Path, num_images: int) -> list[Record]:
    """Write images with objects of every size; return them in Detectron2's format."""
    rng = np.random.default_rng(0)
    records = []
    for number in range(num_images):
        path = folder / f"{number}.jpg"
        Image.fromarray(_scene(rng)).save(path, quality=90)
        outlines = [draw_object(rng, HEIGHT, WIDTH) for _ in range(int(NUM_OBJECTS + rng.random()))]
        record: Record = {"file_name": str(path), "height": HEIGHT, "width": WIDTH}
        objects = [_annotate(one) for one in outlines]
        records.append({**record, "image_id": number, "annotations": objects})
    return records


def _scene(rng: np.random.Generator) -> NDArray[np.uint8]:
    coarse = rng.integers(0, 255, (HEIGHT // 16, WIDTH // 16, 3), dtype=np.uint8)
    smooth = cv2.resize(coarse, (WIDTH, HEIGHT), interpolation=cv2.INTER_CUBIC)
    noisy = smooth + rng.normal(0, 6, smooth.shape)
    return noisy.clip(0, 255).astype(np.uint8)


def _annotate(mask: NDArray[np.uint8]) -> dict[str, Any]:
    rle = run_lengths.encode(np.asfortranarray(mask))
    return {
        "bbox": run_lengths.toBbox(rle).tolist(),
        "bbox_mode": BoxMode.XYWH_ABS,
        "category_id": int(mask.sum()) % 4,
        "iscrowd": 0,
        "segmentation": {"size": [HEIGHT, WIDTH], "counts": rle["counts"].decode()},
    }


if __name__ == "__main__":
    main()
