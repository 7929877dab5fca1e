import pytest
from omegaconf import OmegaConf
from raising import refused

from oiv5_d2.console.commands import COMMITTED, GROUP
from oiv5_d2.console.errors import CONFIG_DIR
from oiv5_d2.problems import Kind
from oiv5_d2.training.config import check, plain, to_cfg, write_defaults

from detectron2.config import get_cfg  # isort: skip

EXPERIMENTS = sorted(path.stem for path in (CONFIG_DIR / "experiment").rglob("*.yaml"))


def test_there_are_experiments():
    assert {"quickstart", "r50_traffic", "r101_traffic"} <= set(EXPERIMENTS)


@pytest.mark.parametrize("name", EXPERIMENTS)
def test_every_experiment_becomes_a_frozen_configuration(composed, name):
    run = composed(f"+experiment={name}")
    cfg = to_cfg(run, "somewhere")
    assert cfg.is_frozen()
    assert run.name == name
    assert run.question
    assert cfg.MODEL.ROI_HEADS.NUM_CLASSES == len(run.data.classes) == 4
    assert cfg.DATASETS.TRAIN == (f"{run.data.name}_train",)
    assert cfg.INPUT.MASK_FORMAT == "bitmask"
    check(cfg, cuda_available=True)


@pytest.mark.parametrize("debug", sorted(p.stem for p in (CONFIG_DIR / "debug").glob("*.yaml")))
@pytest.mark.parametrize("name", EXPERIMENTS)
def test_every_experiment_can_be_debugged_without_a_gpu(composed, name, debug):
    if debug == "overfit" and name != "quickstart":
        pytest.skip("overfit is for the small model")
    check(to_cfg(composed(f"+experiment={name}", f"+debug={debug}"), "x"), cuda_available=False)


def test_experiment_is_not_in_the_defaults_list():
    defaults = OmegaConf.load(CONFIG_DIR / "train.yaml").defaults
    groups = {key for entry in defaults if entry != "_self_" for key in entry}
    assert groups.isdisjoint({"experiment", "sweep", "debug"})


def test_the_zoo_s_models_differ_in_depth_and_weights_alone(composed):
    r50 = to_cfg(composed("model=mask_rcnn_r50_fpn"), "x")
    r101 = to_cfg(composed("model=mask_rcnn_r101_fpn"), "x")
    assert (r50.MODEL.RESNETS.DEPTH, r101.MODEL.RESNETS.DEPTH) == (50, 101)
    assert "R_50_FPN_3x" in r50.MODEL.WEIGHTS and "R_101_FPN_3x" in r101.MODEL.WEIGHTS
    r101.defrost()
    r101.MODEL.RESNETS.DEPTH, r101.MODEL.WEIGHTS = 50, r50.MODEL.WEIGHTS
    assert r50 == r101


def test_the_committed_defaults_are_those_of_the_installed_detectron2(tmp_path):
    path = write_defaults(tmp_path)
    committed = CONFIG_DIR / GROUP / f"{COMMITTED}.yaml"
    assert path.relative_to(tmp_path) == committed.relative_to(CONFIG_DIR)
    assert path.read_bytes() == committed.read_bytes()
    assert OmegaConf.load(path) == OmegaConf.create({"d2": plain(get_cfg())})


def test_any_key_of_detectron2_can_be_set(composed):
    cfg = to_cfg(composed("d2.MODEL.MASK_ON=false", "d2.SOLVER.STEPS=[3,5]"), "x")
    assert cfg.MODEL.MASK_ON is False
    assert cfg.SOLVER.STEPS == (3, 5)


def test_an_unknown_key_is_refused_with_the_nearest_known_one(composed):
    run = composed("+d2.SOLVER.BASE_LRR=0.1")
    with refused(Kind.SETTING, key="d2.SOLVER.BASE_LRR", about="d2.SOLVER.BASE_LR or"):
        to_cfg(run, "x")


def test_a_value_of_another_type_is_refused_with_both_types(composed):
    with refused(Kind.SETTING, key="d2.SOLVER.BASE_LR", about="int instead of float"):
        to_cfg(composed("d2.SOLVER.BASE_LR=1"), "x")


def test_frozen_batch_norm_over_random_weights_is_refused(composed):
    cfg = to_cfg(composed("model=mask_rcnn_r50_fpn", "d2.MODEL.WEIGHTS=''"), "x")
    with refused(Kind.SETTING, about="NORM=FrozenBN"):
        check(cfg, cuda_available=True)


def test_frozen_stages_over_random_weights_are_refused(composed):
    cfg = to_cfg(composed("d2.MODEL.BACKBONE.FREEZE_AT=2"), "x")
    with refused(Kind.SETTING, about="FREEZE_AT=2"):
        check(cfg, cuda_available=True)


def test_a_gpu_that_is_not_there_is_refused_before_the_model_is_built(composed):
    cfg = to_cfg(composed("model=mask_rcnn_r50_fpn"), "x")
    with refused(Kind.SETTING, key="d2.MODEL.DEVICE=cpu"):
        check(cfg, cuda_available=False)


def test_no_yaml_file_is_long():
    paths = [path for path in CONFIG_DIR.rglob("*.yaml") if path.parent.name != GROUP]
    assert paths
    assert {p.name for p in paths if len(p.read_text().splitlines()) > 40} == set()


@pytest.mark.parametrize(
    ("word", "key"),
    [
        ("d2.MODEL.ROI_HEADS.NUM_CLASSES=7", "data.classes"),
        ("d2.OUTPUT_DIR=elsewhere", "run_dir"),
        ("d2.SOLVER.AMP.ENABLED=true", "trainer.precision"),
        ("d2.INPUT.MASK_FORMAT=polygon", "d2.INPUT.MASK_FORMAT"),
        ("d2.MODEL.LOAD_PROPOSALS=true", "d2.MODEL.LOAD_PROPOSALS"),
        ("d2.DATASETS.PROPOSAL_FILES_TRAIN=[a.pkl]", "d2.DATASETS.PROPOSAL_FILES_TRAIN"),
        ("d2.MODEL.KEYPOINT_ON=true", "d2.MODEL.KEYPOINT_ON"),
        ("d2.SOLVER.REFERENCE_WORLD_SIZE=8", "d2.SOLVER.REFERENCE_WORLD_SIZE"),
        ("d2.VERSION=1", "d2.VERSION"),
    ],
)
def test_a_key_that_would_be_overruled_or_do_nothing_is_refused(composed, word, key):
    with refused(Kind.SETTING, key=key, about=word.split("=")[0]):
        to_cfg(composed(word), "out")


def test_partial_annotation_takes_the_place_of_detectron2_s_architecture(composed):
    cfg = to_cfg(composed("annotation=partial", "annotation.overlap=0.7"), "x")
    assert cfg.ANNOTATION.overlap == 0.7
    assert cfg.MODEL.META_ARCHITECTURE == "PartialRCNN"
    assert cfg.MODEL.ROI_HEADS.NAME == "PartialROIHeads"
    assert "ANNOTATION" not in to_cfg(composed(), "x")


@pytest.mark.parametrize(
    ("words", "key"),
    [
        (["model=cascade_mask_rcnn_r50_fpn"], "annotation=stock"),
        (["+annotation.bokses=true"], "annotation.bokses"),
        (["annotation.overlap=2.0"], "annotation.overlap"),
        (["d2.MODEL.ROI_BOX_HEAD.TRAIN_ON_PRED_BOXES=true"], "d2.MODEL.ROI_BOX_HEAD"),
    ],
)
def test_what_partial_annotation_cannot_do_is_refused(composed, words, key):
    with refused(Kind.SETTING) as caught:
        to_cfg(composed("annotation=partial", *words), "x")
    assert key in caught.value.key
