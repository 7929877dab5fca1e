"""Evaluation beside pycocotools, on the sizes of the real validation split, in one run.

    python benchmarks/evaluation.py                # 13,500 images, 100 detections on each
    python benchmarks/evaluation.py images=1500    # a ninth of that
    python benchmarks/evaluation.py images=1000 only=memory

Each measurement reads the same two files, in a process of its own. Prints, for boxes and masks:
seconds of CPU that both need to read the files and to evaluate, the seconds that pass, the peak of
memory, and how far their numbers are apart; then the same of the Open Images metric and of 1,000
resamples of all metrics of all classes. Last the peak of memory with the same images so often that
they are 125,000, of COCO's evaluation and of all that `tools/evaluate.py` computes.
"""

import contextlib
import io
import json
import multiprocessing
import resource
import sys
import tempfile
import time
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray
from pycocotools import mask as run_lengths
from pycocotools.coco import COCO
from pycocotools.cocoeval import COCOeval

from oiv5_d2.evaluation import coco, intervals, open_images
from oiv5_d2.evaluation.analysis import analyse
from oiv5_d2.evaluation.detections import Collector, Detections, concatenate
from oiv5_d2.evaluation.diagnosis import diagnose
from oiv5_d2.evaluation.formats import read_predictions
from oiv5_d2.evaluation.masks import join
from oiv5_d2.evaluation.scoring import find_tasks, resampled, score
from oiv5_d2.evaluation.truth import Truth, build_truth, read_truth

HEIGHT, WIDTH = 768, 1024
CLASSES = ("Person", "Traffic light", "Car", "Traffic sign")
NONE_ABOVE = np.zeros((len(CLASSES), len(CLASSES)), dtype=np.bool_)
PER_IMAGE, NEAR = 100, 5  # detections of an image, and how many of them are near each object
CORNERS = 24  # of an outline
ALL_IMAGES = 125_000  # as many as the release's test split has
TRUTH = "truth.json"


class Measured(NamedTuple):
    """What a way of evaluation needs.

    Attributes:
        read: seconds of CPU until the files are in memory.
        evaluate: seconds of CPU from there on.
        wall: seconds that passed in all.
        memory: the process's peak, in GB.
        values: the numbers.
    """

    read: float
    evaluate: float
    wall: float
    memory: float
    values: list[float]

    def describe(self) -> str:
        """Return the figures as a row."""
        return (
            f"read {self.read:6.1f} s  evaluate {self.evaluate:6.1f} s  "
            f"passed {self.wall:6.1f} s  peak {self.memory:5.2f} GB"
        )


def main() -> None:
    """Make the files, and run every measurement in a process of its own."""
    words = dict(word.split("=") for word in sys.argv[1:])
    num_images = int(words.get("images", 13_500))
    num_objects = round(num_images * 25_000 / 13_500)
    print(f"{num_images:,} images, {num_objects:,} objects, {num_images * PER_IMAGE:,} detections")
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        in_a_process(write_files, folder, num_images, num_objects)
        if words.get("only") != "memory":
            compare_speed(folder)
        times = -(-ALL_IMAGES // num_images)
        print(f"the same images {times} times: {times * num_images:,}")
        for label, way in (("COCO", by_ours), ("all", by_everything)):
            print(
                f"segm {label:16} {in_a_process(way, folder, 'segm', times).describe()}", flush=True
            )


def compare_speed(folder: Path) -> None:
    """Print what each evaluation needs."""
    for task in ("bbox", "segm"):
        compare(folder, task)
    for task in ("bbox", "segm"):
        for label, way in (("Open Images", by_open_images), ("1,000 resamples", by_bootstrap)):
            print(f"{task} {label:16} {in_a_process(way, folder, task).describe()}", flush=True)


def compare(folder: Path, task: str) -> None:
    """Print COCO's evaluation by pycocotools and by ours."""
    theirs = in_a_process(by_pycocotools, folder, task)
    print(f"{task} pycocotools      {theirs.describe()}  AP {theirs.values[0]:.4f}")
    ours = in_a_process(by_ours, folder, task)
    print(f"{task} ours             {ours.describe()}  AP {ours.values[0]:.4f}")
    whole = (theirs.read + theirs.evaluate) / (ours.read + ours.evaluate)
    apart = np.nanmax(np.abs(np.array(theirs.values) - ours.values))
    print(
        f"{task} evaluation {theirs.evaluate / ours.evaluate:.1f} times as fast, with reading "
        f"{whole:.1f} times; {theirs.memory / ours.memory:.1f} times less memory; "
        f"numbers at most {apart:.1e} apart",
        flush=True,
    )


def in_a_process(measured: Callable[..., Any], *arguments: Any) -> Any:
    """Return what a function returns in a process of its own, for its peak memory's sake."""
    with multiprocessing.get_context("spawn").Pool(1) as pool:
        return pool.apply(measured, arguments)


def measure(read: Callable[[], Any], evaluate: Callable[..., list[float]]) -> Measured:
    """Return what reading and then evaluating what was read needs."""
    start, cpu = time.perf_counter(), [time.process_time()]
    content = read()
    cpu.append(time.process_time())
    values = evaluate(*content)
    cpu.append(time.process_time())
    passed = time.perf_counter() - start
    return Measured(cpu[1] - cpu[0], cpu[2] - cpu[1], passed, peak_memory(), values)


def peak_memory() -> float:
    """Return this process's peak so far, in GB."""
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1e6


def by_pycocotools(folder: Path, task: str) -> Measured:
    """Measure the reference."""

    def read() -> Any:
        return COCO(folder / TRUTH), json.loads((folder / f"{task}.json").read_bytes())

    def evaluate(objects: COCO, rows: list[Any]) -> list[float]:
        evaluated = COCOeval(objects, objects.loadRes(rows), task)
        evaluated.evaluate()
        evaluated.accumulate()
        evaluated.summarize()
        return [100 * float(value) for value in evaluated.stats[:6]]

    with contextlib.redirect_stdout(io.StringIO()):
        return measure(read, evaluate)


def by_ours(folder: Path, task: str, times: int = 1) -> Measured:
    """Measure `coco.evaluate`, with every image so often."""
    return measure(
        lambda: repeat(*read_files(folder, task), times),
        lambda truth, found: list(coco.evaluate(truth, found, task).values())[:6],
    )


def by_everything(folder: Path, task: str, times: int) -> Measured:
    """Measure every metric of boxes and masks, their intervals and the analysis."""

    def evaluate(truth: Truth, found: Detections) -> list[float]:
        tasks = find_tasks(truth, found)
        analysis = analyse(diagnose(truth, found, tasks[-1]), {})
        results = score(truth, found, NONE_ABOVE, tasks, analysis)
        return list(results.tasks[task].values())[:6]

    return measure(lambda: repeat(*read_files(folder, task), times), evaluate)


def by_open_images(folder: Path, task: str) -> Measured:
    """Measure the Open Images metric."""

    def evaluate(truth: Truth, found: Detections) -> list[float]:
        return list(open_images.evaluate(truth, found, task, NONE_ABOVE).values())

    return measure(lambda: read_files(folder, task), evaluate)


def by_bootstrap(folder: Path, task: str) -> Measured:
    """Measure all metrics of a task on 1,000 resamples."""

    def evaluate(truth: Truth, found: Detections) -> list[float]:
        weights = intervals.draw(len(truth.images))
        values = resampled(truth, found, NONE_ABOVE, [task], weights)
        return [float(np.nanstd(of)) for of in values[task].values()]

    return measure(lambda: read_files(folder, task), evaluate)


def read_files(folder: Path, task: str) -> tuple[Truth, Detections]:
    """Return truth and detections from their files."""
    truth = read_truth(folder / TRUTH)
    return truth, read_predictions(folder / f"{task}.json", truth, {})[0]


def repeat(truth: Truth, found: Detections, times: int) -> tuple[Truth, Detections]:
    """Return a truth and detections with every image so often."""
    number = len(truth.images)

    def again(image: NDArray[np.int32]) -> NDArray[np.int32]:
        return np.concatenate([image + np.int32(number * i) for i in range(times)])

    arrays = ("category", "areas", "is_crowd", "is_group_of")
    images = [one | {"id": i + 1} for i, one in enumerate(truth.images * times)]
    many = replace(
        truth,
        **{name: np.tile(getattr(truth, name), times) for name in arrays},
        images=images,
        records=truth.records * times,
        image=again(truth.image),
        boxes=np.tile(truth.boxes, (times, 1)),
        masks=join([truth.masks] * times),
        verified=None if truth.verified is None else np.tile(truth.verified, (times, 1)),
    )
    return many, replace(concatenate([found] * times), image=again(found.image))


def write_files(folder: Path, num_images: int, num_objects: int) -> None:
    """Write a COCO file, and results with boxes and with masks."""
    truth, found = make(num_images, num_objects)
    (folder / TRUTH).write_text(json.dumps(as_coco(truth)))
    for task in ("bbox", "segm"):
        with (folder / f"{task}.json").open("w") as file:
            rows = (json.dumps(row) for row in as_results(found, task))
            file.write("[" + next(rows))
            file.writelines(f",\n{row}" for row in rows)
            file.write("]")


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
    annotations = [
        {**one, "segmentation": as_text(truth.masks[i])} for i, one in enumerate(truth.records)
    ]
    return {"images": truth.images, "categories": truth.categories, "annotations": annotations}


def as_text(outline: dict[str, Any]) -> dict[str, Any]:
    """Return run lengths as JSON has them."""
    return outline | {"counts": outline["counts"].decode()}


def as_results(found: Detections, task: str) -> Any:
    """Yield detections as pycocotools takes them."""
    for i in range(len(found)):
        one = {
            "image_id": int(found.image[i]) + 1,
            "category_id": int(found.category[i]) + 1,
            "score": float(found.scores[i]),
        }
        shape = {"bbox": found.boxes[i].tolist()}
        yield one | (shape if task == "bbox" else {"segmentation": as_text(found.masks[i])})


if __name__ == "__main__":
    main()
