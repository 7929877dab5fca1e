import logging
import os
import resource
import signal
import subprocess
import sys
import time
from contextlib import contextmanager

import numpy as np
import psutil
import pytest
from PIL import Image
from servers import serve

from oiv5_d2.dataset import image_workers
from oiv5_d2.dataset.image_workers import fetch_images
from oiv5_d2.dataset.outcomes import Known, checksum
from oiv5_d2.dataset.stores import FolderStore, HttpStore, Transfer
from oiv5_d2.openimages import release

NUM_PICTURES = 700
CONNECTIONS = Transfer().connections
# A program that fetches forever, as far as the test is concerned, and says when it has begun.
PROGRAM = """
import sys
from pathlib import Path
from oiv5_d2.dataset import image_workers
from oiv5_d2.dataset.stores import HttpStore, Transfer
image_workers._PICTURES_A_WORKER = 100
keys = [f"train/{number:016x}.jpg" for number in range(int(sys.argv[2]))]
store = HttpStore(sys.argv[1], Transfer())
told = lambda *news: print("came", flush=True)
image_workers.fetch_images(keys, store, Path(sys.argv[3]), {}, False, told, 2)
"""


class Patience:
    """Faults that hold up answers, very long until all processes are there."""

    def __init__(self, num_processes):
        self.most_without_one = (num_processes - 1) * (CONNECTIONS // num_processes)
        self.server = None

    def __call__(self, request, chance):
        are_there = self.server and self.server.num_connections > self.most_without_one
        time.sleep(0.002 if are_there else 0.05)


@contextmanager
def serve_patiently(folder, num_processes):
    patience = Patience(num_processes)
    with serve(folder, patience) as patience.server:
        yield patience.server


def answer_very_slowly(request, chance):
    """Hold up all answers, so that there is time to look."""
    time.sleep(0.03)


@pytest.fixture
def many(tiny_release, tmp_path, monkeypatch):
    """A folder of many pictures, and their keys; few are worth a worker."""
    monkeypatch.setattr(image_workers, "_PICTURES_A_WORKER", 100)
    drawn = sorted((tiny_release / release.IMAGES_DIR / "train").iterdir())
    keys = [f"train/{number:016x}.jpg" for number in range(NUM_PICTURES)]
    (tmp_path / "served" / "train").mkdir(parents=True)
    for number, key in enumerate(keys):
        (tmp_path / "served" / key).hardlink_to(drawn[number % len(drawn)])
    return tmp_path / "served", keys


@pytest.fixture
def workers(monkeypatch):
    """The workers that were started, and how many pictures each told of."""
    started = []

    class Watched(image_workers._Worker):
        def __init__(self, *args):
            super().__init__(*args)
            self.num_told = 0
            started.append(self)

        def hear(self, tell):
            def counted(*news):
                self.num_told += 1
                tell(*news)

            super().hear(counted)

    monkeypatch.setattr(image_workers, "_Worker", Watched)
    return started


def bring(server, keys, images_dir, max_workers, advance=lambda *news: None, known=None):
    store = HttpStore(server.url, Transfer(tries=2, pause_seconds=0.01))
    try:
        return fetch_images(keys, store, images_dir, known or {}, False, advance, max_workers)
    finally:
        store.close()


def files_of(folder):
    return {path.name: path.read_bytes() for path in folder.iterdir()}


def test_several_processes_bring_what_one_brings_each_picture_once(many, tmp_path, workers):
    folder, keys = many
    news = []
    (tmp_path / "three" / "train").mkdir(parents=True)
    for key in keys[:3]:
        (tmp_path / "three" / key).write_bytes((folder / key).read_bytes())
    (tmp_path / "three" / keys[3]).write_bytes(b"known")
    known = {keys[3]: Known(5, "its checksum")}
    with serve_patiently(folder, 3) as server:
        wanted = [*keys, "train/absent.jpg"]
        outcomes = bring(
            server, wanted, tmp_path / "three", 3, lambda *each: news.append(each), known
        )
        asked = sorted(line.path for line in server.log)
    assert asked == sorted(wanted[4:])
    assert len(workers) == 2
    assert min(worker.num_told for worker in workers) > 0
    assert sum(worker.num_told for worker in workers) < NUM_PICTURES
    alone = fetch_images(keys, FolderStore(folder), tmp_path / "one", {}, False, lambda *each: None)
    alone[keys[3]] = alone[keys[3]]._replace(num_bytes=5, checksum="its checksum")
    assert outcomes.pop("train/absent.jpg").state == "missing"
    assert outcomes == alone
    came = files_of(tmp_path / "three" / "train")
    assert came.pop("0000000000000003.jpg") == b"known"
    expected = files_of(tmp_path / "one" / "train")
    assert came == {name: expected[name] for name in came}
    assert len(came) == NUM_PICTURES - 1
    num_bytes = sum((folder / key).stat().st_size for key in keys[4:])
    assert tuple(map(sum, zip(*news, strict=True))) == (NUM_PICTURES + 1, num_bytes, 1)


def test_one_that_is_killed_costs_time_only(many, tmp_path, workers, caplog):
    folder, keys = many

    def kill_once_it_works(*news):
        [worker] = workers
        if worker.num_told == 50:
            worker._process.kill()

    with serve_patiently(folder, 2) as server, caplog.at_level(logging.WARNING):
        outcomes = bring(server, keys, tmp_path / "to", 2, kill_once_it_works)
    assert workers[0]._process.returncode == -signal.SIGKILL
    assert "ended early (exit code -9)" in caplog.text
    assert {outcome.state for outcome in outcomes.values()} == {"present"}
    assert files_of(tmp_path / "to" / "train") == files_of(folder / "train")
    assert all(outcomes[key].checksum == checksum((folder / key).read_bytes()) for key in keys)


def test_a_folder_is_copied_by_several_processes_too(many, tmp_path, workers):
    folder, keys = many

    def wait_for_the_other(*news):
        if not workers[0].num_told:
            time.sleep(0.05)

    outcomes = fetch_images(keys, FolderStore(folder), tmp_path, {}, False, wait_for_the_other, 2)
    assert workers[0].num_told > 0
    assert len(outcomes) == NUM_PICTURES
    assert files_of(tmp_path / "train") == files_of(folder / "train")


@pytest.mark.parametrize(("num_pictures", "num_workers"), [(199, 0), (200, 1), (NUM_PICTURES, 1)])
def test_few_pictures_are_brought_by_one_process(
    many, tmp_path, workers, num_pictures, num_workers
):
    folder, keys = many
    some = keys[:num_pictures]
    fetch_images(some, FolderStore(folder), tmp_path, {}, False, lambda *each: None, 2)
    assert len(workers) == num_workers


def test_what_can_not_be_written_is_an_error_of_this_process(many, tmp_path, workers):
    folder, keys = many
    limit = 100_000
    noise = np.random.default_rng(0).integers(0, 256, (300, 400, 3), np.uint8)
    for key in keys[NUM_PICTURES // 2 :]:
        (folder / key).unlink()
        Image.fromarray(noise).save(folder / key, quality=95)
        assert (folder / key).stat().st_size > limit
    soft, hard = resource.getrlimit(resource.RLIMIT_FSIZE)
    with serve_patiently(folder, 2) as server:
        resource.setrlimit(resource.RLIMIT_FSIZE, (limit, hard))
        try:
            with pytest.raises(OSError, match="File too large"):
                bring(server, keys, tmp_path / "to", 2)
        finally:
            resource.setrlimit(resource.RLIMIT_FSIZE, (soft, hard))
    assert workers[0]._process.returncode is not None


@contextmanager
def fetching(folder, to_dir):
    """Run PROGRAM until a worker has told of something; yield it and the worker."""
    with serve(folder, answer_very_slowly) as server:
        program = subprocess.Popen(
            [sys.executable, "-c", PROGRAM, server.url, str(NUM_PICTURES), str(to_dir)],
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
        )
        try:
            assert program.stdout.readline() == "came\n"
            [worker] = psutil.Process(program.pid).children()
            while server.num_connections <= CONNECTIONS // 2:
                time.sleep(0.01)
            yield program, worker
        finally:
            program.kill()
            program.communicate()


@pytest.mark.parametrize("number", [signal.SIGKILL, signal.SIGTERM])
def test_workers_end_with_the_program_however_it_ends(many, tmp_path, number):
    folder, _ = many
    with fetching(folder, tmp_path / "to") as (program, worker):
        os.kill(program.pid, number)
        program.wait()
        worker.wait(timeout=5)


def test_ctrl_c_is_heard_by_the_program_alone(many, tmp_path):
    folder, _ = many
    with fetching(folder, tmp_path / "to") as (program, worker):
        assert os.getpgid(worker.pid) != os.getpgid(program.pid)
        program.send_signal(signal.SIGINT)
        _, said = program.communicate(timeout=10)
        worker.wait(timeout=5)
    assert said.count("KeyboardInterrupt") == 1
    assert said.count("Traceback") == 1
