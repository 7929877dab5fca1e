"""What a user points at stays as it was: bytes, inodes and times, whatever is done with it."""

import hashlib
import os
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

from oiv5_d2.openimages.release import ANNOTATIONS_DIR, IMAGES_DIR

pytestmark = pytest.mark.slow

ROOT = Path(__file__).parents[2]
OURS = ["data=folder", "data.source=link", "max_missing=0.9", "max_errors=99", "workers=1"]
COCO = ["data=coco", "data.train=link/coco/train.json", "data.validation=link/coco/train.json"]
COCO += ["data.images=link/open-images-dataset", "data.classes=[Car,Person]", "data.name=coco"]
OTHER = "data.classes=[Car]"
COMMANDS = [
    ("prepare_data", *OURS, "data.name=a", "plan=true"),
    ("prepare_data", *OURS, "data.name=a"),
    ("prepare_data", *OURS, "data.name=a"),
    ("prepare_data", *OURS, "data.name=a", "retry_failed=true"),
    ("prepare_data", *OURS, "data.name=a", "force=true", "full_decode=true"),
    ("prepare_data", *OURS, "data.name=a", OTHER),  # refused
    ("prepare_data", *OURS, "data.name=a", OTHER, "force=true"),
    ("prepare_data", *OURS, "data.name=a", "data.masks=polygons", "force=true"),
    ("prepare_data", *OURS, "data.name=b", "data.dir=data/a"),  # refused
    ("prepare_data", *OURS, "data.name=linked"),  # its images are a link to the user's
    ("prepare_data", *OURS, "data.name=linked", "force=true", "full_decode=true"),
    ("prepare_data", *OURS, "data.name=hard"),  # its images are the user's, by hard links
    ("prepare_data", *OURS, "data.name=hard", "force=true", "retry_failed=true"),
    ("prepare_data", *OURS, "data.name=inside", "data.source=data/inside/mine"),
    ("prepare_data", *OURS, "data.name=inside", "data.source=data/inside/mine", "force=true"),
    ("prepare_data", *COCO),
    ("prepare_data", *COCO, "force=true", "data.occlusion=smaller"),
    ("show_data", *OURS[:2], "data.name=a", "num_images=2"),
    ("show_data", *OURS[:2], "data.name=linked", "num_images=2", "clicks=true"),
    ("show_data", *COCO, "num_images=2", "objects=true"),
    ("evaluate", "predictions=link/coco/train.json", "truth=link/coco/train.json"),  # refused
    ("train_net", *COCO, "+experiment=quickstart", "plan=true"),
]


def state(folder):
    """Return inode, mode, times and bytes of everything below a folder."""
    found = {}
    for path in sorted(folder.rglob("*")):
        status = path.lstat()
        digest = hashlib.sha256(path.read_bytes()).hexdigest() if path.is_file() else ""
        times = status.st_mtime_ns, status.st_ctime_ns
        found[str(path)] = (status.st_ino, status.st_mode, status.st_size, *times, digest)
    return found


def fill(folder, tiny_release):
    """Lay out the user's folder: a release, two images that are none, and a COCO file."""
    shutil.copytree(tiny_release, folder)
    first, second, *_ = sorted((folder / IMAGES_DIR / "train").iterdir())
    first.write_bytes(first.read_bytes()[:-99])
    second.write_bytes(b"a text")
    words = [*OURS, f"data.source={folder}", "data.name=given", "data.splits=[train]"]
    given = run("prepare_data", *words, cwd=folder.parent)
    assert given.returncode == 0, given.stderr
    shutil.copytree(folder.parent / "data" / "given" / "coco", folder / "coco")


def link(cwd, mine):
    for name in ("linked", "hard", "inside"):
        (cwd / "data" / name).mkdir(parents=True)
    (cwd / "link").symlink_to(mine)
    (cwd / "data" / "linked" / "images").symlink_to(mine / IMAGES_DIR)
    shutil.copytree(mine / IMAGES_DIR, cwd / "data" / "hard" / "images", copy_function=os.link)
    inside = cwd / "data" / "inside" / "mine"
    for name in (ANNOTATIONS_DIR, IMAGES_DIR):
        shutil.copytree(mine / name, inside / name, copy_function=os.link)
    return inside


def test_twenty_commands_leave_a_user_s_folder_as_it_was(tiny_release, tmp_path):
    mine, cwd = tmp_path / "mine", tmp_path / "project"
    fill(mine, tiny_release)
    inside = link(cwd, mine)
    for path in mine.rglob("*"):
        path.chmod(0o555 if path.is_dir() else 0o444)
    before = state(mine), state(inside)
    for words in COMMANDS:
        done = run(*words, cwd=cwd)
        assert done.returncode in (0, 1) and "Traceback" not in done.stderr, (words, done.stderr)
        assert (state(mine), state(inside)) == before, words
    assert len(COMMANDS) >= 20


def run(tool, *words, cwd):
    return subprocess.run(
        [sys.executable, str(ROOT / "tools" / f"{tool}.py"), *words],
        cwd=cwd,
        env={**os.environ, "PYTHONPATH": str(ROOT)},
        capture_output=True,
        text=True,
        timeout=600,
    )
