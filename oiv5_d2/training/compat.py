"""All that Detectron2 v0.6 needs on libraries that came after it.

Importing this module makes ``import detectron2`` work with today's Pillow, NumPy and PyTorch and
with the distribution from PyPI, which has no compiled extension. Each step does nothing where it is
not needed, so an official, compiled Detectron2 runs unpatched. What else v0.6 needs is no code:
setuptools below 81 in ``pyproject.toml`` (``pkg_resources``), and all model keys spelled out in
``configs/model`` (the zoo's YAML files are not in the wheel).
"""

import importlib.util
import sys
import warnings
from functools import partial
from types import ModuleType
from typing import Any

import numpy as np
from PIL import Image

_OLD_WAYS: tuple[tuple[str, type[Warning]], ...] = (
    ("`torch.jit.script` is deprecated", FutureWarning),  # modeling/box_regression.py
    ("`torch.jit.script_method` is deprecated", FutureWarning),
    ("torch.meshgrid: in an upcoming release", UserWarning),  # modeling/anchor_generator.py
    ("The given NumPy array is not writable", UserWarning),  # data/detection_utils.py
)


class AbsentOperators(ModuleType):
    """Stands in for ``detectron2._C``, and raises an error at the first use of an operator.

    It answers what ``detectron2.utils.collect_env`` asks at every start.
    """

    def get_compiler_version(self) -> str:
        """Return that no compiler was used."""
        return "none (Python files only)"

    def get_cuda_version(self) -> str:
        """Return that no CUDA compiler was used."""
        return "none (Python files only)"

    def has_cuda(self) -> bool:
        """Return False: no operator runs on a GPU; PyTorch's own do."""
        return False

    def __getattr__(self, name: str) -> Any:
        """Raise an error for an operator; dunder names are merely absent, as Python expects."""
        if name.startswith("__"):
            raise AttributeError(name)
        raise RuntimeError(
            f"detectron2._C.{name} was called, but this Detectron2 has no compiled operators "
            "(deformable convolution, rotated boxes, COCOeval_opt). Mask R-CNN with FPN needs "
            "none; for other models install the official Detectron2 built from source."
        )


def has_compiled_ops() -> bool:
    """Return True if this Detectron2 has its C++ extension, so that its fast paths work."""
    return not isinstance(sys.modules.get("detectron2._C"), AbsentOperators)


def stand_in_for_operators() -> None:
    """Let ``layers/deform_conv.py`` import: it takes ``_C`` at its top, used or not."""
    if importlib.util.find_spec("detectron2._C") is None:
        sys.modules["detectron2._C"] = AbsentOperators("detectron2._C")


def restore_old_names() -> None:
    """Restore two names that v0.6 uses: Pillow 10 dropped ``LINEAR``, NumPy 1.24 ``int``."""
    if not hasattr(Image, "LINEAR"):
        Image.LINEAR = Image.Resampling.BILINEAR  # type: ignore[attr-defined]
    if "int" not in vars(np):
        np.int = int  # type: ignore[attr-defined]


def silence_old_ways() -> None:
    """Drop the warnings about v0.6's own code at every start, on which its users cannot act."""
    for message, category in _OLD_WAYS:
        warnings.filterwarnings("ignore", message, category)


def let_processes_share_cpus() -> None:
    """Let several processes train on CPUs: v0.6 hands PyTorch a GPU's number in any case."""
    from detectron2.engine import defaults

    if not isinstance(defaults.create_ddp_model, partial):
        defaults.create_ddp_model = partial(defaults.create_ddp_model, device_ids=None)


stand_in_for_operators()
restore_old_names()
silence_old_ways()
