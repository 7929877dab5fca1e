import multiprocessing
import os
import random
import shutil
import signal
from pathlib import Path

import numpy as np
import pytest
import torch
from detectron2.utils import comm
from raising import refused

from oiv5_d2.problems import Kind, Remedy
from oiv5_d2.runs.prepared import locate
from oiv5_d2.training.catalog import register
from oiv5_d2.training.config import to_cfg
from oiv5_d2.training.data.loader import build_train_loader
from oiv5_d2.training.data.mapper import derive_seed, seeded

CROP = "d2.INPUT.CROP={ENABLED: true, SIZE: [0.5, 0.5]}"


@pytest.fixture
def loader(composed, tiny_words, prepared_dir, tmp_path, clean_catalog):
    """Return the tiny run's loader, with flips, sizes and crops at random."""

    def build(*overrides):
        run = composed(*tiny_words, CROP, *overrides)
        cfg = to_cfg(run, str(tmp_path))
        register(locate("blocks", prepared_dir, cfg.DATASETS.TRAIN), run.data.classes)
        return build_train_loader(cfg, {})

    return build


def take(loader, num_steps, first=0):
    loader.start_at(first)
    return [next(loader) for _ in range(num_steps)]


def pixels(steps):
    return [torch.cat([s["image"].flatten() for s in step]) for step in steps]


def assert_same(first, second):
    for one, other in zip(pixels(first), pixels(second), strict=True):
        assert torch.equal(one, other)


@pytest.mark.filterwarnings("ignore:This DataLoader will create 3 worker processes")
@pytest.mark.parametrize("num_workers", [1, 3])
def test_the_number_of_loader_workers_changes_nothing(loader, num_workers):
    alone = take(loader(), 8)
    assert_same(alone, take(loader(f"d2.DATALOADER.NUM_WORKERS={num_workers}"), 8))


@pytest.mark.parametrize("num_workers", [0, 1])
def test_an_image_that_was_damaged_meanwhile_is_named(
    composed, tiny_words, prepared_dir, tmp_path, clean_catalog, num_workers
):
    shutil.copytree(prepared_dir, tmp_path / "data", symlinks=True)
    run = composed(*tiny_words, f"d2.DATALOADER.NUM_WORKERS={num_workers}")
    cfg = to_cfg(run, str(tmp_path))
    (dataset,) = locate("blocks", tmp_path / "data", cfg.DATASETS.TRAIN)
    register([dataset], run.data.classes)
    loader = build_train_loader(cfg, {})
    for path in filter(Path.is_file, dataset.images_dir.rglob("*")):
        data = path.read_bytes()
        path.unlink()
        path.write_bytes(data[: len(data) // 2])
    with refused(Kind.DAMAGED, remedy=Remedy.PREPARE_AGAIN):
        next(loader)


def test_a_stop_changes_nothing(loader):
    whole = take(loader(), 8)
    assert_same(whole[5:], take(loader("d2.DATALOADER.NUM_WORKERS=1"), 3, first=5))


def test_what_else_draws_random_numbers_changes_nothing(loader):
    whole = take(loader(), 3)
    np.random.seed(5)
    torch.manual_seed(5)
    random.seed(5)
    assert_same(whole, take(loader(), 3))


def test_loading_leaves_the_global_generators_as_they_were(loader):
    torch.manual_seed(7)
    np.random.seed(7)
    random.seed(7)
    expected = torch.rand(1), np.random.rand(), random.random()
    torch.manual_seed(7)
    np.random.seed(7)
    random.seed(7)
    take(loader("d2.DATALOADER.NUM_WORKERS=1"), 2)
    take(loader(), 2)
    assert (torch.rand(1), np.random.rand(), random.random()) == expected


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM, signal.SIGUSR1])
def test_a_signal_to_all_processes_leaves_the_loader_workers(loader, number):
    loading = loader("d2.DATALOADER.NUM_WORKERS=1")
    next(loading)
    for worker in multiprocessing.active_children():
        os.kill(worker.pid, number)
    assert [len(next(loading)) for _ in range(6)] == [2] * 6  # more than were loaded ahead
    loading.close()


def test_images_are_not_fed_the_same_way_twice(loader):
    steps = take(loader(), 12)
    seen = {
        (s["image_id"], tuple(s["image"].shape), s["image"].sum().item()) for t in steps for s in t
    }
    assert len(seen) > 12  # of 4 images


def test_processes_share_the_batch_of_one(loader, monkeypatch):
    words = ("d2.SOLVER.IMS_PER_BATCH=4",)
    whole = take(loader(*words), 3)
    monkeypatch.setattr(comm, "get_world_size", lambda: 2)
    parts = []
    for rank in (0, 1):
        monkeypatch.setattr(comm, "get_rank", lambda rank=rank: rank)
        parts.append(take(loader(*words), 3))
    for step, first, second in zip(whole, *parts, strict=True):
        assert_same([step], [[first[0], second[0], first[1], second[1]]])


def test_seeds_differ_by_each_number():
    assert len({derive_seed(*numbers) for numbers in ((1, 2), (2, 1), (1, 3), (1, 2, 0))}) >= 3
    with seeded(3):
        first = np.random.rand(), torch.rand(1)
    with seeded(3):
        assert (np.random.rand(), torch.rand(1)) == first
