"""Every model of configs/model is built as Detectron2 would train it, without memory or weights."""

import pytest
import torch

from oiv5_d2.console.errors import CONFIG_DIR
from oiv5_d2.training.config import to_cfg

from detectron2.modeling import build_model  # isort: skip

MODELS = sorted(path.stem for path in (CONFIG_DIR / "model").glob("*.yaml"))


@pytest.fixture
def built(composed):
    def build(name):
        with torch.device("meta"):
            return build_model(to_cfg(composed(f"model={name}", "d2.MODEL.DEVICE=meta"), "x"))

    return build


@pytest.mark.parametrize("name", [name for name in MODELS if name != "mask_rcnn_fpn"])
def test_every_model_is_built_for_our_classes(built, name):
    shapes = {key: tuple(value.shape) for key, value in built(name).state_dict().items()}
    assert shapes["roi_heads.mask_head.predictor.bias"] == (4,)
    scores = {shape for key, shape in shapes.items() if key.endswith("cls_score.bias")}
    assert scores == {(5,)}


def test_the_resnext_has_32_groups_of_8(built):
    conv = built("mask_rcnn_x101_fpn").backbone.bottom_up.res2[0].conv2
    assert (conv.groups, conv.in_channels, conv.kernel_size) == (32, 256, (3, 3))


def test_the_cascade_refines_boxes_of_any_class_three_times(built):
    predictors = built("cascade_mask_rcnn_r50_fpn").roi_heads.box_predictor
    assert [predictor.bbox_pred.out_features for predictor in predictors] == [4, 4, 4]
