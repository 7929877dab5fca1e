"""Objects made by hand, and the settings that a rule starts from."""

import numpy as np
import pytest

from oiv5_d2.recipe.objects import Objects

CLASSES = ("Person", "Car")


@pytest.fixture
def objects():
    """Return a function that makes objects of square images, one box in each."""

    def make(boxes, class_of=None, size=(480, 640)):
        boxes = np.asarray(boxes, float)
        index = np.arange(len(boxes))
        classes = np.zeros(len(boxes), int) if class_of is None else np.asarray(class_of)
        return Objects(
            CLASSES, np.tile(np.array(size, float), (len(boxes), 1)), boxes, index, classes
        )

    return make


@pytest.fixture
def settings():
    return {
        "trainer.data_share": 1.0,
        "trainer.epochs": 0,
        "trainer.reference_batch": 0,
        "d2.INPUT.MIN_SIZE_TRAIN": [640, 800],
        "d2.INPUT.MIN_SIZE_TEST": 800,
        "d2.INPUT.MAX_SIZE_TRAIN": 1333,
        "d2.INPUT.MAX_SIZE_TEST": 1333,
        "d2.DATALOADER.SAMPLER_TRAIN": "TrainingSampler",
        "d2.DATALOADER.REPEAT_THRESHOLD": 0.0,
        "d2.SOLVER.IMS_PER_BATCH": 8,
        "d2.MODEL.WEIGHTS": "",
        "d2.MODEL.RPN.IN_FEATURES": ["p2", "p3"],
        "d2.MODEL.ANCHOR_GENERATOR.SIZES": [[32], [64]],
        "d2.MODEL.ANCHOR_GENERATOR.ASPECT_RATIOS": [[0.5, 1.0, 2.0]],
    }
