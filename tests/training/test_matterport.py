import re

import pytest
import torch
from omegaconf import OmegaConf

from oiv5_d2.console.errors import CONFIG_DIR
from oiv5_d2.training.config import to_cfg

from detectron2.solver import build_lr_scheduler  # isort: skip

TABLE = CONFIG_DIR.parent / "docs" / "matterport.md"
SETTINGS = """
    BACKBONE BACKBONE_STRIDES BATCH_SIZE BBOX_STD_DEV COMPUTE_BACKBONE_SHAPE
    DETECTION_MAX_INSTANCES DETECTION_MIN_CONFIDENCE DETECTION_NMS_THRESHOLD
    FPN_CLASSIF_FC_LAYERS_SIZE GPU_COUNT GRADIENT_CLIP_NORM IMAGES_PER_GPU IMAGE_CHANNEL_COUNT
    IMAGE_MAX_DIM IMAGE_META_SIZE IMAGE_MIN_DIM IMAGE_MIN_SCALE IMAGE_RESIZE_MODE IMAGE_SHAPE
    LEARNING_MOMENTUM LEARNING_RATE LOSS_WEIGHTS MASK_POOL_SIZE MASK_SHAPE MAX_GT_INSTANCES
    MEAN_PIXEL MINI_MASK_SHAPE NAME NUM_CLASSES POOL_SIZE POST_NMS_ROIS_INFERENCE
    POST_NMS_ROIS_TRAINING PRE_NMS_LIMIT ROI_POSITIVE_RATIO RPN_ANCHOR_RATIOS RPN_ANCHOR_SCALES
    RPN_ANCHOR_STRIDE RPN_BBOX_STD_DEV RPN_NMS_THRESHOLD RPN_TRAIN_ANCHORS_PER_IMAGE
    STEPS_PER_EPOCH TOP_DOWN_PYRAMID_SIZE TRAIN_BN TRAIN_ROIS_PER_IMAGE USE_MINI_MASK USE_RPN_ROIS
    VALIDATION_STEPS WEIGHT_DECAY save_best_only
""".split()


@pytest.fixture(scope="module")
def run(composed):
    return composed("+experiment=matterport_traffic")


def rows():
    cells = [line.split("|") for line in TABLE.read_text().splitlines() if line.startswith("| `")]
    return [(re.findall(r"`(\w+)`", one[1])[0], one[3], one[4].strip()) for one in cells]


def test_each_of_matterport_s_settings_has_a_row():
    assert {name for name, _, _ in rows()} == set(SETTINGS)


def test_what_has_no_twin_says_why():
    assert all(ours.strip() or remark for _, ours, remark in rows())


@pytest.mark.parametrize("word", [w for _, ours, _ in rows() for w in re.findall(r"`(.+?)`", ours)])
def test_the_table_has_what_the_experiment_composes(run, word):
    key, _, value = word.partition("=")
    if key == "augment":
        assert list(run.augment) == [value]
    else:
        found = OmegaConf.select(run, key)
        assert found is not None
        assert not value or found == OmegaConf.from_dotlist([f"value={value}"]).value


def test_the_rate_is_constant(run):
    cfg = to_cfg(run, "x")
    optimizer = torch.optim.SGD([torch.zeros(1, requires_grad=True)], lr=cfg.SOLVER.BASE_LR)
    scheduler = build_lr_scheduler(cfg, optimizer)
    rates = []
    for _ in range(5):
        rates.append(optimizer.param_groups[0]["lr"])
        optimizer.step()
        scheduler.step()
    assert rates == [0.001] * 5
