import subprocess
import sys

import numpy as np
import pytest
from PIL import Image

from oiv5_d2.training import compat


def test_detectron2_and_its_models_import():
    import detectron2.engine
    import detectron2.modeling

    assert detectron2.engine.DefaultTrainer
    assert "build_resnet_fpn_backbone" in detectron2.modeling.BACKBONE_REGISTRY


def test_an_absent_operator_says_so_only_when_it_is_called():
    absent = compat.AbsentOperators("detectron2._C")
    assert not absent.has_cuda()
    with pytest.raises(RuntimeError, match="deform_conv_forward"):
        _ = absent.deform_conv_forward


def test_a_compiled_extension_is_left_alone(tmp_path):
    # A real, if empty, extension on the path: nothing may stand in for it.
    script = (
        "import sys, types, importlib.machinery as m\n"
        "import detectron2\n"
        f"detectron2.__path__.append({str(tmp_path)!r})\n"
        "from oiv5_d2.training import compat\n"
        "from detectron2 import _C\n"
        "assert _C.mark == 'compiled', _C\n"
        "assert compat.has_compiled_ops()\n"
    )
    (tmp_path / "_C.py").write_text("mark = 'compiled'\n")
    done = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True)
    assert done.returncode == 0, done.stderr


def test_names_that_are_still_there_are_not_replaced():
    linear, integer = Image.LINEAR, np.int
    compat.restore_old_names()
    assert Image.LINEAR is linear
    assert np.int is integer


def test_nothing_is_warned_of_when_a_model_is_built():
    script = (
        "from oiv5_d2.training import compat\n"
        "import detectron2.modeling\n"
        "from detectron2.modeling.anchor_generator import DefaultAnchorGenerator\n"
        "from detectron2.structures import ImageList\n"
        "import torch\n"
        "anchors = DefaultAnchorGenerator(sizes=[[32]], aspect_ratios=[1.0], strides=[4])\n"
        "anchors([torch.zeros(1, 1, 4, 4)])\n"
        "import warnings; warnings.warn('heard', FutureWarning)\n"
    )
    done = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    assert done.stderr.strip().splitlines()[0].endswith("FutureWarning: heard")
