import pytest
import torch
from raising import refused

from oiv5_d2.problems import Kind
from oiv5_d2.training import compat  # noqa: F401  before Detectron2, which it makes importable

from detectron2.layers import ShapeSpec  # isort: skip
from detectron2.modeling.box_regression import Box2BoxTransform  # isort: skip
from detectron2.modeling.roi_heads.fast_rcnn import FastRCNNOutputLayers  # isort: skip
from detectron2.structures import Boxes, Instances  # isort: skip
from detectron2.utils.events import EventStorage  # isort: skip

from oiv5_d2.modeling.class_weights import balanced, read_class_weights, weigh_classes  # isort: skip

COUNTS = {"Person": 1000, "Car": 100, "Bus": 0}


def layers_of(loss_weight=1.0):
    torch.manual_seed(0)
    transform = Box2BoxTransform((1.0, 1.0, 1.0, 1.0))
    return FastRCNNOutputLayers(
        ShapeSpec(channels=4), box2box_transform=transform, num_classes=3, loss_weight=loss_weight
    )


def losses_of(layers, classes=(0, 1, 3, 2, 0)):
    boxes = torch.tensor([[0.0, 0.0, 8.0, 8.0]]).repeat(len(classes), 1)
    proposals = Instances((10, 10))
    proposals.proposal_boxes, proposals.gt_boxes = Boxes(boxes), Boxes(boxes + 1)
    proposals.gt_classes = torch.tensor(classes, dtype=torch.int64)
    torch.manual_seed(1)
    scores = torch.rand(len(classes), 4, requires_grad=True)
    with EventStorage():
        found = layers.losses((scores, torch.rand(len(classes), 12)), [proposals])
    found["loss_cls"].backward()
    return found, scores


def test_weights_of_one_give_detectron2s_loss():
    stock, _ = losses_of(layers_of(2.0))
    layers = layers_of(2.0)
    before = list(layers.state_dict())
    weigh_classes(torch.nn.Sequential(layers), (1.0, 1.0, 1.0))
    found, _ = losses_of(layers)
    assert found.keys() == stock.keys() and list(layers.state_dict()) == before
    for name, value in stock.items():
        torch.testing.assert_close(found[name], value)


def test_a_proposal_s_gradient_is_scaled_by_the_weight_of_its_class():
    _, stock = losses_of(layers_of())
    layers = layers_of()
    weigh_classes(layers, (2.0, 5.0, 0.5))
    _, weighed = losses_of(layers)
    scale = torch.tensor([2.0, 5.0, 1.0, 0.5, 2.0])[:, None]  # the third is background
    torch.testing.assert_close(weighed.grad, scale * stock.grad)


def test_without_proposals_the_loss_is_zero():
    layers = layers_of()
    weigh_classes(layers, (2.0, 5.0, 0.5))
    found, _ = losses_of(layers, classes=())
    assert found["loss_cls"] == 0


def test_balanced_weights_have_a_mean_of_one_and_grow_with_rarity():
    weights = balanced([1000, 100, 1], beta=0.9)
    assert sum(weights) == pytest.approx(3)
    # (1 - 0.9) / (1 - 0.9**1) = 1 for one object, and a tenth of that for very many.
    assert weights[2] / weights[0] == pytest.approx(10, rel=1e-6)
    assert balanced([7, 1000], beta=0.0) == (1.0, 1.0)
    assert balanced([10, 20], beta=1 - 1e-9) == pytest.approx((4 / 3, 2 / 3), rel=1e-4)


def test_weights_are_read_in_class_order():
    assert read_class_weights(None, COUNTS) == ()
    assert read_class_weights({"Bus": 3, "Person": 0.5}, COUNTS) == (0.5, 1.0, 3.0)
    person, car, bus = read_class_weights("balanced", COUNTS)
    assert person < car < bus


@pytest.mark.parametrize("choice", ["balance", {"Truck": 1.0}, {"Car": 0.0}])
def test_other_weights_are_refused(choice):
    with refused(Kind.SETTING, about="trainer.class_weights"):
        read_class_weights(choice, COUNTS)
