import contextlib
import io
import json
import math

import numpy as np
import pytest
from judging import random_case, read
from pycocotools.coco import COCO
from pycocotools.cocoeval import COCOeval

from oiv5_d2.evaluation.coco import evaluate
from oiv5_d2.runs.metrics import COCO as METRIC


def by_pycocotools(truth, found, task):
    """The same numbers by the reference."""
    truth, found = json.loads(json.dumps([truth, found]))
    if task == "segm":  # with boxes, it would take their areas
        found = [{k: v for k, v in one.items() if k != "bbox"} for one in found]
    with contextlib.redirect_stdout(io.StringIO()):
        objects, results = COCO(), COCO()
        objects.dataset = truth
        objects.createIndex()
        if found:
            results = objects.loadRes(found)
        else:
            results.dataset = truth | {"annotations": []}
            results.createIndex()
        evaluated = COCOeval(objects, results, task)
        evaluated.evaluate()
        evaluated.accumulate()
        evaluated.summarize()
    precision = evaluated.eval["precision"][..., 0, -1]
    metrics = {name: percent(evaluated.stats[i : i + 1]) for i, name in enumerate(METRIC.summary)}
    for index, category in enumerate(truth["categories"]):
        metrics[f"AP-{category['name']}"] = percent(precision[:, :, index])
        metrics[f"AP50-{category['name']}"] = percent(precision[0, :, index])
    return metrics


def percent(values):
    measured = values[values > -1]
    return float(measured.mean()) * 100 if measured.size else math.nan


def same(truth, found, task, tmp_path):
    metrics = evaluate(*read(tmp_path, truth, found), task)
    expected = by_pycocotools(truth, found, task)
    assert set(metrics) == set(expected)
    for name, value in expected.items():
        assert metrics[name] == pytest.approx(value, rel=0, abs=1e-9, nan_ok=True), name


@pytest.mark.parametrize("task", ["segm", "bbox"])
@pytest.mark.parametrize("seed", range(20))
def test_it_gives_the_numbers_of_pycocotools(seed, task, tmp_path):
    """With crowds, empty images, classes without any object."""
    truth, found = random_case(seed)
    for one, factor in zip(truth["annotations"], [1, 10, 100] * 20, strict=False):
        one["area"] *= factor  # objects of all sizes
    for one in found[::2]:
        one["bbox"] = [8 * side for side in one["bbox"]]  # whose area is another than the mask's
    same(truth, found, task, tmp_path)


@pytest.mark.parametrize("task", ["segm", "bbox"])
@pytest.mark.parametrize("seed", range(20, 30))
def test_ties_are_broken_as_pycocotools_does(seed, task, tmp_path):
    truth, found = random_case(seed)
    order = np.random.RandomState(seed).permutation(len(truth["images"]))
    truth["images"] = [truth["images"][i] for i in order]
    found = [one | {"score": round(one["score"], 1)} for one in found]
    same(truth, found, task, tmp_path)


@pytest.mark.parametrize("task", ["segm", "bbox"])
def test_nothing_found_is_zero(task, tmp_path):
    truth, _ = random_case(3)
    same(truth, [], task, tmp_path)
    metrics = evaluate(*read(tmp_path, truth, []), task)
    assert metrics["AP"] == 0


@pytest.mark.parametrize("task", ["segm", "bbox"])
def test_more_than_a_hundred_detections_of_an_image_are_cut(task, tmp_path):
    truth, found = random_case(5)
    found = [one | {"score": one["score"] / (1 + i)} for i in range(30) for one in found]
    same(truth, found, task, tmp_path)
