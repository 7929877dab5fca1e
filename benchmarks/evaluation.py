"""Evaluation beside pycocotools, on the sizes of the real validation split, in one run.

    python benchmarks/evaluation.py                # 13,500 images, 100 detections on each
    python benchmarks/evaluation.py images=1500    # a ninth of that

Prints, for boxes and masks: seconds and peak memory of COCO's evaluation by both, from the same
detections in memory, and how far their numbers are apart; then the seconds of the Open Images
metric and of 1,000 resamples of all metrics of all classes.
"""

import contextlib
import io
import multiprocessing
import resource
import sys
import time
from collections.abc import Callable
from typing import Any

import numpy as np
from pycocotools import mask as run_lengths
from pycocotools.coco import COCO
from pycocotools.cocoeval import COCOeval

from oiv5_d2.evaluation import coco, intervals, open_images
from oiv5_d2.evaluation.detections import Collector, Detections
from oiv5_d2.evaluation.judge import resampled
from oiv5_d2.evaluation.truth import Truth, build_truth

HEIGHT, WIDTH = 768, 1024
CLASSES = ("Person", "Traffic light", "Car", "Traffic sign")
PER_IMAGE, NEAR = 100, 5  # detections of an image, and how many of them are near each object
CORNERS = 24  # of an outline


def main() -> None:
    """Make the data, and run every measurement in a process of its own."""
    words = dict(word.split("=") for word in sys.argv[1:])
    num_images = int(words.get("images", 13_500))
    num_objects = round(num_images * 25_000 / 13_500)
    print(f"{num_images:,} images, {num_objects:,} objects, {num_images * PER_IMAGE:,} detections")
    for task in ("bbox", "segm"):
        rows = {}
        for name, measured in (("pycocotools", by_pycocotools), ("ours", by_ours)):
            rows[name] = in_a_process(measured, num_images, num_objects, task)
            seconds, memory, values = rows[name]
            print(f"{task} {name:12} {seconds:8.1f} s  {memory:6.2f} GB more  AP {values[0]:.4f}")
        (slow, _, theirs), (fast, _, ours) = rows.values()
        apart = np.nanmax(np.abs(np.array(theirs) - ours))
        print(f"{task} {slow / fast:.1f} times as fast; numbers at most {apart:.1e} apart")
    for task in ("bbox", "segm"):
        for name, measured in (("Open Images", by_open_images), ("1,000 resamples", by_bootstrap)):
            seconds, memory, _ = in_a_process(measured, num_images, num_objects, task)
            print(f"{task} {name:16} {seconds:8.1f} s  {memory:6.2f} GB more")


def in_a_process(measured: Callable[..., Any], *arguments: Any) -> Any:
    """Return what a function returns in a process of its own, for its peak memory's sake."""
    with multiprocessing.get_context("spawn").Pool(1) as pool:
        return pool.apply(measured, arguments)


def timed(work: Callable[[], list[float]]) -> tuple[float, float, list[float]]:
    """Return seconds, what the peak of memory rose by in GB, and the numbers."""
    before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    start = time.perf_counter()
    values = work()
    after = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    return time.perf_counter() - start, (after - before) / 1e6, values


def by_pycocotools(num_images: int, num_objects: int, task: str) -> Any:
    """Measure the reference from lists of dicts, as Detectron2 hands them over."""
    truth, found = make(num_images, num_objects)
    rows = list(as_results(found, task))

    def work() -> list[float]:
        objects = COCO()
        objects.dataset = as_coco(truth)
        objects.createIndex()
        evaluated = COCOeval(objects, objects.loadRes(rows), task)
        evaluated.evaluate()
        evaluated.accumulate()
        evaluated.summarize()
        return [100 * float(value) for value in evaluated.stats[:6]]

    with contextlib.redirect_stdout(io.StringIO()):
        return timed(work)


def by_ours(num_images: int, num_objects: int, task: str) -> Any:
    """Measure `coco.evaluate` from arrays, as the evaluator collects them."""
    truth, found = make(num_images, num_objects)
    return timed(lambda: list(coco.evaluate(truth, found, task).values())[:6])


def by_open_images(num_images: int, num_objects: int, task: str) -> Any:
    """Measure the Open Images metric."""
    truth, found = make(num_images, num_objects)
    above = np.zeros((len(CLASSES), len(CLASSES)), dtype=np.bool_)
    return timed(lambda: list(open_images.evaluate(truth, found, task, above).values()))


def by_bootstrap(num_images: int, num_objects: int, task: str) -> Any:
    """Measure all metrics of a task on 1,000 resamples."""
    truth, found = make(num_images, num_objects)
    above = np.zeros((len(CLASSES), len(CLASSES)), dtype=np.bool_)

    def work() -> list[float]:
        weights = intervals.draw(num_images)
        values = resampled(truth, found, above, [task], weights)
        return [float(np.nanstd(of)) for of in values[task].values()]

    return timed(work)


def make(num_images: int, num_objects: int) -> tuple[Truth, Detections]:
    """Draw ellipses; some detections are near objects, the others anywhere, with low scores."""
    rng = np.random.default_rng(0)
    images = [
        {"id": i + 1, "height": HEIGHT, "width": WIDTH, "negative_category_ids": [1, 2, 3, 4]}
        for i in range(num_images)
    ]
    objects: list[dict[str, Any]] = []
    for number in range(num_objects):
        place, category = int(rng.integers(num_images)), int(rng.integers(4)) + 1
        box = random_box(rng)
        one = {"id": number + 1, "image_id": place + 1, "category_id": category, "bbox": box}
        one |= {"area": box[2] * box[3], "iscrowd": int(rng.random() < 0.05)}
        objects.append(one | {"segmentation": outline(box)})
    collector = Collector()
    near: dict[int, list[dict[str, Any]]] = {}
    for one in objects:
        near.setdefault(one["image_id"] - 1, []).append(one)
    anywhere = [random_box(rng) for _ in range(5000)]
    outlines = [outline(box)["counts"].encode() for box in anywhere]
    for place in range(num_images):
        own = (near.get(place, []) * NEAR)[:PER_IMAGE]
        for one in own:
            box = (np.array(one["bbox"]) + rng.normal(0, 6, 4)).clip(2, None)
            box[:2] = box[:2].clip(0, [WIDTH - 10, HEIGHT - 10])
            category = one["category_id"] - 1
            counts = outline(box.tolist())["counts"].encode()
            score = float(rng.beta(5, 2))
            collector.append((place, category), score, box.tolist(), (HEIGHT, WIDTH), counts)
        for i in rng.integers(len(anywhere), size=PER_IMAGE - len(own)):
            category, score = int(rng.integers(4)), float(rng.beta(1, 8))
            size = (HEIGHT, WIDTH)
            collector.append((place, category), score, anywhere[i], size, outlines[i])
    categories = [{"id": i + 1, "name": name} for i, name in enumerate(CLASSES)]
    content = {"images": images, "annotations": objects, "categories": categories}
    return build_truth(content, "drawn", ""), collector.finish()


def random_box(rng: np.random.Generator) -> list[float]:
    """Return a box (xywh) of 20 to 300 pixels a side."""
    w, h = rng.uniform(20, 300, 2)
    return [float(v) for v in (rng.uniform(0, WIDTH - w), rng.uniform(0, HEIGHT - h), w, h)]


def outline(box: list[float]) -> dict[str, Any]:
    """Return the run lengths of the ellipse in a box."""
    x, y, w, h = box
    angles = np.linspace(0, 2 * np.pi, CORNERS, endpoint=False)
    corners = np.stack([x + w / 2 * (1 + np.cos(angles)), y + h / 2 * (1 + np.sin(angles))], axis=1)
    rle = run_lengths.frPyObjects([corners.ravel().tolist()], HEIGHT, WIDTH)[0]
    return {"size": rle["size"], "counts": rle["counts"].decode()}


def as_coco(truth: Truth) -> dict[str, Any]:
    """Return a truth as pycocotools takes it."""
    annotations = [{**one, "segmentation": truth.masks[i]} for i, one in enumerate(truth.records)]
    return {"images": truth.images, "categories": truth.categories, "annotations": annotations}


def as_results(found: Detections, task: str) -> Any:
    """Yield detections as pycocotools takes them."""
    for i in range(len(found)):
        one = {
            "image_id": int(found.image[i]) + 1,
            "category_id": int(found.category[i]) + 1,
            "score": float(found.scores[i]),
        }
        shape = {"bbox": found.boxes[i].tolist()}
        yield one | (shape if task == "bbox" else {"segmentation": found.masks[i]})


if __name__ == "__main__":
    main()
