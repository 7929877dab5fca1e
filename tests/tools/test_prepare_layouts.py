"""Releases as other programs leave them give the same COCO files as the release itself."""

import csv
import gzip
import io
import shlex
import zipfile
from pathlib import Path

import pytest
from forked import run_tool
from hydra import compose, initialize_config_dir

from oiv5_d2.conversion import coco_file
from oiv5_d2.conversion.convert import coco_path
from oiv5_d2.jobs import ignore, unseen
from oiv5_d2.openimages.release import SPLITS, V5
from oiv5_d2.preparation.settings import read_request
from oiv5_d2.preparation.stages import locked
from oiv5_d2.preparation.steps import run_stages

pytestmark = pytest.mark.filterwarnings("ignore:__array__ implementation doesn't accept a copy")

ROOT = Path(__file__).parents[2]


def prepare(source, data_dir, *words):
    given = ["data=folder", "data.name=x", f"data.source='{source}'", f"data.dir='{data_dir}'"]
    with initialize_config_dir(str(ROOT / "configs"), version_base="1.3"):
        given += ["max_missing=0.5", "workers=1", "data.splits=[train]", *words]
        request = read_request(compose("prepare", given))
    with locked(request.data.dir):
        run_stages(request, unseen, ignore)
    path = coco_path(request.data.dir, "train")
    return [list(coco_file.read_records(path, key)) for key in ("images", "annotations")]


@pytest.fixture(scope="module")
def expected(tiny_release, tmp_path_factory):
    found = prepare(tiny_release, tmp_path_factory.mktemp("expected") / "x")
    assert found[0] and found[1]
    return found


@pytest.fixture
def copy(tiny_release, tmp_path):
    """A copy of the release that a test may change: folders of its own, files by link."""
    root = tmp_path / "Größe (v5), a=b #1"
    for path in tiny_release.rglob("*"):
        if path.is_file():
            to = root / path.relative_to(tiny_release)
            to.parent.mkdir(parents=True, exist_ok=True)
            to.symlink_to(path)
    return root


def unpack(root, where):
    for path in list((root / "openimages").rglob("*.zip")):
        folder = path.parent / where.format(path.stem)
        with zipfile.ZipFile(path) as archive:
            archive.extractall(folder)
        path.unlink()


def rename_images(root, key_of):
    for path in list((root / "open-images-dataset").rglob("*.jpg")):
        to = root / "open-images-dataset" / key_of(path.parent.name, path.stem)
        to.parent.mkdir(parents=True, exist_ok=True)
        path.rename(to)


def rewrite_tables(root, rewrite):
    for split in SPLITS:
        for file in V5.split_csvs(split):
            path = root / "openimages" / file.path
            data = path.read_bytes()
            path.unlink()  # the link, not what it leads to
            rewrite(path, data)


def pack(path, data):
    Path(f"{path}.gz").write_bytes(gzip.compress(data))


def turn_columns(path, data):
    rows = list(csv.reader(io.StringIO(data.decode(), newline="")))
    text = io.StringIO(newline="")
    csv.writer(text, quoting=csv.QUOTE_ALL).writerows([["", *row[::-1]] for row in rows])
    path.write_bytes(text.getvalue().encode("utf-8-sig"))


CHANGES = {
    "as it is": lambda root: None,
    "unpacked masks": lambda root: unpack(root, ""),
    "a folder a zip": lambda root: unpack(root, "{}"),
    "flat images": lambda root: rename_images(root, lambda split, id_: f"{id_}.jpg"),
    "other endings": lambda root: rename_images(root, lambda split, id_: f"{split}/{id_}.JPEG"),
    "gzip": lambda root: rewrite_tables(root, pack),
    "columns": lambda root: rewrite_tables(root, turn_columns),
}


@pytest.mark.parametrize("change", CHANGES)
def test_every_layout_gives_the_same_coco_file(copy, expected, tmp_path, change):
    CHANGES[change](copy)
    assert prepare(copy, tmp_path / "x") == expected


def test_a_ready_coco_file_is_prepared_and_says_what_comes_next(tiny_release, tmp_path):
    prepare(tiny_release, tmp_path / "first")
    given = coco_path(tmp_path / "first", "train")
    words = ["data=coco", "data.name=mine", "data.classes=[Car,Person]"]
    words += [f"data.train={given}", f"data.validation={given}"]
    words += [f"data.images={tmp_path / 'first' / 'images'}"]
    shared = run("prepare_data", *words, cwd=tmp_path)  # an error of the audit
    assert shared.returncode == 1 and "several parts" in shared.stderr
    words.append("max_errors=1")
    done = run("prepare_data", *words, cwd=tmp_path)
    assert done.returncode == 0, done.stderr
    assert "'data.classes=[Car,Person]'" in done.stdout.partition("Next:")[2]
    head = coco_file.read_head(tmp_path / "data/mine/coco/train.json")
    assert [category["name"] for category in head["categories"]] == ["Car", "Person"]
    assert run("show_data", *words[:-1], "num_images=2", cwd=tmp_path).returncode == 0
    lacking = run("prepare_data", "data=coco", "data.name=mine", cwd=tmp_path)
    assert lacking.returncode == 1 and "data.train" in lacking.stderr


def test_a_bad_value_in_ones_own_table_is_named_by_its_own_line(copy, tmp_path):
    def spoil(path, data):
        path.write_bytes(data.replace(b"xclick,", b"xclick ,").replace(b",1,0.", b",1,-0.5", 1))

    rewrite_tables(copy, spoil)
    done = run("prepare_data", "data=folder", "data.name=x", f"data.source='{copy}'", cwd=tmp_path)
    assert done.returncode == 1
    line, remedy = done.stderr.strip().splitlines()
    assert line.startswith(f"error: {copy}") and "line " in line and remedy


@pytest.mark.parametrize("folder", ["Größe", "set#1", "a=b", "my photos (v5), 2019", "~/x", "it's"])
def test_a_word_that_hydra_does_not_take_is_shown_as_it_has_to_be_typed(tmp_path, folder):
    done = run("prepare_data", "data=folder", "data.name=x", f"data.source={folder}", cwd=tmp_path)
    assert done.returncode == 1
    (word,) = shlex.split(done.stderr.partition(":  ")[2])
    (tmp_path / folder.replace("~", "home") / "openimages").mkdir(parents=True)
    again = run("prepare_data", "data=folder", "data.name=x", word, cwd=tmp_path)
    place = folder.replace("~", str(tmp_path / "home"))
    assert f"{place}/open-images-dataset" in again.stderr


def run(tool, *words, cwd):
    env = {"HOME": str(cwd / "home"), "PYTHONPATH": str(ROOT), "PATH": "/usr/bin:/bin"}
    return run_tool(tool, *words, cwd=cwd, env=env)
