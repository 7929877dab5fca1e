import pickle
from collections import OrderedDict
from pathlib import Path

import numpy as np
import pytest
import torch

from oiv5_d2.training.weight_files import ForeignContentError, read_weights

WEIGHTS = {"w": np.arange(6, dtype=np.float32).reshape(2, 3), "b": np.zeros(2)}


class Poison:
    """An object whose pickle creates a file when it is loaded."""

    def __init__(self, path):
        self.path = path

    def __reduce__(self):
        return Path.touch, (self.path,)


def write_pickle(content, path):
    path.write_bytes(pickle.dumps(content))


def write_legacy(content, path):
    torch.save(content, path, _use_new_zipfile_serialization=False)


def poisonings(path):
    poison = Poison(path)
    return {
        "beside the weights": {"model": {}, "model_state": {}, "extra": poison},
        "among the weights": {"model": {"w": poison}, "model_state": {"w": poison}},
        "in an array": {"model": {"w": np.array([poison], dtype=object)}, "model_state": {}},
        "as the whole file": poison,
    }


@pytest.mark.parametrize("where", poisonings(""))
@pytest.mark.parametrize(
    ("name", "write"),
    [
        ("a.pkl", write_pickle),
        ("a.pth", torch.save),
        ("a.pyth", torch.save),
        ("legacy.pth", write_legacy),
        ("bare.pth", write_pickle),
    ],
)
def test_a_poisoned_file_is_never_executed(tmp_path, name, write, where):
    touched = tmp_path / "touched"
    write(poisonings(touched)[where], tmp_path / name)
    with pytest.raises(pickle.UnpicklingError):
        read_weights(tmp_path / name)
    assert not touched.exists()
    pickle.loads(pickle.dumps(Poison(touched)))  # the poison works
    assert touched.exists()


def test_poison_in_a_tensor_s_own_storage_is_not_executed(tmp_path):
    touched = tmp_path / "touched"
    write_legacy(Poison(touched), tmp_path / "inner")

    class Storage:
        def __reduce__(self):
            return torch.storage._load_from_bytes, ((tmp_path / "inner").read_bytes(),)

    write_pickle({"model": {"w": Storage()}}, tmp_path / "a.pkl")
    with pytest.raises(pickle.UnpicklingError):
        read_weights(tmp_path / "a.pkl")
    assert not touched.exists()


@pytest.mark.parametrize("protocol", range(6))
def test_a_file_of_the_zoo_is_read(tmp_path, protocol):
    content = {"model": OrderedDict(WEIGHTS), "__author__": "Detectron2 Model Zoo"}
    (tmp_path / "zoo.pkl").write_bytes(pickle.dumps(content, protocol))
    checkpoint = read_weights(tmp_path / "zoo.pkl")
    assert checkpoint["__author__"] == "Detectron2 Model Zoo"
    np.testing.assert_array_equal(checkpoint["model"]["w"], WEIGHTS["w"])


@pytest.mark.parametrize("module", [b"numpy.core.multiarray", b"numpy._core.multiarray"])
def test_files_of_numpy_1_and_2_are_read(tmp_path, module):
    written = pickle.dumps({"model": {"w": WEIGHTS["w"], "n": np.float64(2.5)}}, protocol=2)
    renamed = written.replace(b"numpy._core.multiarray", module)
    (tmp_path / "a.pkl").write_bytes(renamed)
    checkpoint = read_weights(tmp_path / "a.pkl")
    np.testing.assert_array_equal(checkpoint["model"]["w"], WEIGHTS["w"])
    assert checkpoint["model"]["n"].shape == () and checkpoint["model"]["n"] == 2.5


def test_caffe2_s_blobs_are_matched_by_heuristics_without_momentum(tmp_path):
    write_pickle({"blobs": {**WEIGHTS, "w_momentum": np.zeros(1)}}, tmp_path / "c2.pkl")
    checkpoint = read_weights(tmp_path / "c2.pkl")
    assert checkpoint["model"].keys() == {"w", "b"}
    assert checkpoint["matching_heuristics"] and checkpoint["__author__"] == "Caffe2"


def test_pycls_weights_are_matched_by_heuristics_without_counters(tmp_path):
    state = {"w": torch.ones(2), "bn.num_batches_tracked": torch.tensor(3)}
    torch.save({"model_state": state, "epoch": 3}, tmp_path / "pycls.pyth")
    checkpoint = read_weights(tmp_path / "pycls.pyth")
    assert checkpoint["model"].keys() == {"w"}
    assert checkpoint["matching_heuristics"]


@pytest.mark.parametrize("write", [torch.save, write_legacy])
@pytest.mark.parametrize("number", [np.float64(0.5), np.int64(7), np.bool_(True), np.float32(1)])
def test_a_checkpoint_with_numbers_of_numpy_is_read(tmp_path, write, number):
    content = {"model": {"w": torch.ones(2), "n": number}, "best": number, "array": WEIGHTS["w"]}
    write(content, tmp_path / "a.pth")
    checkpoint = read_weights(tmp_path / "a.pth")
    assert checkpoint["best"] == number
    assert checkpoint["model"]["n"] == number and checkpoint["model"]["n"].shape == ()


def test_tensors_in_a_pickle_are_read(tmp_path):
    model = {"w": torch.arange(4.0), "p": torch.nn.Parameter(torch.ones(2))}
    write_pickle({"model": model}, tmp_path / "a.pkl")
    checkpoint = read_weights(tmp_path / "a.pkl")
    torch.testing.assert_close(checkpoint["model"]["w"], torch.arange(4.0))
    assert checkpoint["model"]["p"].requires_grad


def test_weights_without_a_wrapper_are_read(tmp_path):
    torch.save(torch.nn.Linear(2, 2).state_dict(), tmp_path / "a.pth")
    assert read_weights(tmp_path / "a.pth")["model"].keys() == {"weight", "bias"}


@pytest.mark.parametrize(
    "content", [[1.0], {"epoch": 3, "w": torch.ones(2)}, {"model": torch.ones(2)}]
)
def test_what_is_no_named_array_is_refused(tmp_path, content):
    torch.save(content, tmp_path / "a.pth")
    with pytest.raises(ForeignContentError):
        read_weights(tmp_path / "a.pth")
