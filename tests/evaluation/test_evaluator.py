import csv
import json
import math
import subprocess
import sys

import numpy as np
import pytest
import torch
from pycocotools import mask as run_lengths

from oiv5_d2.evaluation.evaluator import evaluate
from oiv5_d2.runs.results import read_results

from detectron2.structures import Boxes, Instances  # isort: skip

# pycocotools hands NumPy an array type of before NumPy 2; only a warning, and not ours to fix.
pytestmark = pytest.mark.filterwarnings("ignore:__array__ implementation doesn't accept a copy")


class Oracle:
    """Answers with the truth, moved to the right by some pixels, without the regions to ignore."""

    def __init__(self, content, shift=0, known=None):
        self.content, self.shift, self.known = content, shift, known

    def __call__(self, inputs):
        return [{"instances": self.find(image)} for image in inputs]

    def find(self, image):
        objects = [
            one
            for one in self.content["annotations"]
            if one["image_id"] == image["image_id"]
            and not one["iscrowd"]
            and (self.known is None or one["category_id"] in self.known)
        ]
        found = Instances((image["height"], image["width"]))
        boxes = torch.tensor([o["bbox"] for o in objects]).reshape(-1, 4)
        boxes[:, 2:] += boxes[:, :2]
        boxes[:, 0::2] += self.shift
        masks = [np.roll(run_lengths.decode(o["segmentation"]), self.shift, 1) for o in objects]
        found.pred_boxes = Boxes(boxes)
        found.scores = torch.full((len(objects),), 0.9)
        found.pred_classes = torch.tensor([o["category_id"] - 1 for o in objects], dtype=torch.long)
        size = (len(objects), image["height"], image["width"])
        found.pred_masks = torch.tensor(np.array(masks, dtype=bool).reshape(size))
        return found


def test_the_truth_itself_scores_a_hundred(street, cfg, tmp_path):
    results = evaluate(cfg, Oracle(street.content), street.name, tmp_path / "out")
    for task in ("bbox", "segm"):
        assert results[task]["AP"] == pytest.approx(100)
        assert results[task]["AP-Person"] == pytest.approx(100)
        assert results[task]["AP50-Car"] == pytest.approx(100)


def test_a_shift_costs_precision_at_high_overlap_first(street, cfg):
    results = evaluate(cfg, Oracle(street.content, shift=4), street.name, None)
    for task in ("bbox", "segm"):
        assert 0 < results[task]["AP"] < 100
        assert results[task]["AP50"] == pytest.approx(100)
        assert results[task]["AP-Person"] < results[task]["AP-Car"]  # the narrower object


def test_per_class_values_average_to_the_mean_over_the_classes_present(street, cfg):
    results = evaluate(cfg, Oracle(street.content, shift=4), street.name, None)["segm"]
    for metric in ("AP", "AP50"):
        per_class = [results[f"{metric}-{name}"] for name in ("Person", "Car")]
        assert results[metric] == pytest.approx(sum(per_class) / 2)


def test_an_absent_class_is_null_with_a_note_and_never_counted_as_zero(street, cfg, tmp_path):
    results = evaluate(cfg, Oracle(street.content), street.name, tmp_path)
    assert math.isnan(results["segm"]["AP-Traffic light"])
    content = json.loads((tmp_path / "results.json").read_text())
    assert content["coco"]["segm"]["AP-Traffic light"] is None
    assert content["coco"]["segm"]["AP"] == pytest.approx(100)
    assert content["num_instances"] == {"Person": 1, "Car": 2, "Traffic light": 0}
    assert len(content["notes"]) == 1
    assert content["notes"][0].startswith("Traffic light: no object to find in street")


def test_a_model_that_finds_nothing_scores_zero_in_every_class_present(street, cfg, tmp_path):
    results = evaluate(cfg, Oracle(street.content, known=()), street.name, tmp_path)
    for task in ("bbox", "segm"):
        assert results[task]["AP"] == results[task]["AP50-Person"] == results[task]["AP-Car"] == 0
        assert math.isnan(results[task]["AP-Traffic light"])
    assert json.loads((tmp_path / "coco_instances_results.json").read_text()) == []
    with (tmp_path / "label_errors.csv").open() as file:
        assert {row["reason"] for row in csv.DictReader(file)} == {"annotated but never found"}


def test_a_class_that_is_never_found_scores_zero(street, cfg):
    results = evaluate(cfg, Oracle(street.content, known=(2,)), street.name, None)
    assert results["segm"]["AP-Person"] == 0
    assert results["segm"]["AP"] == pytest.approx(50)


def test_the_detections_file_speaks_in_the_category_ids_of_the_truth(street, cfg, tmp_path):
    evaluate(cfg, Oracle(street.content), street.name, tmp_path)
    found = json.loads((tmp_path / "coco_instances_results.json").read_text())
    truth = [one for one in street.content["annotations"] if not one["iscrowd"]]
    assert [f["category_id"] for f in found] == [t["category_id"] for t in truth]
    assert [f["segmentation"] for f in found] == [t["segmentation"] for t in truth]
    assert set(found[0]) == {"image_id", "category_id", "bbox", "score", "segmentation"}


def test_results_survive_their_file(street, cfg, tmp_path):
    results = evaluate(cfg, Oracle(street.content, shift=3), street.name, tmp_path)
    again = read_results(tmp_path / "results.json")
    assert again.dataset == "street" and again.num_images == 2
    for task, metrics in results.items():
        np.testing.assert_equal(again.tasks[task], metrics)  # NaN equals NaN here


def test_a_box_model_is_evaluated_on_boxes_alone(street, cfg):
    cfg.MODEL.MASK_ON = False
    results = evaluate(cfg, Oracle(street.content), street.name, None)
    assert set(results) == {"bbox", "open_images/bbox"}


def test_the_open_images_metric_stands_beside_cocos(street, cfg, tmp_path):
    results = evaluate(cfg, Oracle(street.content, shift=4), street.name, tmp_path)
    assert results["open_images/segm"]["AP50"] == pytest.approx(100)
    content = json.loads((tmp_path / "results.json").read_text())
    assert content["open_images"]["segm"]["AP50-Car"] == pytest.approx(100)
    assert content["coco"]["protocol"] and content["open_images"]["deviations"]


GATHERING = """
import sys
import numpy as np
import torch.distributed
from oiv5_d2.evaluation import evaluator
from oiv5_d2.evaluation.detections import Collector, concatenate

rank, address = int(sys.argv[1]), sys.argv[2]
torch.distributed.init_process_group("gloo", init_method=address, rank=rank, world_size=2)
evaluator.PIECE, own = 3, Collector()
for number in range((7, 4)[rank]):
    own.append((number, rank), 0.5, [0, 0, 1, 1], (9, 9), b"%d" % (10 * rank + number))
parts = list(evaluator.gather(own.finish()))
if rank == 0:
    found = concatenate(parts)
    counts = [one["counts"].decode() for one in found.masks.outlines(np.arange(len(found)))]
    print(found.category.tolist(), found.image.tolist(), counts, [len(one) for one in parts])
assert rank == 0 or not parts
"""


@pytest.mark.slow
def test_the_main_process_gets_the_detections_of_all_in_their_order(tmp_path):
    command = [sys.executable, "-c", GATHERING]
    words = [[str(rank), f"file://{tmp_path / 'meeting'}"] for rank in (1, 0)]
    other = subprocess.Popen([*command, *words[0]])
    main = subprocess.run([*command, *words[1]], capture_output=True, text=True, timeout=300)
    assert other.wait(timeout=60) == 0, main.stderr
    numbers = [str(number) for number in (*range(7), *range(10, 14))]
    expected = [[0] * 7 + [1] * 4, [*range(7), *range(4)], numbers, [3, 3, 1, 3, 1]]
    assert main.stdout.split("\n")[0] == " ".join(map(str, expected)), main.stderr
