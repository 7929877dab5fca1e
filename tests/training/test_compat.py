import pickle
import subprocess
import sys
from types import ModuleType

import numpy as np
import pytest
import torch
from PIL import Image
from torch.optim import lr_scheduler

from oiv5_d2.training import compat

from detectron2 import model_zoo  # isort: skip
from detectron2.data import common  # isort: skip
from detectron2.engine import hooks  # isort: skip


def run_python(script):
    done = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    return done


def test_detectron2_and_its_models_import():
    import detectron2.engine
    import detectron2.modeling

    assert detectron2.engine.DefaultTrainer
    assert "build_resnet_fpn_backbone" in detectron2.modeling.BACKBONE_REGISTRY


def test_an_absent_operator_says_so_only_when_it_is_called():
    absent = compat.AbsentOperators("detectron2._C")
    assert not absent.has_cuda()
    with pytest.raises(RuntimeError) as caught:
        _ = absent.deform_conv_forward
    assert "deform_conv_forward" in str(caught.value)


@pytest.fixture
def compiled(tmp_path):
    """Lines that put a real, if empty, extension on Detectron2's path."""
    (tmp_path / "_C.py").write_text("mark = 'compiled'\n")
    return f"import detectron2\ndetectron2.__path__.insert(0, {str(tmp_path)!r})\n"


def test_a_compiled_extension_is_left_alone(compiled):
    run_python(
        f"{compiled}"
        "from oiv5_d2.training import compat\n"
        "from detectron2 import _C\n"
        "assert _C.mark == 'compiled', _C\n"
        "assert compat.has_compiled_ops()\n"
    )


def test_names_that_are_still_there_are_not_replaced():
    before = Image.LINEAR, np.int, np.bool
    compat.restore_old_names()
    assert (Image.LINEAR, np.int, np.bool) == before


@pytest.mark.parametrize("name", ["bool", "float", "int", "object", "str"])
def test_a_type_that_numpy_dropped_is_there_again(name, monkeypatch):
    monkeypatch.delattr(np, name)
    compat.restore_old_names()
    assert np.dtype(getattr(np, name)) == np.dtype(name)


def test_masks_and_histograms_that_use_the_old_types_are_made():
    from detectron2.data.build import print_instances_class_histogram
    from detectron2.structures.masks import polygons_to_bitmask

    assert polygons_to_bitmask([np.array([0.0, 0, 4, 0, 4, 4])], 4, 4).dtype == bool
    print_instances_class_histogram([{"annotations": [{"category_id": 0}]}], ["Car"])


def test_another_image_stands_in_for_one_that_the_mapper_drops():
    mapper = {0: None, 1: "one", 2: "two"}.get
    dataset = common.MapDataset([0, 1, 2], mapper)
    drawn = [dataset[0] for _ in range(8)]
    assert set(drawn) == {"one", "two"}
    again = pickle.loads(pickle.dumps(common.MapDataset([0, 1, 2], mapper)))
    assert [again[0] for _ in range(8)] == drawn


def test_pytorch_s_own_schedules_are_saved_and_loaded():
    optimizer = torch.optim.SGD([torch.zeros(1)], lr=1.0)
    hook = hooks.LRScheduler(optimizer, lr_scheduler.StepLR(optimizer, step_size=7))
    state = {**hook.state_dict(), "last_epoch": 5}
    assert state["step_size"] == 7
    hook.load_state_dict(state)
    assert hook.scheduler.last_epoch == 5


def test_detectron2_s_own_schedules_are_still_saved():
    from detectron2.solver import LRMultiplier
    from fvcore.common.param_scheduler import ConstantParamScheduler

    optimizer = torch.optim.SGD([torch.zeros(1)], lr=1.0)
    schedule = LRMultiplier(optimizer, ConstantParamScheduler(1.0), max_iter=9)
    assert hooks.LRScheduler(optimizer, schedule).state_dict()["last_epoch"] == 0


def test_export_and_analysis_import_without_caffe2():
    from detectron2.export import TracingAdapter
    from detectron2.utils.analysis import parameter_count

    assert TracingAdapter
    assert parameter_count(torch.nn.Linear(2, 3))[""] == 9


def test_what_needs_caffe2_says_so_only_when_it_is_called():
    def execute(module):
        raise ModuleNotFoundError(name="caffe2")

    compat.export_without_caffe2(execute, api := ModuleType("api"))
    assert set(api.__all__) <= set(vars(api))
    with pytest.raises(RuntimeError) as caught:
        api.Caffe2Tracer("cfg", "model", "inputs")
    assert "Caffe2Tracer" in str(caught.value)


def test_the_export_hides_no_other_absent_module():
    def execute(module):
        raise ModuleNotFoundError("no onnx", name="onnx")

    with pytest.raises(ModuleNotFoundError):
        compat.export_without_caffe2(execute, ModuleType("api"))


def test_the_zoo_says_why_it_has_no_configuration_files(tmp_path):
    zoo = ModuleType("zoo")
    zoo.__file__ = str(tmp_path / "model_zoo.py")
    compat.explain_the_empty_zoo(lambda _: None, zoo)
    with pytest.raises(RuntimeError) as caught:
        zoo.get_config_file(name := "Misc/cascade.yaml")
    assert name in str(caught.value) and "configs/model" in str(caught.value)


def test_the_zoo_as_installed_has_the_file_or_says_why():
    name = "COCO-InstanceSegmentation/mask_rcnn_R_50_FPN_3x.yaml"
    try:
        assert model_zoo.get_config(name).MODEL.MASK_ON
    except RuntimeError as error:
        assert "configs/model" in str(error)
    assert model_zoo.get_checkpoint_url(name).endswith("model_final_f10217.pkl")


def test_a_zoo_with_configuration_files_is_left_alone(tmp_path):
    (tmp_path / "configs").mkdir()
    zoo = ModuleType("zoo")
    zoo.__file__ = str(tmp_path / "model_zoo.py")
    zoo.get_config_file = own = lambda path: path
    compat.explain_the_empty_zoo(lambda _: None, zoo)
    assert zoo.get_config_file is own


def test_a_mapper_and_a_schedule_that_work_are_left_alone():
    fixed_random, base = common.random, lr_scheduler._LRScheduler
    compat.let_mappers_return_none(lambda _: None, common)
    compat.save_every_schedule(lambda _: None, hooks)
    assert common.random is fixed_random
    assert lr_scheduler._LRScheduler is base


def test_detectron2_imported_first_is_fixed_all_the_same(compiled):
    run_python(
        f"{compiled}from PIL import Image; Image.LINEAR = Image.BILINEAR\n"
        "import detectron2.data.common as common\n"
        "from oiv5_d2.training import compat\n"
        "assert common.MapDataset([0, 1], {1: 'one'}.get)[0] == 'one'\n"
    )


def test_nothing_is_warned_of_when_a_model_is_built():
    done = run_python(
        "from oiv5_d2.training import compat\n"
        "import detectron2.modeling\n"
        "from detectron2.modeling.anchor_generator import DefaultAnchorGenerator\n"
        "from detectron2.structures import ImageList\n"
        "import torch\n"
        "anchors = DefaultAnchorGenerator(sizes=[[32]], aspect_ratios=[1.0], strides=[4])\n"
        "anchors([torch.zeros(1, 1, 4, 4)])\n"
        "import warnings; warnings.warn('heard', FutureWarning)\n"
    )
    assert done.stderr.strip().splitlines()[0].endswith("FutureWarning: heard")
