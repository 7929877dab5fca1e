"""Small models and hand-made images whose annotation is known."""

import pytest
import torch
from hydra import compose, initialize_config_dir

from oiv5_d2.console.errors import CONFIG_DIR
from oiv5_d2.training.config import to_cfg

from detectron2.modeling import build_model  # isort: skip
from detectron2.structures import BitMasks, Boxes, Instances  # isort: skip

SIZE = (64, 96)  # height, width
SMALL = (
    "+experiment=quickstart",
    "logger=none",
    "d2.MODEL.RESNETS.DEPTH=50",
    "d2.MODEL.RESNETS.STEM_OUT_CHANNELS=4",
    "d2.MODEL.RESNETS.WIDTH_PER_GROUP=4",
    "d2.MODEL.RESNETS.RES2_OUT_CHANNELS=8",
    "d2.MODEL.FPN.OUT_CHANNELS=8",
    "d2.MODEL.ROI_BOX_HEAD.FC_DIM=16",
    "d2.MODEL.ROI_MASK_HEAD.CONV_DIM=8",
    "d2.MODEL.ROI_MASK_HEAD.NUM_CONV=1",
)


@pytest.fixture(scope="session")
def cfg_of():
    """Compose a small model's configuration with overrides."""

    def compose_cfg(*overrides):
        with initialize_config_dir(str(CONFIG_DIR), version_base="1.3"):
            return to_cfg(compose("train", [*SMALL, *overrides]), "x")

    return compose_cfg


@pytest.fixture
def model_of(cfg_of):
    """Build a small model whose weights depend on its architecture only."""

    def build(*overrides):
        torch.manual_seed(0)
        return build_model(cfg_of(*overrides))

    return build


@pytest.fixture
def sample():
    """An image as the mapper makes it: a masked Person, a boxed Car, and nothing left out."""
    pixels = torch.randint(0, 256, (3, *SIZE), generator=torch.Generator().manual_seed(0))
    boxes = torch.tensor([[4.0, 8.0, 24.0, 56.0], [40.0, 20.0, 88.0, 52.0]])
    return {
        "image": pixels.to(torch.uint8),
        "instances": objects(boxes, [0, 2], [True, False]),
        "regions": objects(torch.zeros(0, 4), [], []),
        "verified": torch.ones(4, dtype=torch.bool),
        "height": SIZE[0],
        "width": SIZE[1],
    }


def objects(boxes: torch.Tensor, classes: list[int], has_mask: list[bool]) -> Instances:
    masks = torch.zeros(len(boxes), *SIZE, dtype=torch.bool)
    for mask, (x0, y0, x1, y1) in zip(masks, boxes.int().tolist(), strict=True):
        mask[y0:y1, x0:x1] = True
    return Instances(
        SIZE,
        gt_boxes=Boxes(boxes),
        gt_classes=torch.tensor(classes, dtype=torch.int64),
        gt_masks=BitMasks(masks),
        gt_has_mask=torch.tensor(has_mask, dtype=torch.bool),
    )


@pytest.fixture
def make_objects():
    """Make instances of an image from boxes, classes, and which have a mask."""
    return objects
