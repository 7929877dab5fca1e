"""PyTorch's compiler stays asleep until something is compiled.

Building an optimizer and importing torchvision import ``torch._dynamo``, sympy and a thousand
modules more, a third of the time to the first step, only to say that they are not to be compiled.
"""

import importlib
import sys
from collections.abc import Callable
from types import ModuleType
from typing import Any, TypeVar

import torch

COMPILER = "torch._dynamo"
_ASKED = f"{COMPILER}.utils"  # by torchvision, for one function

Function = TypeVar("Function", bound=Callable[..., Any])


class _SleepingCompiler(ModuleType):
    """Stands in for ``torch._dynamo``; any name but these two wakes it.

    While it sleeps nothing is compiled, so that there is no graph to break and nothing to be left
    out of one.
    """

    __file__ = None  # else a look through all modules, as for a traceback, would wake it

    @staticmethod
    def disable(function: Function, *_: Any, **__: Any) -> Function:
        """Return the function: it is not compiled anyway."""
        return function

    @staticmethod
    def graph_break(*_: Any, **__: Any) -> None:
        """Do nothing: there is no graph."""

    def __getattr__(self, name: str) -> Any:
        """Wake the compiler."""
        if sys.modules.get(COMPILER) is self:
            del sys.modules[COMPILER]
            vars(torch).pop(COMPILER.rpartition(".")[2])
        return getattr(importlib.import_module(COMPILER), name)


def _is_compile_supported(device: str) -> bool:
    return bool(importlib.import_module(_ASKED).is_compile_supported(device))


def let_compiler_sleep() -> None:
    """Let PyTorch's optimizers and torchvision work without it. Nothing if it is awake."""
    if COMPILER in sys.modules:
        return
    sys.modules[COMPILER] = torch._dynamo = _SleepingCompiler(COMPILER)
    if "torchvision" not in sys.modules:
        asked = ModuleType(_ASKED)
        vars(asked)["is_compile_supported"] = _is_compile_supported
        sys.modules[_ASKED] = asked
        importlib.import_module("torchvision")
        del sys.modules[_ASKED]
