import pytest

from oiv5_d2.runs.prepared import locate
from oiv5_d2.training.catalog import register
from oiv5_d2.training.config import to_cfg
from oiv5_d2.training.data.loader import build_train_loader
from oiv5_d2.training.length import count_images, with_length


@pytest.fixture
def cfg(composed, tiny_words, tmp_path):
    return to_cfg(composed(*tiny_words, "d2.SOLVER.STEPS=[200,300]"), str(tmp_path))


@pytest.fixture
def datasets(prepared_dir):
    return locate("blocks", prepared_dir, ["blocks_train", "blocks_test"])


def lengthened(cfg, datasets, reference_batch=0, epochs=0.0, share=1.0):
    return with_length(cfg, datasets, reference_batch, epochs, share)


def test_without_a_wish_the_configuration_stays_as_it_is(cfg, datasets, caplog):
    assert lengthened(cfg, datasets) == cfg
    assert not caplog.records


def test_epochs_set_the_steps_and_all_that_depends_on_them(cfg, datasets, caplog):
    with caplog.at_level("INFO"):
        found = lengthened(cfg, datasets, epochs=100)
    assert found.is_frozen()
    # 4 images, 2 in a step; before, there were 400 steps.
    assert (found.SOLVER.MAX_ITER, found.SOLVER.STEPS) == (200, (100, 150))
    assert found.SOLVER.BASE_LR == cfg.SOLVER.BASE_LR
    (line,) = caplog.messages
    assert "trainer.epochs=100" in line and "SOLVER.MAX_ITER 400 -> 200" in line


def test_rate_and_length_follow_the_batch(cfg, datasets):
    found = lengthened(cfg, datasets, reference_batch=8)
    assert (found.SOLVER.MAX_ITER, found.SOLVER.STEPS) == (1600, (800, 1200))
    assert found.SOLVER.BASE_LR == cfg.SOLVER.BASE_LR / 4
    assert found.SOLVER.CHECKPOINT_PERIOD == 4 * cfg.SOLVER.CHECKPOINT_PERIOD
    # The rate follows the batch, and the length is what was asked for.
    both = lengthened(cfg, datasets, reference_batch=8, epochs=100)
    assert (both.SOLVER.MAX_ITER, both.SOLVER.BASE_LR) == (200, found.SOLVER.BASE_LR)


@pytest.mark.parametrize("share", [1.0, 0.5, 0.01])
def test_the_images_of_an_epoch_are_those_that_the_loader_trains_on(
    cfg, datasets, share, clean_catalog
):
    register(datasets, ("Person", "Traffic light", "Car", "Traffic sign"))
    loader = build_train_loader(cfg, share)
    assert count_images(cfg, datasets, share) == len(loader._samples._records)
