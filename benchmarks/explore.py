"""The page to explore on 100,000 images with five objects each, all of it measured at once.

    python benchmarks/explore.py                 # 100,000 images
    python benchmarks/explore.py runs=2          # beside them ten detections an image of two runs
    python benchmarks/explore.py images=10000

Draws a few photos that all images link to, a COCO file, and the detections of runs; then starts
tools/explore.py as a user does and asks it what a browser asks, over six connections. Prints the
seconds until the page is there, with 60 thumbnails and their outlines, at the first start and at
the second one; the seconds of searches; and the process's peak of memory.
"""

import json
import os
import re
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import closing, contextmanager
from functools import partial
from http.client import HTTPConnection
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit
from urllib.request import urlopen

import cv2
import numpy as np

from oiv5_d2.conversion import coco_file, masks

ROOT = Path(__file__).parents[1]
HEIGHT, WIDTH = 768, 1024
CLASSES = ("Person", "Traffic light", "Car", "Traffic sign")
PHOTOS, OUTLINES, OBJECTS = 8, 400, 5
DETECTIONS, FOUND_SHARE = 10, 0.7  # of an image; of the objects that a run finds
CONNECTIONS = 6  # of a browser to one host
SEARCHES = (
    "q=0001",
    "q=person+occluded",
    "class=Car&size=small&flag=truncated",
    "finding=tiny+mask",
    "order=smallest&class=Traffic+sign",
    "page=1667",
)
RUN_SEARCHES = ("a=missed", "a=found&b=missed", "layer=a&outcome=background&score=0.8&class=Car")


Outlines = list[dict[str, Any]]  # fields of an annotation
Chances = list[
    list[int]
]  # of each object: numbers that its shape, class and attributes follow from


def draw_photo(rng: np.random.Generator, path: Path) -> None:
    """Write a photo of about 200 kB, whose decoding takes as long as a real one's."""
    coarse = rng.integers(0, 255, (24, 32, 3)).astype(np.uint8)
    photo = cv2.resize(coarse, (WIDTH, HEIGHT), interpolation=cv2.INTER_CUBIC).astype(np.int16)
    photo += rng.integers(-12, 12, photo.shape).astype(np.int16)
    cv2.imwrite(str(path), photo.clip(0, 255).astype(np.uint8), [cv2.IMWRITE_JPEG_QUALITY, 85])


def draw_outline(rng: np.random.Generator) -> dict[str, Any]:
    """Return the fields of an object that its outline gives."""
    side = int(np.exp(rng.uniform(np.log(6), np.log(500))))
    angles = np.linspace(0, 2 * np.pi, 40, endpoint=False)
    radii = side / 2 * rng.uniform(0.7, 1.0, 40)
    centre = rng.uniform((0, 0), (WIDTH, HEIGHT))
    corners = centre + radii[:, None] * np.stack([np.cos(angles), np.sin(angles)], axis=1)
    mask = np.zeros((HEIGHT, WIDTH), dtype=np.uint8)
    cv2.fillPoly(mask, [corners.round().astype(np.int32)], 1)
    box = [float(one) for one in masks.tight_box(mask.astype(bool))]
    rle = masks.encode(mask.astype(bool))
    return {"bbox": box, "area": int(mask.sum()), "segmentation": rle}


def image_lines(number: int) -> Iterator[str]:
    """Yield the records of the images."""
    for id_ in range(1, number + 1):
        name = f"{id_:016x}"
        record = {"id": id_, "file_name": f"train/{name}.jpg", "open_images_id": name}
        record |= {"height": HEIGHT, "width": WIDTH, "license": 1, "author": "Ann Other"}
        verified = {"positive_category_ids": [1, 3], "negative_category_ids": [2]}
        yield coco_file.dumps({**record, **verified, "title": f"Street {id_}", "rotation": 0.0})


def object_lines(outlines: Outlines, chances: Chances) -> Iterator[str]:
    """Yield the records of the objects."""
    for id_, (shape, category, bits) in enumerate(chances, start=1):
        is_ignored = bits % 10 == 0
        yield coco_file.dumps(
            {
                "id": id_,
                "image_id": (id_ - 1) // OBJECTS + 1,
                "category_id": category % len(CLASSES) + 1,
                **outlines[shape % OUTLINES],
                "iscrowd": int(is_ignored),
                "ignore_reason": "no mask" if is_ignored else "",
                "label": f"/m/{category % 9}",
                "box_id": f"{id_:08x}",
                "is_occluded": bits >> 4 & 1,
                "is_truncated": bits >> 5 & 1,
                "is_group_of": 0,
                "is_depiction": 0,
                "is_inside": 0,
                "predicted_iou": 0.8,
            }
        )


def detection_lines(outlines: Outlines, chances: Chances, seed: int) -> Iterator[str]:
    """Yield a run's detections: most of the objects, and others where there is nothing."""
    rng = np.random.default_rng(seed)
    for image in range(len(chances) // OBJECTS):
        own = chances[image * OBJECTS : (image + 1) * OBJECTS]
        others = rng.integers(0, 1 << 30, (DETECTIONS, 2)).tolist()
        found = [one[:2] for one in own if rng.random() < FOUND_SHARE] + others
        scores = np.round(rng.random(DETECTIONS), 4).tolist()
        for (shape, category), score in zip(found[:DETECTIONS], scores, strict=True):
            outline = outlines[shape % OUTLINES]
            about = {"image_id": image + 1, "category_id": category % len(CLASSES) + 1}
            about |= {"score": score, "bbox": outline["bbox"]}
            yield coco_file.dumps({**about, "segmentation": outline["segmentation"]})


def write_run(run_dir: Path, data_dir: Path, lines: Iterator[str]) -> None:
    """Write what the page needs of a run."""
    folder = run_dir / "evaluation" / "many_train"
    folder.mkdir(parents=True)
    data = {"many_train": {"json": str(data_dir / "coco" / "train.json")}}
    record = {"name": run_dir.name, "data": data, "seconds": 1.0}
    (run_dir / "run.json").write_text(json.dumps(record))
    with (folder / "coco_instances_results.json").open("w") as file:
        for i, line in enumerate(lines):
            file.write(f"{',' if i else '['}{line}")
        file.write("]")


def write_data(root: Path, number: int, num_runs: int) -> tuple[Path, list[Path]]:
    """Write a data folder of one part, and runs; return both."""
    rng, data_dir = np.random.default_rng(0), root / "data" / "many"
    folder = data_dir / "images" / "train"
    folder.mkdir(parents=True)
    for i in range(PHOTOS):
        draw_photo(rng, data_dir / f"{i}.jpg")
    for id_ in range(1, number + 1):
        (folder / f"{id_:016x}.jpg").symlink_to(data_dir / f"{id_ % PHOTOS}.jpg")
    outlines = [draw_outline(rng) for _ in range(OUTLINES)]
    chances = rng.integers(0, 1 << 30, (number * OBJECTS, 3)).tolist()
    head = {"info": {}, "categories": [{"id": i, "name": n} for i, n in enumerate(CLASSES, 1)]}
    lines = image_lines(number), object_lines(outlines, chances)
    coco_file.write(data_dir / "coco" / "train.json", head, *lines)
    tiny = {"below_pixels": 16, "below_share": 1e-4, "num_masks": 0, "worst": []}
    (data_dir / "audit.json").write_text(json.dumps({"parts": {"train": {"tiny": tiny}}}))
    runs = [root / "outputs" / f"run_{i}" for i in range(num_runs)]
    for seed, run_dir in enumerate(runs):
        write_run(run_dir, data_dir, detection_lines(outlines, chances, seed))
    return data_dir, runs


@contextmanager
def started(words: list[str], root: Path) -> Iterator[tuple[str, int]]:
    """Start the tool; yield its address and its process id."""
    words = [*words, "open=false", "port=0", f"cache={root}/cache"]
    command = [sys.executable, str(ROOT / "tools" / "explore.py"), *words]
    environment = {**os.environ, "PYTHONPATH": str(ROOT)}
    with subprocess.Popen(
        command, stdout=subprocess.PIPE, text=True, env=environment, cwd=root
    ) as tool:
        assert tool.stdout is not None
        said = (re.search(r"http://[\d.]+:\d+/", line) for line in tool.stdout)
        found = next((one for one in said if one), None)
        assert found, "the tool did not start"
        try:
            yield found[0], tool.pid
        finally:
            tool.terminate()


def fetch(address: str) -> bytes:
    """Return what is at an address."""
    with urlopen(address, timeout=60) as response:
        body: bytes = response.read()
    return body


def open_page(url: str, query: str = "") -> float:
    """Ask for all that a page of 60 images shows; return the seconds."""
    start = time.perf_counter()
    fetch(url)
    numbers = [one["number"] for one in json.loads(fetch(f"{url}search?{query}"))["images"]]
    paths = [f"/{kind}/{n}" for n in numbers for kind in ("thumbnails", "annotations")]
    with ThreadPoolExecutor(CONNECTIONS) as pool:
        shares = (paths[i::CONNECTIONS] for i in range(CONNECTIONS))
        sizes = [size for some in pool.map(partial(fetch_all, url), shares) for size in some]
    assert len(sizes) == 2 * len(numbers) and min(sizes) > 200
    return time.perf_counter() - start


def fetch_all(url: str, paths: list[str]) -> list[int]:
    """Return the sizes of what is at some paths, over one connection."""
    with closing(HTTPConnection(urlsplit(url).netloc, timeout=60)) as connection:
        return [_size(connection, path) for path in paths]


def _size(connection: HTTPConnection, path: str) -> int:
    connection.request("GET", path)
    return len(connection.getresponse().read())


def search(url: str, query: str) -> tuple[float, int]:
    """Search; return the seconds and how many images were found."""
    start = time.perf_counter()
    found = json.loads(fetch(f"{url}search?{query}"))
    return time.perf_counter() - start, found["total"]


def peak(pid: int) -> float:
    """Return a process's peak of memory in MB."""
    status = Path(f"/proc/{pid}/status").read_text()
    return int(re.findall(r"VmHWM:\s+(\d+)", status)[0]) / 1e3


def measure(words: list[str], root: Path, name: str, searches: Sequence[str]) -> None:
    """Start the tool, use it, and print what that needs."""
    start = time.perf_counter()
    with started(words, root) as (url, pid):
        print(f"{name}: there after {time.perf_counter() - start:.1f} s, {peak(pid):.0f} MB")
        print(
            f"  first page {open_page(url):.2f} s, another one {open_page(url, 'page=900'):.2f} s"
        )
        for query in searches:
            seconds, number = search(url, query)
            print(f"  {query}: {seconds:.2f} s, {number:,} images")
        print(f"  peak {peak(pid):.0f} MB")


def main() -> None:
    """Write the data, and measure both starts."""
    said = dict(word.split("=") for word in sys.argv[1:])
    number, num_runs = int(said.get("images", 100_000)), int(said.get("runs", 0))
    with tempfile.TemporaryDirectory() as root:
        data_dir, runs = write_data(Path(root), number, num_runs)
        size = (data_dir / "coco" / "train.json").stat().st_size / 1e6
        print(f"{number:,} images, {number * OBJECTS:,} objects, a COCO file of {size:.0f} MB")
        words = ["data.name=many", f"data.dir={data_dir}", "parts=[train]"]
        searches = SEARCHES
        if runs:
            print(f"{num_runs} runs with {number * DETECTIONS:,} detections each")
            words, searches = [f"runs=[{','.join(map(str, runs))}]"], (*SEARCHES, *RUN_SEARCHES)
        for name in ("first start", "second start"):
            measure(words, Path(root), name, searches)


if __name__ == "__main__":
    main()
