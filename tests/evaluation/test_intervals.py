import math

import numpy as np
import pytest
from judging import random_case, read

from oiv5_d2.evaluation import coco, open_images
from oiv5_d2.evaluation.hierarchy import read_above
from oiv5_d2.evaluation.intervals import draw, everything, interval, to_intervals
from oiv5_d2.evaluation.rankings import RECALLS, Ranking, average_precision
from oiv5_d2.evaluation.scoring import resampled


@pytest.fixture(params=[1, 5])
def case(request, tmp_path):
    """A case with objects of all sizes, and more than a hundred detections of an image."""
    truth, found = random_case(request.param)
    for one, factor in zip(truth["annotations"], [1, 10, 100] * 20, strict=False):
        one["area"] *= factor
    many = [one | {"score": one["score"] / (1.01 + i)} for i in range(15) for one in found]
    return truth, many, read(tmp_path, truth, many)


def assert_equal(values, metrics):
    assert list(values) == list(metrics)
    for name, value in metrics.items():
        assert values[name][0] == pytest.approx(value, abs=1e-9, nan_ok=True), name


@pytest.mark.parametrize("task", ["segm", "bbox"])
def test_with_every_image_once_the_numbers_are_the_metrics_own(case, task):
    _, _, (truth, found) = case
    above, weights = read_above(truth, {}, None), everything(len(truth.images))
    for metric in (coco, open_images):
        values = metric.resampled(truth, found, task, above, weights)
        assert_equal(values, metric.evaluate(truth, found, task, above))


def test_an_image_that_was_drawn_twice_counts_as_two_images(case, tmp_path):
    """The numbers of a resample are those of a file that has its images as often."""
    content, detections, (truth, found) = case
    weights = draw(len(truth.images), times=3)
    values = resampled(truth, found, read_above(truth, {}, None), ["segm"], weights)
    for b, row in enumerate(weights):
        copied, again = repeat_images(content, detections, row)
        one, other = read(tmp_path / str(b), copied, again)
        expected = coco.evaluate(one, other, "segm")
        for name, value in expected.items():
            assert values["segm"][name][b] == pytest.approx(value, abs=1e-4, nan_ok=True), name


def repeat_images(content, detections, times):
    images, objects, found = [], [], []
    for image, number in zip(content["images"], times, strict=True):
        for _ in range(number):
            id_ = len(images) + 1
            images.append(
                image | {"id": id_, "open_images_id": str(id_), "file_name": f"{id_}.jpg"}
            )
            for source, target in ((content["annotations"], objects), (detections, found)):
                own = [one for one in source if one["image_id"] == image["id"]]
                target += [one | {"image_id": id_} for one in own]
    objects = [one | {"id": i} for i, one in enumerate(objects, 1)]
    return content | {"images": images, "annotations": objects}, found


def test_the_same_seed_draws_the_same_and_each_draw_has_as_many_images():
    np.testing.assert_array_equal(draw(20, 5, seed=3), draw(20, 5, seed=3))
    assert (draw(20, 5).sum(axis=1) == 20).all()
    assert (draw(20, 5, seed=1) != draw(20, 5, seed=2)).any()


def test_an_interval_holds_the_middle_of_the_values():
    assert interval(np.arange(1001.0)) == (25.0, 975.0)
    assert interval(np.array([math.nan, 4.0, 4.0])) == (4.0, 4.0)
    assert math.isnan(interval(np.array([math.nan]))[0])


def test_every_number_has_an_interval_around_it(case):
    _, _, (truth, found) = case
    above = read_above(truth, {}, None)
    values = resampled(truth, found, above, ["segm", "bbox"], draw(len(truth.images), 200))
    spans = to_intervals(values)
    assert set(spans) == {"segm", "bbox", "open_images/segm", "open_images/bbox"}
    metrics = open_images.evaluate(truth, found, "segm", above)
    for name, (low, high) in spans["open_images/segm"].items():
        if not math.isnan(metrics[name]):
            assert 0 <= low <= high <= 100 + 1e-4


def simulate(rng, num_images):
    """Objects of images that are harder or easier as a whole, and a false detection an image."""
    number, hardness = rng.integers(0, 5, num_images), rng.normal(0, 0.8, num_images)
    image = np.repeat(np.arange(num_images), number)
    found = image[rng.random(len(image)) < 1 / (1 + np.exp(hardness[image] - 1.2))]
    false = np.repeat(np.arange(num_images), rng.poisson(1.0, num_images))
    scores = np.r_[rng.normal(1 - hardness[found] / 2, 1), rng.normal(-0.8, 1, len(false))]
    order = np.argsort(-scores)
    special = np.flatnonzero(order < len(found))
    status = np.ones((len(special), 1), dtype=np.int8)
    images = np.r_[found, false][order].astype(np.int32)
    return Ranking(scores[order], images, special, status, number)


def test_95_of_100_intervals_hold_the_answer():
    """Of 200 samples of a population: 95 %, give or take three standard errors of that share."""
    rng = np.random.default_rng(1)
    answer = average_precision(simulate(rng, 40_000), everything(40_000), RECALLS)[0, 0]
    num_held = 0
    for seed in range(200):
        weights = draw(200, times=200, seed=seed)
        low, high = interval(average_precision(simulate(rng, 200), weights, RECALLS)[0])
        num_held += low <= answer <= high
    assert num_held / 200 == pytest.approx(0.95, abs=3 * (0.95 * 0.05 / 200) ** 0.5)
