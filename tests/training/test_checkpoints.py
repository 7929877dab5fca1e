import os
import random
import resource

import pytest
import torch
from raising import refused

from oiv5_d2.problems import Kind, Remedy
from oiv5_d2.training.checkpoints import (
    due_steps,
    is_whole,
    link,
    newest_whole,
    read,
    thin_out,
    write,
)

DAMAGES = 200


def content(iteration):
    generator = torch.Generator().manual_seed(iteration)
    return {"model": {"w": torch.rand(1000, generator=generator)}, "iteration": iteration}


@pytest.fixture
def run_dir(tmp_path):
    """A run's folder with checkpoints of the steps 1, 3 and 5."""
    for iteration in (1, 3, 5):
        write(tmp_path / f"model_{iteration:07d}.pth", content(iteration))
    (tmp_path / "last_checkpoint").write_text("model_0000005.pth")
    return tmp_path


def damage(path, kind, rng):
    data = path.read_bytes()
    at = rng.randrange(len(data))
    path.write_bytes(
        {
            "cut": data[:at],
            "flipped": data[:at] + bytes([data[at] ^ 1 << rng.randrange(8)]) + data[at + 1 :],
            "emptied": b"",
            "zeroed": data[:at] + bytes(len(data) - at),
            "prolonged": data + bytes(1 + at),
        }[kind]
    )
    return data != path.read_bytes()


@pytest.mark.parametrize("last", ["model_0000005.pth", "model_0000199.pth", "", None])
def test_a_damaged_checkpoint_is_never_taken(run_dir, last, caplog):
    whole = (run_dir / "model_0000005.pth").read_bytes()
    (run_dir / "last_checkpoint").unlink()
    if last is not None:
        (run_dir / "last_checkpoint").write_text(last)
    rng = random.Random(0)
    for number in range(DAMAGES // 4):
        kind = ("cut", "flipped", "emptied", "zeroed", "prolonged")[number % 5]
        path = run_dir / "model_0000005.pth"
        path.write_bytes(whole)
        if damage(path, kind, rng):
            caplog.clear()
            assert newest_whole(run_dir) == (run_dir / "model_0000003.pth", 3), (kind, number)
            assert path.name in caplog.text
    path.write_bytes(whole)
    assert newest_whole(run_dir).iteration == 5


def test_where_no_checkpoint_is_whole_the_newest_is_named(run_dir):
    for path in run_dir.glob("*.pth"):
        path.write_bytes(b"")
    with refused(Kind.DAMAGED, key="run_dir resume", about="model_0000005.pth"):
        newest_whole(run_dir)


def test_a_run_without_checkpoints_has_no_newest(tmp_path):
    assert newest_whole(tmp_path) is None


def test_a_final_checkpoint_alone_is_enough(run_dir):
    link(run_dir / "model_0000005.pth", "model_final.pth")
    for path in run_dir.glob("model_0*.pth"):
        path.unlink()
    assert newest_whole(run_dir) == (run_dir / "model_final.pth", 5)


def test_a_sealed_file_is_pytorchs_own(run_dir):
    path = run_dir / "model_0000003.pth"
    assert is_whole(path)
    found = torch.load(path, weights_only=True)
    assert torch.equal(found["model"]["w"], content(3)["model"]["w"])
    assert read(path, lazily=True)["iteration"] == 3


def test_a_file_of_weights_only_is_not_resumed(run_dir):
    write(run_dir / "model_ema.pth", {"model": content(7)["model"]})
    assert newest_whole(run_dir).iteration == 5
    for path in run_dir.glob("model_0*.pth"):
        path.write_bytes(b"")
    with refused(Kind.DAMAGED, key="run_dir resume"):
        newest_whole(run_dir)


def test_a_second_name_costs_no_space_and_can_be_given_again(run_dir):
    for iteration in (3, 5, 5):
        path = run_dir / f"model_{iteration:07d}.pth"
        link(path, "model_best.pth")
        assert os.path.samefile(path, run_dir / "model_best.pth")
    assert not list(run_dir.glob(".*"))


def test_a_disk_without_hard_links_gets_a_copy(run_dir, monkeypatch):
    def refuse(*_):
        raise PermissionError

    monkeypatch.setattr(os, "link", refuse)
    link(run_dir / "model_0000005.pth", "model_final.pth")
    assert is_whole(run_dir / "model_final.pth")


def test_only_the_newest_numbered_checkpoints_stay(run_dir):
    link(run_dir / "model_0000001.pth", "model_best.pth")
    thin_out(run_dir, 2, ["model_0000001.pth"])
    assert len(list(run_dir.glob("model_0*.pth"))) == 3
    thin_out(run_dir, 2)
    names = {path.name for path in run_dir.glob("*.pth")}
    assert names == {"model_0000003.pth", "model_0000005.pth", "model_best.pth"}
    assert is_whole(run_dir / "model_best.pth")
    thin_out(run_dir, 5)
    assert len(list(run_dir.glob("*.pth"))) == 3


def test_due_are_the_last_step_and_the_multiples_before_it():
    assert due_steps(20, 5, 3) == [9, 14, 19]
    assert due_steps(18, 5, 3) == [9, 14, 17]
    assert due_steps(4, 5, 3) == [3]


@pytest.mark.parametrize("size", [0, 100, 3000])
def test_a_full_disk_leaves_the_former_file_and_nothing_half_written(run_dir, size):
    path = run_dir / "model_0000005.pth"
    limits = resource.getrlimit(resource.RLIMIT_FSIZE)
    try:
        resource.setrlimit(resource.RLIMIT_FSIZE, (size, limits[1]))
        with refused(Kind.DISK_FULL, remedy=Remedy.FREE_DISK, about=path):
            write(path, content(7))
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, limits)
    assert newest_whole(run_dir).iteration == 5
    assert not list(run_dir.glob(".*"))


class Poison:
    def __reduce__(self):
        return os.system, ("touch poisoned",)


def test_nothing_in_a_checkpoint_is_executed(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    torch.save({"model": Poison(), "iteration": 1}, tmp_path / "model_0000001.pth")
    with pytest.raises(Exception, match=r"weights_only|Weights only"):  # PyTorch's own words
        read(tmp_path / "model_0000001.pth")
    assert not (tmp_path / "poisoned").exists()
