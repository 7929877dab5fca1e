import pickle

import numpy as np
import pytest
import torch

from oiv5_d2.training.data.parcels import pack, unpack

from detectron2.structures import Boxes, Instances  # isort: skip

TENSORS = [
    torch.arange(24, dtype=torch.uint8).view(2, 3, 4),
    torch.arange(24).view(4, 6).T,
    torch.tensor(3.5, dtype=torch.float64),
    torch.tensor([True, False, True]),
    torch.empty((0, 4)),
    torch.tensor([1.5, -2.0], dtype=torch.bfloat16),
]


@pytest.mark.parametrize("tensor", TENSORS, ids=lambda one: f"{one.dtype}-{tuple(one.shape)}")
def test_a_tensor_arrives_as_it_was(tensor):
    _, found, _ = unpack(pack(["x", tensor, 7]))
    assert found.dtype == tensor.dtype and torch.equal(found, tensor)


def test_a_step_is_one_piece_of_memory_and_small_content():
    instances = Instances((9, 8), gt_boxes=Boxes(torch.rand(5, 4)), gt_classes=torch.arange(5))
    sample = {"image": torch.rand(3, 100, 100), "instances": instances, "name": "a"}
    parcel = pack([sample, sample | {"area": np.arange(3)}])
    assert len(parcel.content) < 2000
    assert parcel.memory.dtype == torch.uint8
    first, second = unpack(pickle.loads(pickle.dumps(parcel)))
    assert torch.equal(first["image"], sample["image"]) and first["name"] == "a"
    assert torch.equal(second["instances"].gt_boxes.tensor, instances.gt_boxes.tensor)
    assert second["instances"].image_size == (9, 8) and second["area"].tolist() == [0, 1, 2]


def test_nothing_is_packed_as_nothing():
    assert unpack(pack([])) == []
