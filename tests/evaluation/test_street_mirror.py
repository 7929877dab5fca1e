"""The Open Images metric on real outlines: the organisers' evaluator gave the numbers below."""

import json
from pathlib import Path

import numpy as np
import pytest
from hydra import compose, initialize_config_dir
from judging import read

from oiv5_d2.conversion import masks
from oiv5_d2.conversion.convert import coco_path
from oiv5_d2.evaluation.hierarchy import read_above
from oiv5_d2.evaluation.open_images import evaluate
from oiv5_d2.jobs import ignore, unseen
from oiv5_d2.preparation.settings import read_request
from oiv5_d2.preparation.stages import locked
from oiv5_d2.preparation.steps import run_stages

pytestmark = pytest.mark.filterwarnings("ignore:__array__ implementation doesn't accept a copy")

CONFIGS = Path(__file__).parents[2] / "configs"
# By seed and task: AP50, and that of Person, Traffic light, Car, Traffic sign. The evaluator is the
# TensorFlow Object Detection API's, as in organisers.json.
EXPECTED = {
    (0, "segm"): [38.776149023884976, 15.710656701600517, 25.0, 14.393939393939393, 100.0],
    (0, "bbox"): [52.82388772977522, 54.16904106531831, 20.0, 37.12650985378258, 100.0],
    (1, "segm"): [
        34.73585781517315,
        16.324383641644975,
        14.285714285714285,
        8.333333333333332,
        100.0,
    ],
    (1, "bbox"): [54.94692817457818, 62.01498542558544, 18.0, 39.77272727272727, 100.0],
    (2, "segm"): [44.22931697931698, 18.58393458393458, 50.0, 8.333333333333332, 100.0],
    (2, "bbox"): [
        58.36456085218031,
        56.8807033017694,
        26.666666666666668,
        49.91087344028521,
        100.0,
    ],
}


@pytest.fixture
def prepare(street_mirror, tmp_path):
    """Makes the COCO file of a part."""
    return lambda part: prepare_street(street_mirror, part, tmp_path / "street")


def prepare_street(street_mirror, part, data_dir):
    where = ["data=folder", f"data.source={street_mirror}", f"data.dir={data_dir}"]
    with initialize_config_dir(str(CONFIGS), version_base="1.3"):
        words = [*where, "data.name=street", f"data.splits=[{part}]", "max_missing=0.5"]
        request = read_request(compose("prepare", ["workers=1", *words]))
    with locked(data_dir):
        run_stages(request, unseen, ignore)
    return json.loads(coco_path(data_dir, part).read_text())


def move_objects(truth, seed):
    """Each object and each ignored region up to three times, moved, some under another class."""
    rng = np.random.RandomState(seed)
    found = []
    for one in truth["annotations"]:
        mask = masks.decode(one["segmentation"])
        width, height = map(int, one["bbox"][2:])
        for _ in range(rng.randint(0, 4)):
            down, right = (rng.randint(-size // 5 - 1, size // 5 + 2) for size in (height, width))
            box = [v + int(rng.randint(-2, 3)) for v in one["bbox"]]
            category = int(rng.randint(1, 5)) if rng.rand() < 0.15 else one["category_id"]
            found.append(
                {
                    "image_id": one["image_id"],
                    "category_id": category,
                    "bbox": [*box[:2], *(max(1.0, side) for side in box[2:])],
                    "segmentation": masks.encode(np.roll(mask, (down, right), (0, 1))),
                }
            )
    scores = (rng.permutation(len(found)) + 1) / len(found)
    return [one | {"score": float(score)} for one, score in zip(found, scores, strict=True)]


def test_on_real_outlines_it_gives_the_organisers_numbers(prepare, tmp_path):
    street = prepare("validation")
    for (seed, task), expected in EXPECTED.items():
        truth, found = read(tmp_path / str(seed), street, move_objects(street, seed))
        metrics = evaluate(truth, found, task, read_above(truth, {}, None))
        np.testing.assert_allclose(list(metrics.values()), expected, rtol=0, atol=1e-9)


def test_false_detections_on_images_without_an_object_cost_precision(prepare, tmp_path):
    street = prepare("test")
    objects = [one for one in street["annotations"] if not one["iscrowd"]]
    shown = {one["image_id"] for one in objects}
    keys = ("image_id", "category_id", "bbox", "segmentation")
    found = [{key: one[key] for key in keys} | {"score": 0.5} for one in objects]
    false = [
        found[0] | {"image_id": image["id"], "category_id": category, "score": 0.9}
        | {"segmentation": masks.encode(np.ones((image["height"], image["width"]), dtype=bool))}
        for image in street["images"]
        for category in image["negative_category_ids"]
        if image["id"] not in shown
    ]  # fmt: skip
    assert sorted(one["category_id"] for one in false) == [1, 2]
    values = []
    for name, detections in (("true", found), ("false", [*found, *false])):
        truth, read_back = read(tmp_path / name, street, detections)
        values.append(evaluate(truth, read_back, "segm", read_above(truth, {}, None)))
    for number, name in enumerate(("Person", "Traffic light"), 1):
        num_true = sum(one["category_id"] == number for one in objects)
        before, after = (one[f"AP50-{name}"] for one in values)
        assert before == pytest.approx(100)
        assert after == pytest.approx(100 * num_true / (num_true + 1))
