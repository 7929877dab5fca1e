import logging

import numpy as np
import pytest
import torch

from oiv5_d2.training.config import to_cfg
from oiv5_d2.training.heads import COCO_CLASSES, SYNONYMS, same_classes
from oiv5_d2.training.weights import load_pretrained

from detectron2.data import detection_utils  # isort: skip
from detectron2.modeling import build_model  # isort: skip
from detectron2.structures import Boxes, Instances  # isort: skip

OURS = ("Person", "Traffic light", "Car", "Traffic sign")
IN_COCO = {"Person": 0, "Traffic light": 9, "Car": 2, "Traffic sign": 11}
HEAD = (
    "roi_heads.box_predictor.cls_score",
    "roi_heads.box_predictor.bbox_pred",
    "roi_heads.mask_head.predictor",
)
TINY = (
    "d2.MODEL.DEVICE=cpu",
    "d2.MODEL.FPN.OUT_CHANNELS=16",
    "d2.MODEL.ROI_BOX_HEAD.FC_DIM=32",
    "d2.MODEL.ROI_MASK_HEAD.CONV_DIM=8",
)


@pytest.fixture
def model_of(composed):
    def build(classes, *overrides):
        run = composed(*TINY, *overrides)
        run.data.classes = list(classes)
        torch.manual_seed(0)
        return build_model(to_cfg(run, "x"))

    return build


def save(model, path, **entries):
    torch.save({"model": model.state_dict(), **entries}, path)
    return str(path)


def rows_of(model, layer, index, per_class):
    state = model.state_dict()
    block = slice(per_class * index, per_class * (index + 1))
    return state[f"{layer}.weight"][block], state[f"{layer}.bias"][block]


def test_classes_are_found_by_name_case_and_synonym():
    assert same_classes(OURS, COCO_CLASSES) == dict(enumerate(IN_COCO.values()))
    assert same_classes(["Bus", "Tree"], COCO_CLASSES) == {0: COCO_CLASSES.index("bus")}
    assert same_classes(["car"], ["Van", "CAR"]) == {0: 1}
    assert same_classes(["Traffic sign"], ["stop sign", "traffic sign"]) == {0: 1}


def test_every_synonym_is_a_class_of_coco():
    assert len(COCO_CLASSES) == 80
    assert set(SYNONYMS.values()) <= set(COCO_CLASSES)
    assert not set(SYNONYMS) & set(COCO_CLASSES)


def test_the_rows_of_a_coco_head_are_carried_over(model_of, tmp_path, caplog):
    coco, ours = model_of(COCO_CLASSES), model_of((*OURS, "Tree"))
    before = {key: value.clone() for key, value in ours.state_dict().items()}
    path = save(coco, tmp_path / "coco.pth")
    with caplog.at_level(logging.INFO):
        assert load_pretrained(ours, path, (*OURS, "Tree")) == []
    for layer, per_class in zip(HEAD, (1, 4, 1), strict=True):
        for index, source in enumerate(IN_COCO.values()):
            carried = rows_of(ours, layer, index, per_class)
            assert all(map(torch.equal, carried, rows_of(coco, layer, source, per_class)))
        tree = slice(4 * per_class, 5 * per_class)
        key = f"{layer}.weight"
        assert torch.equal(ours.state_dict()[key][tree], before[key][tree])
    background = [model.state_dict()[f"{HEAD[0]}.weight"][-1] for model in (ours, coco)]
    assert torch.equal(*background)
    (line,) = [record.getMessage() for record in caplog.records if "Tree" in record.getMessage()]
    pairs = ("Person from person", "Traffic light from traffic light", "Car from car")
    assert all(pair in line for pair in (*pairs, "Traffic sign from stop sign"))
    assert line.endswith("Tree")


def test_without_classes_the_head_starts_at_random(model_of, tmp_path):
    ours = model_of(OURS)
    before = ours.state_dict()[f"{HEAD[0]}.weight"].clone()
    fresh = load_pretrained(ours, save(model_of(COCO_CLASSES), tmp_path / "coco.pth"))
    assert {name.rsplit(".", 1)[0] for name in fresh} == set(HEAD)
    assert torch.equal(ours.state_dict()[f"{HEAD[0]}.weight"], before)


def test_a_checkpoint_s_own_classes_count_and_may_be_in_another_order(model_of, tmp_path):
    other = model_of(OURS[::-1])
    path = save(other, tmp_path / "other.pth", run={"classes": list(OURS[::-1])})
    ours = model_of(OURS)
    assert load_pretrained(ours, path, OURS) == []
    for layer, per_class in zip(HEAD, (1, 4, 1), strict=True):
        for index in range(4):
            carried = rows_of(ours, layer, index, per_class)
            assert all(map(torch.equal, carried, rows_of(other, layer, 3 - index, per_class)))


def test_the_same_classes_are_loaded_as_they_are(model_of, tmp_path):
    trained = model_of(OURS)
    for layer in HEAD:
        torch.nn.init.normal_(trained.get_parameter(f"{layer}.weight"))
    ours = model_of(OURS)
    path = save(trained, tmp_path / "ours.pth", run={"classes": list(OURS)})
    assert load_pretrained(ours, path, OURS) == []
    assert all(map(torch.equal, ours.state_dict().values(), trained.state_dict().values()))


def test_nothing_is_said_of_classes_that_are_not_known(model_of, tmp_path, caplog):
    path = save(model_of(OURS), tmp_path / "old.pth")
    with caplog.at_level(logging.INFO):
        assert load_pretrained(model_of(OURS), path, OURS) == []
    assert "Person" not in caplog.text


def test_nothing_is_carried_where_no_class_is_the_same(model_of, tmp_path):
    path = save(model_of(COCO_CLASSES), tmp_path / "coco.pth")
    fresh = load_pretrained(model_of(["Tree", "House"]), path, ["Tree", "House"])
    assert {name.rsplit(".", 1)[0] for name in fresh} == set(HEAD)


def test_all_heads_of_a_cascade_are_carried_over(model_of, tmp_path):
    overrides = (
        "d2.MODEL.ROI_HEADS.NAME=CascadeROIHeads",
        "d2.MODEL.ROI_BOX_HEAD.CLS_AGNOSTIC_BBOX_REG=true",
    )
    coco, ours = model_of(COCO_CLASSES, *overrides), model_of(OURS, *overrides)
    assert load_pretrained(ours, save(coco, tmp_path / "coco.pth"), OURS) == []
    for stage in range(3):
        layer = f"roi_heads.box_predictor.{stage}.cls_score"
        carried = rows_of(ours, layer, 3, 1)
        assert all(map(torch.equal, carried, rows_of(coco, layer, IN_COCO["Traffic sign"], 1)))
    boxes = "roi_heads.box_predictor.2.bbox_pred.weight"
    assert torch.equal(ours.state_dict()[boxes], coco.state_dict()[boxes])


class Blocks:
    """The images of `prepared_dir` with their true boxes as proposals, and Detectron2's metric."""

    def __init__(self, prepared_dir, name):
        from detectron2.data import DatasetCatalog
        from detectron2.data.datasets import register_coco_instances

        json_path = prepared_dir / "coco" / "validation.json"
        register_coco_instances(name, {}, str(json_path), str(prepared_dir / "images"))
        self.name = name
        self.inputs = [self.read(record) for record in DatasetCatalog.get(name)]

    def read(self, record):
        pixels = detection_utils.read_image(record["file_name"], "BGR")
        corners = np.array([one["bbox"] for one in record["annotations"]])
        corners[:, 2:] += corners[:, :2]
        proposals = Instances(pixels.shape[:2], proposal_boxes=Boxes(torch.tensor(corners).float()))
        proposals.objectness_logits = torch.zeros(len(corners))
        image = torch.as_tensor(np.ascontiguousarray(pixels.transpose(2, 0, 1)))
        classes = torch.tensor([one["category_id"] for one in record["annotations"]])
        return {**record, "image": image, "proposals": proposals, "classes": classes}

    @torch.no_grad()
    def box_features(self, model):
        """Return what the class scores are computed from, (N, D), and the true classes, (N,)."""
        boxes = [one["proposals"].to(model.device).proposal_boxes for one in self.inputs]
        features = model.backbone(model.preprocess_image(self.inputs).tensor)
        levels = [features[name] for name in model.roi_heads.box_in_features]
        pooled = model.roi_heads.box_head(model.roi_heads.box_pooler(levels, boxes))
        return pooled, torch.cat([one["classes"] for one in self.inputs])

    @torch.no_grad()
    def ap(self, model, output_dir):
        from detectron2.evaluation import COCOEvaluator

        evaluator = COCOEvaluator(
            self.name, ("bbox", "segm"), False, str(output_dir), use_fast_impl=False
        )
        evaluator.reset()
        for one in self.inputs:
            evaluator.process([one], model.eval()([one]))
        return {task: values.get("AP", 0.0) for task, values in evaluator.evaluate().items()}


@torch.no_grad()
def teach(model, blocks):
    """Set a COCO head to what these features need: a linear fit of its scores, whole boxes."""
    features, classes = blocks.box_features(model)
    predictor = model.roi_heads.box_predictor
    wanted = torch.full((len(classes), len(COCO_CLASSES) + 1), -9.0)
    wanted[torch.arange(len(classes)), torch.tensor(list(IN_COCO.values()))[classes]] = 9.0
    with_bias = torch.cat([features, torch.ones(len(features), 1)], dim=1)
    solution = torch.linalg.pinv(with_bias) @ wanted
    predictor.cls_score.weight.copy_(solution[:-1].T)
    predictor.cls_score.bias.copy_(solution[-1])
    predictor.bbox_pred.weight.zero_()
    model.roi_heads.mask_head.predictor.weight.zero_()
    model.roi_heads.mask_head.predictor.bias.fill_(5.0)


# Detectron2 v0.6 says so of a data set without any detection.
@pytest.mark.filterwarnings("ignore:The 'warn' method is deprecated:DeprecationWarning")
@pytest.mark.usefixtures("clean_catalog")
def test_carried_rows_detect_before_the_first_step_and_random_ones_do_not(
    model_of, prepared_dir, tmp_path
):
    given = "d2.MODEL.PROPOSAL_GENERATOR.NAME=PrecomputedProposals"
    sure = "d2.MODEL.ROI_HEADS.SCORE_THRESH_TEST=0.5"
    blocks = Blocks(prepared_dir, "carried_blocks")
    coco = model_of(COCO_CLASSES, given, sure).eval()
    teach(coco, blocks)
    path = save(coco, tmp_path / "coco.pth")
    carried, random = model_of(OURS, given, sure), model_of(OURS, given, sure)
    load_pretrained(carried, path, OURS)
    load_pretrained(random, path)
    found = blocks.ap(carried, tmp_path)
    assert found["bbox"] > 50 and found["segm"] > 50
    assert not any(value > 0 for value in blocks.ap(random, tmp_path).values())
