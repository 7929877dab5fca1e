"""The whole model: what is left out has no gradient, everything else is Detectron2's."""

import pytest
import torch

from oiv5_d2.training import compat  # noqa: F401  first: it makes Detectron2 importable

from detectron2.structures import Boxes, Instances  # isort: skip
from detectron2.utils.events import EventStorage  # isort: skip
from oiv5_d2.modeling.known import KnowingInstances, Known  # isort: skip

NO_BOX_MASKS = "annotation.box_masks=0"
OFF = (
    "annotation=partial",
    "annotation.regions=background",
    "annotation.rpn_regions=false",
    "annotation.unverified=false",
)


def losses_of(model, *samples):
    torch.manual_seed(7)
    with EventStorage():
        return model(list(samples))


def test_a_checkpoint_is_a_stock_mask_rcnn_s(model_of):
    stock, ours = model_of(), model_of("annotation=partial")
    assert list(ours.state_dict()) == list(stock.state_dict())
    assert all(map(torch.equal, ours.state_dict().values(), stock.state_dict().values()))
    ours.load_state_dict(stock.state_dict())
    stock.load_state_dict(ours.state_dict())


def test_detections_are_a_stock_mask_rcnn_s(model_of, sample):
    found = [
        model.eval()([sample])[0]["instances"]
        for model in (model_of(), model_of("annotation=partial"))
    ]
    assert len(found[0]) > 0
    for name in ("scores", "pred_masks", "pred_classes"):
        assert torch.equal(*(one.get(name) for one in found))


def test_an_image_that_is_annotated_completely_has_stock_s_losses(model_of, sample):
    sample["instances"] = sample["instances"][:1]
    stock = losses_of(model_of(), sample)
    for words in (("annotation=partial",), OFF):
        ours = losses_of(model_of(*words), sample)
        assert ours.pop("loss_box_mask", torch.zeros(())).item() == 0
        assert {name: loss.item() for name, loss in ours.items()} == {
            name: loss.item() for name, loss in stock.items()
        }


def test_a_box_without_a_mask_trains_all_but_the_mask_head(model_of, sample):
    stock, ours = losses_of(model_of(), sample), losses_of(model_of("annotation=partial"), sample)
    for name in ("loss_rpn_cls", "loss_rpn_loc", "loss_cls", "loss_box_reg"):
        assert ours[name].item() == stock[name].item()
    assert ours["loss_mask"].item() != stock["loss_mask"].item()


def proposals_on(instances: Instances) -> Instances:
    found = Instances(instances.image_size, **instances.get_fields())
    found.proposal_boxes = instances.gt_boxes
    return found


def test_mask_loss_and_gradient_are_those_of_the_masked_objects_alone(model_of, sample):
    model = model_of("annotation=partial", NO_BOX_MASKS)
    found = []
    for instances in (sample["instances"], sample["instances"][:1]):
        generator = torch.Generator().manual_seed(1)
        features = {
            f"p{level}": torch.randn(1, 8, 64 >> level, 96 >> level, generator=generator)
            for level in (2, 3, 4, 5)
        }
        features["p2"].requires_grad_()
        with EventStorage():
            loss = model.roi_heads._forward_mask(features, [proposals_on(instances)])["loss_mask"]
        found.append((loss.item(), torch.autograd.grad(loss, features["p2"])[0]))
    assert found[0][0] == found[1][0]
    assert torch.equal(found[0][1], found[1][1])
    assert found[0][1].any()


def test_without_any_mask_there_is_a_mask_loss_of_zero(model_of, sample):
    sample["instances"].gt_has_mask[:] = False
    losses = losses_of(model_of("annotation=partial"), sample)
    assert losses["loss_mask"].item() == 0
    sum(losses.values()).backward()


@pytest.mark.parametrize("words", [(), ("annotation.rpn_background=0.0",)])
def test_anchors_in_a_region_get_no_objectness_gradient_and_all_others_stock_s(
    model_of, sample, make_objects, words
):
    region = make_objects(torch.tensor([[0.0, 0.0, 50.0, 64.0]]), [1], [False])
    verified = torch.ones(4, dtype=torch.bool)
    known = Known(region.gt_boxes, region.gt_classes, verified)
    image = KnowingInstances(sample["instances"], known)
    rpn = model_of("annotation=partial", *words).proposal_generator
    shapes = [torch.zeros(1, 8, 64 // s, 96 // s) for s in (4, 8, 16, 32, 64)]
    anchors = rpn.anchor_generator(shapes)
    torch.manual_seed(3)
    (ours,), _ = rpn.label_and_sample_anchors(anchors, [image])
    torch.manual_seed(3)
    (stock,), _ = super(type(rpn), rpn).label_and_sample_anchors(anchors, [image])
    boxes = Boxes.cat(anchors).tensor
    inside = (boxes[:, 2].clamp(max=50) - boxes[:, 0].clamp(0)).clamp(0) * (
        boxes[:, 3].clamp(max=64) - boxes[:, 1].clamp(0)
    ).clamp(0) >= 0.5 * Boxes(boxes).area()
    left_out = inside & (stock == 0)
    assert left_out.any()
    assert (ours[left_out] == -1).all()
    assert torch.equal(ours[~left_out], stock[~left_out])
    assert (stock[~inside] == 0).any()


def test_rpn_background_can_be_kept_away_from_images_with_an_unverified_class(model_of, sample):
    image = sample["instances"]
    nothing = Boxes(torch.zeros(0, 4)), torch.zeros(0, dtype=torch.int64)
    rpn = model_of("annotation=partial", "annotation.rpn_background=0.0").proposal_generator
    anchors = rpn.anchor_generator(
        [torch.zeros(1, 8, 64 // s, 96 // s) for s in (4, 8, 16, 32, 64)]
    )
    for verified, has_background in ((True, True), (False, False)):
        known = Known(*nothing, torch.tensor([True, verified, True, True]))
        (labels,), _ = rpn.label_and_sample_anchors(anchors, [KnowingInstances(image, known)])
        assert (labels == 1).any()
        assert (labels == 0).any() == has_background


def test_proposals_in_a_region_and_unverified_classes_reach_the_loss(
    model_of, sample, make_objects
):
    complete = losses_of(model_of("annotation=partial"), sample)
    sample["regions"] = make_objects(torch.tensor([[0.0, 0.0, 96.0, 64.0]]), [1], [False])
    covered = losses_of(model_of("annotation=partial", "annotation.regions=any"), sample)
    assert covered["loss_cls"] < complete["loss_cls"]  # only the objects' terms are left
    assert covered["loss_box_reg"].item() == complete["loss_box_reg"].item()
    assert covered["loss_mask"].item() == complete["loss_mask"].item()
    of_class = losses_of(model_of("annotation=partial"), sample)
    assert covered["loss_cls"] < of_class["loss_cls"] < complete["loss_cls"]


def test_sigmoid_changes_the_classification_only(model_of, sample):
    softmax = losses_of(model_of("annotation=partial"), sample)
    sigmoid = losses_of(model_of("annotation=partial", "annotation.loss=sigmoid"), sample)
    changed = {name for name in softmax if softmax[name].item() != sigmoid[name].item()}
    assert changed == {"loss_cls"}


def test_box_masks_train_the_mask_head_on_objects_without_a_mask(model_of, sample):
    model = model_of("annotation=partial")
    losses = losses_of(model, sample)
    plain = losses_of(model_of("annotation=partial", NO_BOX_MASKS), sample)
    assert losses.keys() == {*plain, "loss_box_mask"}
    assert all(losses[name].item() == plain[name].item() for name in plain)
    head = model.roi_heads.mask_head.predictor.weight
    (gradient,) = torch.autograd.grad(losses["loss_box_mask"], head, retain_graph=True)
    assert gradient[2].any()  # of Car, which has no mask
    assert not gradient[[0, 1, 3]].any()
    sample["instances"].gt_has_mask[:] = True
    assert losses_of(model, sample)["loss_box_mask"].item() == 0


def test_the_colours_of_the_input_are_found_again(model_of, sample):
    model = model_of("annotation=partial")
    rgb = model.roi_heads.pixels.to_rgb(model.preprocess_image([sample]).tensor)
    torch.testing.assert_close(rgb[0].flip(0)[:, :64, :96], sample["image"].float())


@pytest.mark.parametrize("words", [(), (NO_BOX_MASKS,)])
def test_an_image_may_have_regions_only(model_of, sample, make_objects, words):
    nothing = {**sample, "instances": make_objects(torch.zeros(0, 4), [], [])}
    nothing["instances"].remove("gt_masks")
    nothing["regions"] = make_objects(torch.tensor([[0.0, 0.0, 50.0, 64.0]]), [1], [False])
    losses = losses_of(model_of("annotation=partial", *words), sample, nothing)
    assert all(loss.isfinite() for loss in losses.values())
    sum(losses.values()).backward()
