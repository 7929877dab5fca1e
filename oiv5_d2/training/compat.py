"""All that Detectron2 v0.6 needs on libraries that came after it.

Importing this module makes ``import detectron2`` work with today's libraries and with the
distribution from PyPI, which has no compiled extension. Some fixes are needed before Detectron2 is
imported. The others are in `FIXES`: each runs when its module is imported, tries what v0.6 breaks,
and changes nothing where it works, so an official, compiled Detectron2 runs unpatched.
v0.6 also needs setuptools below 81 (``pkg_resources``); that is in ``pyproject.toml``.
"""

import importlib.util
import random
import sys
import warnings
from collections.abc import Callable, Iterable, Sequence
from functools import partial
from importlib.abc import MetaPathFinder
from importlib.machinery import ModuleSpec, PathFinder
from pathlib import Path
from types import ModuleType, SimpleNamespace
from typing import Any

import numpy as np
from PIL import Image

from oiv5_d2.training.compiler import let_compiler_sleep

Execute = Callable[[ModuleType], None]

_OLD_WAYS: tuple[tuple[str, type[Warning]], ...] = (
    ("`torch.jit.script` is deprecated", FutureWarning),  # modeling/box_regression.py
    ("`torch.jit.script_method` is deprecated", FutureWarning),
    ("torch.meshgrid: in an upcoming release", UserWarning),  # modeling/anchor_generator.py
    ("The given NumPy array is not writable", UserWarning),  # data/detection_utils.py
    # engine/hooks.py, after a step in fp16 that was left out because its gradients overflowed
    ("Detected call of `lr_scheduler.step", UserWarning),
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
    """Restore names that v0.6 uses: Pillow 10 dropped ``LINEAR``, NumPy 1.24 ``int`` and others."""
    if not hasattr(Image, "LINEAR"):
        Image.LINEAR = Image.Resampling.BILINEAR  # type: ignore[attr-defined]
    for builtin in (bool, float, int, object, str):
        if builtin.__name__ not in vars(np):  # hasattr would warn of some
            setattr(np, builtin.__name__, builtin)


def silence_old_ways() -> None:
    """Drop the warnings about v0.6's own code at every start, on which its users cannot act."""
    for message, category in _OLD_WAYS:
        warnings.filterwarnings("ignore", message, category)


def let_processes_share_cpus() -> None:
    """Let several processes train on CPUs: v0.6 hands PyTorch a GPU's number in any case."""
    from detectron2.engine import defaults

    if not isinstance(defaults.create_ddp_model, partial):
        defaults.create_ddp_model = partial(defaults.create_ddp_model, device_ids=None)


def export_without_caffe2(execute: Execute, api: ModuleType) -> None:
    """Let ``detectron2.export`` import without Caffe2, as TorchScript and FLOP counts need it."""
    try:
        execute(api)
    except ModuleNotFoundError as error:
        if (error.name or "").partition(".")[0] != "caffe2":
            raise
        names = (
            "Caffe2Model",
            "Caffe2Tracer",
            "add_export_config",
            "export_caffe2_model",
            "export_onnx_model",
        )
        vars(api).update({name: partial(_needs_caffe2, name) for name in names}, __all__=names)


def _needs_caffe2(name: str, *_: Any, **__: Any) -> None:
    raise RuntimeError(f"detectron2.export.{name} needs Caffe2, which is not installed")


class _RandomOfSets(random.Random):
    """Samples from a set, which Python 3.11 no longer does; sorted, so that the order is known."""

    def sample(self, population: Iterable[Any], k: int) -> list[Any]:  # type: ignore[override]
        ordered = population if isinstance(population, Sequence) else sorted(population)
        return super().sample(ordered, k)


def let_mappers_return_none(execute: Execute, common: ModuleType) -> None:
    """Let a mapper return None to have another image in its place, as v0.6 documents it."""
    execute(common)
    try:
        common.MapDataset([0, 1], {1: "kept"}.get)[0]
    except TypeError:
        common.random = SimpleNamespace(Random=_RandomOfSets)  # type: ignore[attr-defined]


def save_every_schedule(execute: Execute, hooks: ModuleType) -> None:
    """Let PyTorch's own schedules be saved: v0.6 asks for what was once their base class."""
    execute(hooks)
    import torch
    from torch.optim import lr_scheduler

    optimizer = torch.optim.SGD([torch.zeros(1)], lr=1.0)
    if not hooks.LRScheduler(optimizer, lr_scheduler.StepLR(optimizer, 1)).state_dict():
        lr_scheduler._LRScheduler = lr_scheduler.LRScheduler  # type: ignore[assignment,misc]


def explain_the_empty_zoo(execute: Execute, model_zoo: ModuleType) -> None:
    """Say why ``model_zoo.get_config_file`` finds nothing: the wheel has no YAML files."""
    execute(model_zoo)
    if not (Path(str(model_zoo.__file__)).parent / "configs").is_dir():
        model_zoo.get_config_file = _no_config_file  # type: ignore[attr-defined]


def _no_config_file(config_path: str) -> str:
    raise RuntimeError(
        f"{config_path} is not installed: the wheel of Detectron2 leaves the zoo's YAML files out. "
        "configs/model has some of them; model_zoo.get_checkpoint_url finds the weights of all."
    )


FIXES: dict[str, Callable[[Execute, ModuleType], None]] = {
    "detectron2.data.common": let_mappers_return_none,
    "detectron2.engine.hooks": save_every_schedule,
    "detectron2.export.api": export_without_caffe2,
    "detectron2.model_zoo.model_zoo": explain_the_empty_zoo,
}


class FixOnImport(MetaPathFinder):
    """Runs the fix when a module of `FIXES` is imported; other modules are imported as usual."""

    def find_spec(
        self, name: str, path: Sequence[str] | None, target: ModuleType | None = None
    ) -> ModuleSpec | None:
        """Return the module's usual spec, whose loader runs the fix; None if it needs none."""
        spec = PathFinder.find_spec(name, path, target) if name in FIXES else None
        if spec and spec.loader:
            fixed = partial(FIXES[name], spec.loader.exec_module)
            spec.loader.exec_module = fixed  # type: ignore[method-assign]
        return spec


let_compiler_sleep()
stand_in_for_operators()
restore_old_names()
silence_old_ways()
sys.meta_path.insert(0, FixOnImport())
for _name in FIXES.keys() & sys.modules.keys():  # Detectron2 was imported before this module
    FIXES[_name](lambda _: None, sys.modules[_name])
