import pytest
from tiny_runs import tiny_cfg, tiny_weights

from oiv5_d2.training.cost import count, frame, time_gradients, time_inference

from detectron2.modeling import build_model  # isort: skip

SIZE = (64, 96)


@pytest.fixture(scope="module")
def model(cfg):
    return build_model(cfg)


@pytest.fixture(scope="module")
def cfg():
    cfg = tiny_cfg()
    cfg.SOLVER.IMS_PER_BATCH = 2
    return cfg


def test_the_frame_is_the_models_in_a_test(cfg):
    assert frame(cfg, (768, 1024)) == (64, 85)


@pytest.mark.filterwarnings("ignore")
def test_parts_add_up_to_the_whole(model):
    *parts, whole = count(model, SIZE)
    assert parts[0].name == "backbone and pyramid" and len(parts) == 4
    learned = [n for n in tiny_weights().items() if "num_batches" not in n[0]]
    assert 0 < whole.trained <= whole.parameters <= sum(one.numel() for _, one in learned)
    assert sum(part.parameters for part in parts) == whole.parameters
    assert sum(part.operations for part in parts) == pytest.approx(whole.operations, rel=0.01)
    assert all(part.operations > 0 for part in parts)


@pytest.mark.filterwarnings("ignore")
def test_a_larger_image_needs_more(model):
    large, small = (count(model, size)[0].operations for size in ((128, 192), SIZE))
    assert large == pytest.approx(4 * small)


def test_time_and_memory_are_measured(cfg, model):
    speeds = [time_inference(model, SIZE, 1), time_gradients(model, cfg, SIZE, 1)]
    for speed, images in zip(speeds, (1, 2), strict=True):
        assert speed.images == images and speed.seconds > 0 and speed.megabytes > 100
