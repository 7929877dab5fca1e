import numpy as np
import pytest

from oiv5_d2.recipe import rules, tables
from oiv5_d2.recipe.rules import Ingredients, follow


@pytest.fixture
def advised(objects, settings):
    """Follow the recipe for boxes; return what it advises by key, and the settings after it."""

    def run(boxes=((8, 8, 40, 40),) * 8, class_of=None, explicit=(), size=(480, 640), **more):
        given = Ingredients(objects(boxes, class_of, size), batch=16, rate=0.02)
        found, after = follow(given, {**settings, **more}, lambda key: key in explicit)
        return {advice.key: advice.value for advice in found}, after

    return run


def test_image_sizes_are_the_images_own_up_to_the_zoo_s(advised):
    found, _ = advised(size=(480, 640))
    assert found["d2.INPUT.MIN_SIZE_TEST"] == 480 and found["d2.INPUT.MAX_SIZE_TEST"] == 640
    assert found["d2.INPUT.MIN_SIZE_TRAIN"] == [384, 403, 422, 442, 461, 480]
    found, _ = advised(size=(3000, 2000))
    assert found["d2.INPUT.MIN_SIZE_TEST"] == 800
    assert found["d2.INPUT.MIN_SIZE_TRAIN"] == [640, 672, 704, 736, 768, 800]


def test_fewer_images_are_seen_more_often(advised, objects, settings):
    def epochs(num):
        given = Ingredients(objects(np.ones((num, 4))), 16, 0.02)
        return next(rules.length(given, settings)).value

    assert epochs(100) == rules.MOST_EPOCHS
    assert epochs(rules.ZOO_IMAGES // 4) == 2 * rules.ZOO_EPOCHS
    assert epochs(2 * rules.ZOO_IMAGES) == rules.ZOO_EPOCHS


def test_the_sampler_is_the_audit_s(advised):
    found, _ = advised()
    assert found["d2.DATALOADER.SAMPLER_TRAIN"] == "TrainingSampler"
    found, _ = advised(boxes=[(8, 8, 40, 40)] * 100, class_of=[0] * 97 + [1] * 3)
    assert found["d2.DATALOADER.SAMPLER_TRAIN"] == "RepeatFactorTrainingSampler"
    assert 0 < found["d2.DATALOADER.REPEAT_THRESHOLD"] <= 1


def test_the_rate_is_that_of_the_solver_s_batch(advised):
    found, after = advised()
    assert found["trainer.reference_batch"] == after["trainer.reference_batch"] == 16


def test_anchors_change_only_where_others_fit_clearly_better(advised):
    own = [[32], [64]]
    boxes = [(20 * i, 20 * i, 9, 27) for i in range(1, 20)]
    found, after = advised(boxes)
    assert after["d2.MODEL.ANCHOR_GENERATOR.SIZES"] != own
    assert len(found["d2.MODEL.ANCHOR_GENERATOR.ASPECT_RATIOS"][0]) == 3
    fitting = [(20 * i - 16, 20 * i - 16, 32, 32) for i in range(2, 20)]  # on the grid
    keys = {"d2.INPUT.MIN_SIZE_TRAIN", "d2.INPUT.MAX_SIZE_TRAIN"}
    _, after = advised(fitting, size=(720, 1000), explicit=keys)  # the middle training size
    assert after["d2.MODEL.ANCHOR_GENERATOR.SIZES"] == own


def test_a_model_without_a_pyramid_keeps_its_anchors(advised):
    found, _ = advised(**{"d2.MODEL.RPN.IN_FEATURES": ["res4"]})
    assert "d2.MODEL.ANCHOR_GENERATOR.SIZES" not in found


def test_what_a_user_set_stays_and_later_rules_use_it(advised):
    boxes = [(20 * i, 20 * i, 9, 27) for i in range(1, 20)]
    key, sizes = "d2.INPUT.MIN_SIZE_TRAIN", "d2.MODEL.ANCHOR_GENERATOR.SIZES"
    _, after = advised(boxes, explicit={key})
    assert after[key] == [640, 800]
    _, smaller = advised(boxes)
    assert after[sizes] > smaller[sizes]  # objects are larger in larger images


@pytest.mark.parametrize("key", ["d2.SOLVER.MAX_ITER", "d2.SOLVER.BASE_LR"])
def test_what_would_undo_a_user_s_choice_stays_off(advised, key):
    _, after = advised(explicit={key})
    assert after["trainer.reference_batch"] == 0
    assert bool(after["trainer.epochs"]) == (key == "d2.SOLVER.BASE_LR")


def test_the_table_has_the_values_that_count(objects, settings):
    given = Ingredients(objects([(8, 8, 40, 40)] * 8), 16, 0.02)
    found, after = follow(given, settings, lambda key: key == "d2.INPUT.MIN_SIZE_TEST")
    rows = {key: (value, why) for key, value, why in tables.recipe_table(found, after).rows}
    assert rows["d2.INPUT.MIN_SIZE_TEST"][0] == "800" and "480" in rows["d2.INPUT.MIN_SIZE_TEST"][1]
    assert rows["trainer.epochs"][0] == "72.0"
    assert len(rows) == len(found)
    _, sizes, anchors = tables.recipe_tables(found, given.objects, settings, after)
    assert [row[:2] for row in anchors.rows] == [("Person", "8")]
    assert [row[:3] for row in sizes.rows] == [("Person", "8", "40")]


def test_sizes_are_told_as_the_model_sees_them(objects, settings):
    small = objects([(8, 8, 10, 40), (8, 8, 10, 50), (0, 0, 400, 400)], class_of=[0, 0, 1])
    table = tables.size_table(small, settings)  # 480 px become 720
    rows = [("Person", "2", "10", "15", "50%", "50%", "0%")]
    assert table.rows == [*rows, ("Car", "1", "400", "600", "0%", "0%", "100%")]
