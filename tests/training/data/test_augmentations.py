import numpy as np
import pytest
import torch
from detectron2.data import DatasetMapper
from detectron2.data import transforms as T
from omegaconf import OmegaConf
from raising import refused

from oiv5_d2.console.errors import CONFIG_DIR
from oiv5_d2.problems import Kind
from oiv5_d2.runs.prepared import locate
from oiv5_d2.training.catalog import register
from oiv5_d2.training.config import to_cfg
from oiv5_d2.training.data.augmentations import LOOKS, MIXES, SIZES, Square, Window, build_pipeline
from oiv5_d2.training.data.loader import build_train_loader
from oiv5_d2.training.data.mapper import build_mapper, seeded

from detectron2.data import DatasetCatalog  # isort: skip

CLASSES = ("Person", "Traffic light", "Car", "Traffic sign")
CHOICES = sorted(path.stem for path in (CONFIG_DIR / "augment").glob("*.yaml"))
CROP = "d2.INPUT.CROP={ENABLED: true, SIZE: [0.5, 0.5]}"
SMALL = {  # steps whose sizes are those of real images
    "large_scale_jitter": ("augment.large_scale_jitter.size=64",),
    "square": ("augment.square.min_size=48", "augment.square.max_size=80"),
}


@pytest.fixture
def chosen(composed, tiny_words, tmp_path):
    """Return a configuration and its augmentation."""

    def compose(*overrides):
        run = composed(*tiny_words, *overrides)
        return to_cfg(run, str(tmp_path)), OmegaConf.to_container(run.augment)

    return compose


@pytest.fixture
def mapped(chosen, prepared_dir, clean_catalog):
    """Return samples of the first image, one for each seed."""

    def draw(num_draws, *overrides):
        cfg, augment = chosen(*overrides)
        register(locate("blocks", prepared_dir, cfg.DATASETS.TRAIN), CLASSES)
        records = DatasetCatalog.get("blocks_train")
        mapper = build_mapper(cfg, augment, records)
        return [mapper(records[0], seed) for seed in range(num_draws)]

    return draw


def words_of(choice):
    return (f"augment={choice}", *SMALL.get(choice, ()))


def assert_same(first, second):
    assert torch.equal(first["image"], second["image"])
    mine, its = first["instances"], second["instances"]
    assert torch.equal(mine.gt_boxes.tensor, its.gt_boxes.tensor)
    assert torch.equal(mine.gt_classes, its.gt_classes)
    assert torch.equal(mine.gt_masks.tensor, its.gt_masks.tensor)


def test_every_step_has_a_choice():
    named = {
        name
        for choice in CHOICES
        for name in OmegaConf.load(CONFIG_DIR / "augment" / f"{choice}.yaml")
    }
    assert named == {*SIZES, *LOOKS, *MIXES}


@pytest.mark.parametrize("words", [(), (CROP,), ("d2.INPUT.RANDOM_FLIP=none",)])
def test_by_default_a_sample_is_detectron2_s_to_the_bit(mapped, chosen, words):
    samples = mapped(8, *words)
    stock = DatasetMapper(chosen(*words)[0], is_train=True)
    record = DatasetCatalog.get("blocks_train")[0]
    for seed, sample in enumerate(samples):
        with seeded(seed):
            assert_same(sample, stock(record))


@pytest.mark.filterwarnings("ignore:This DataLoader will create 3 worker processes")
def test_workers_and_stops_change_nothing(chosen, prepared_dir, clean_catalog):
    words = ("augment=[large_scale_jitter,copy_paste,colour]", *SMALL["large_scale_jitter"])

    def load(num_workers, first):
        cfg, augment = chosen(*words, f"d2.DATALOADER.NUM_WORKERS={num_workers}")
        register(locate("blocks", prepared_dir, cfg.DATASETS.TRAIN), CLASSES)
        loader = build_train_loader(cfg, augment)
        loader.start_at(first)
        return [sample for _ in range(4) for sample in next(loader)]

    whole = load(0, 0)
    for one, other in zip(whole, load(3, 0), strict=True):
        assert_same(one, other)
    for one, other in zip(whole[4:], load(1, 2)[:4], strict=True):
        assert_same(one, other)


@pytest.mark.parametrize("choice", CHOICES)
def test_masks_lie_on_their_objects_and_boxes_around_them(mapped, choice):
    for sample in mapped(12, *words_of(choice), "d2.INPUT.MIN_SIZE_TRAIN=[64]"):
        objects = sample["instances"]
        for index, mask in zip(objects.gt_classes, objects.gt_masks.tensor, strict=True):
            if mask.sum() > 40:  # of fewer pixels most are blended with the background
                median = sample["image"][0][mask].float().median()
                assert median == pytest.approx(60 * (int(index) + 1), rel=0.45)
        tight = objects.gt_masks.get_bounding_boxes().tensor
        assert (tight - objects.gt_boxes.tensor).abs().max() <= 1


def test_jitter_feeds_squares_of_all_scales(mapped):
    samples = mapped(40, *words_of("large_scale_jitter"), "d2.INPUT.RANDOM_FLIP=none")
    assert {tuple(one["image"].shape) for one in samples} == {(3, 64, 64)}
    mean = 114  # of Detectron2's PIXEL_MEAN
    padded = [float((one["image"] == mean).all(0).float().mean()) for one in samples]
    # Of the image, 96 x 64, the longer side is as long as the square's at a scale of 1.
    assert min(padded) == 0 and max(padded) > 0.9
    sizes = [
        one["instances"].gt_masks.tensor.flatten(1).sum(1).max()
        for one in samples
        if len(one["instances"])
    ]
    assert max(sizes) > 100 * min(sizes)


def test_a_window_reaches_every_corner():
    image = (
        np.arange(9, dtype=np.uint8)
        .repeat(10)[None]
        .repeat(60, axis=0)[..., None]
        .repeat(3, axis=2)
    )
    image[..., 0] = np.arange(60)[:, None]  # rows in one channel, columns in another
    with seeded(0):
        shown = [Window(20, 0).get_transform(image).apply_image(image) for _ in range(300)]
    firsts = {(one[0, 0, 0] > 20, one[0, 0, 1] > 3) for one in shown}
    assert firsts == {(False, False), (False, True), (True, False), (True, True)}
    assert {one.shape for one in shown} == {(20, 20, 3)}


@pytest.mark.parametrize(
    ("height", "width", "window"),
    [  # x0, y0, width, height of the image in the square, as matterport's resize_image has it
        (768, 1024, (0, 128, 1024, 768)),  # at 800 the longest side would be too long: as it was
        (500, 600, (32, 112, 960, 800)),  # enlarged to the least shortest side
        (400, 2000, (0, 409, 1024, 205)),
        (1024, 768, (128, 0, 768, 1024)),
        (800, 800, (112, 112, 800, 800)),
    ],
)
def test_the_square_is_matterport_s(height, width, window):
    image = np.full((height, width, 3), 255, np.uint8)
    resized = Square(800, 1024, 0).get_transform(image).apply_image(image)
    assert resized.shape == (1024, 1024, 3)
    rows, columns = np.nonzero(resized[..., 0])
    x0, y0 = columns.min(), rows.min()
    assert (x0, y0, np.ptp(columns) + 1, np.ptp(rows) + 1) == window


def test_colour_changes_pixels_and_nothing_else(mapped):
    for one, other in zip(mapped(4), mapped(4, "augment=colour"), strict=True):
        assert not torch.equal(one["image"], other["image"])
        assert torch.equal(one["instances"].gt_masks.tensor, other["instances"].gt_masks.tensor)
        assert torch.equal(one["instances"].gt_boxes.tensor, other["instances"].gt_boxes.tensor)


def test_copy_paste_adds_objects_of_other_images_and_keeps_the_rest(mapped):
    plain, pasted = mapped(12), mapped(12, "augment=copy_paste")
    counts = [
        len(two["instances"]) - len(one["instances"])
        for one, two in zip(plain, pasted, strict=True)
    ]
    assert max(counts) > 0
    for one, two in zip(plain, pasted, strict=True):
        if torch.equal(one["image"], two["image"]):
            assert_same(one, two)


def test_choices_are_combined(chosen):
    cfg, augment = chosen("augment=[large_scale_jitter,copy_paste,colour]")
    pipeline = build_pipeline(cfg, augment)
    kinds = [T.ResizeScale, Window, T.RandomFlip, T.RandomBrightness, T.RandomContrast]
    assert [type(step) for step in pipeline.steps] == kinds
    assert len(pipeline.mixes) == 1 and pipeline.cuts_objects


@pytest.mark.parametrize(
    ("words", "key"),
    [
        (["+augment.mosaic.share=1"], "augment.mosaic"),
        (["augment=colour", "+augment.colour.hue=0.1"], "augment.colour.hue"),
        (["+augment.copy_paste.share=0.5"], "augment.copy_paste.probability"),
        (["augment=copy_paste", "augment.copy_paste.share=2"], "augment.copy_paste"),
        (
            ["augment=large_scale_jitter", "augment.large_scale_jitter.scale=[2,1]"],
            "augment.large_scale_jitter",
        ),
        (
            ["augment=large_scale_jitter", "augment.large_scale_jitter.scale=1"],
            "augment.large_scale_jitter",
        ),
        (["augment=square", "augment.square.min_size=2000"], "augment.square"),
        (["augment=colour", "augment.colour.contrast=1"], "augment.colour"),
        (["augment=[square,large_scale_jitter]"], "augment"),
        (["augment=square", CROP], "d2.INPUT.CROP.ENABLED"),
        (["augment=copy_paste", "d2.MODEL.MASK_ON=false"], "d2.MODEL.MASK_ON"),
    ],
)
def test_what_cannot_be_built_is_refused_by_key(chosen, words, key):
    cfg, augment = chosen(*words)
    with refused(Kind.SETTING, key=key):
        build_pipeline(cfg, augment)
