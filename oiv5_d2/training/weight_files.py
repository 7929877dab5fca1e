"""Reads files of weights and executes nothing that is in them.

A pickle can name any function and have it called. Only tensors, arrays, numbers, texts and plain
containers are admitted here; a file that holds anything else is refused with the names.
"""

import _codecs
import io
import json
import pickle
import zipfile
from collections import OrderedDict
from pathlib import Path
from typing import Any

import numpy as np
import torch

SAFETENSORS = ".safetensors"
_BEFORE_1_6 = pickle.dumps(torch.serialization.MAGIC_NUMBER, protocol=2)  # how torch.save began
_KINDS = "biufcSU"  # of numbers and texts: no objects, no records
_DTYPES = [type(np.dtype(code)) for code in "?bBhHiIlLqQefdgFDGSU"]


class ForeignContentError(pickle.UnpicklingError):
    """A file holds more than weights; the message lists what."""


def read_weights(path: Path) -> dict[str, Any]:
    """Read a ``.pkl`` of the zoo or of Caffe2, a ``.pyth`` of pycls, ``.pth`` or ``.safetensors``.

    The first bytes show how it was written; what its entries mean depends on the suffix.

    Returns:
        The checkpoint as Detectron2 loads it: "model" has arrays and tensors by name,
        "matching_heuristics" is True if the names are not Detectron2's.

    Raises:
        ForeignContentError: it holds other objects than tensors, arrays and plain containers.
        Exception: it cannot be read: pickle, zip and torch each raise their own.
    """
    if path.suffix == SAFETENSORS:
        return _read_safetensors(path)
    checkpoint = _checkpoint(_named(_read(path)), path.suffix)
    _make_arrays(_named(checkpoint["model"]))
    return checkpoint


def _read_safetensors(path: Path) -> dict[str, Any]:
    """Read numbers by name, and the classes of the card that `tools/export.py` writes with them."""
    from safetensors import safe_open  # of the optional group `export`

    with safe_open(path, framework="pt") as file:
        card = json.loads((file.metadata() or {}).get("card", "{}"))
        weights = {name: file.get_tensor(name) for name in file.keys()}
    return {"model": weights, "run": {"classes": card.get("classes")}}


def _named(content: Any) -> dict[str, Any]:
    if not isinstance(content, dict):
        raise ForeignContentError(f"a {type(content).__name__} instead of named weights")
    return content


def _checkpoint(content: dict[str, Any], suffix: str) -> dict[str, Any]:
    if suffix == ".pyth" and "model_state" in content:
        model, author, unused = content["model_state"], "pycls", "num_batches_tracked"
    elif suffix == ".pkl" and "model" not in content:
        model, author, unused = content.get("blobs", content), "Caffe2", "_momentum"
    else:
        return content if "model" in content else {"model": content}
    kept = {name: value for name, value in _named(model).items() if not name.endswith(unused)}
    return {"model": kept, "__author__": author, "matching_heuristics": True}


def _make_arrays(weights: dict[str, Any]) -> None:
    """Turn NumPy's numbers into arrays without dimensions, and refuse all other objects."""
    for name, value in weights.items():
        if isinstance(value, np.generic):
            weights[name] = np.asarray(value)
        elif not isinstance(value, np.ndarray | torch.Tensor):
            raise ForeignContentError(f"{name}, a {type(value).__name__}")


def _read(path: Path) -> Any:
    if zipfile.is_zipfile(path):
        return _read_zip(path)
    with path.open("rb") as file:
        if file.read(len(_BEFORE_1_6)) == _BEFORE_1_6:
            return _read_legacy(path)
        file.seek(0)
        # Python 2 wrote many of the zoo's files.
        return _Unpickler(file, encoding="latin1").load()


def _read_zip(path: Path) -> Any:
    with torch.serialization.safe_globals(_NUMPY_FOR_TORCH):
        if foreign := torch.serialization.get_unsafe_globals_in_checkpoint(path):
            raise ForeignContentError(", ".join(sorted(foreign)))
        return torch.load(path, map_location="cpu", weights_only=True)


def _read_legacy(path: Path) -> Any:
    with torch.serialization.safe_globals(_NUMPY_FOR_TORCH):
        try:
            return torch.load(path, map_location="cpu", weights_only=True)
        except pickle.UnpicklingError as error:  # PyTorch has the names in its prose alone
            raise ForeignContentError("objects other than tensors") from error


def _plain_dtype(code: str, *_: Any) -> np.dtype[Any]:
    dtype = np.dtype(code)
    if dtype.kind not in _KINDS:
        raise ForeignContentError(f"numpy.dtype({code!r})")
    return dtype


def _from_buffer(data: Any, dtype: Any, shape: tuple[int, ...], order: Any) -> Any:
    return np.frombuffer(data, dtype).reshape(shape, order=order).copy()


def _storage(data: bytes) -> Any:
    return torch.load(io.BytesIO(data), map_location="cpu", weights_only=True)


# What NumPy itself names when it pickles an array and a number.
_MULTIARRAY = {"_reconstruct": np.zeros(1).__reduce__()[0], "scalar": np.float64().__reduce__()[0]}
# NumPy 2 renamed numpy.core; files have either name.
_NUMPY: dict[str, Any] = {
    "numpy.ndarray": np.ndarray,
    **{
        f"numpy.{core}.multiarray.{k}": f
        for core in ("core", "_core")
        for k, f in _MULTIARRAY.items()
    },
    **{f"numpy.{core}.numeric._frombuffer": _from_buffer for core in ("core", "_core")},
}
_NUMPY_FOR_TORCH: list[Any] = [
    *((function, name) for name, function in _NUMPY.items()),
    (np.dtype, "numpy.dtype"),
    *_DTYPES,
]
_ADMITTED: dict[str, Any] = {
    **_NUMPY,
    "numpy.dtype": _plain_dtype,
    "collections.OrderedDict": OrderedDict,
    "_codecs.encode": _codecs.encode,  # how Python 3 writes bytes for Python 2
    "torch.storage._load_from_bytes": _storage,
    "torch._utils._rebuild_tensor_v2": torch._utils._rebuild_tensor_v2,
    "torch._utils._rebuild_parameter": torch._utils._rebuild_parameter,
}


class _Unpickler(pickle.Unpickler):
    """Finds the functions that make arrays and tensors, and no others."""

    def find_class(self, module: str, name: str) -> Any:
        try:
            return _ADMITTED[f"{module}.{name}"]
        except KeyError:
            raise ForeignContentError(f"{module}.{name}") from None
