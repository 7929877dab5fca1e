import json
import shutil
from pathlib import Path

import pytest
import yaml
from hypothesis import given
from hypothesis import strategies as st
from PIL import Image
from raising import refused

from oiv5_d2.problems import Kind, Remedy
from oiv5_d2.reporting.index import write_index
from oiv5_d2.reporting.record import (
    NO_ANSWER,
    read_answer,
    shorten,
    write_record,
)

pytestmark = pytest.mark.filterwarnings("ignore:__array__ implementation doesn't accept a copy")
IMAGES = ("curves.png", "predictions.jpg", "confusion.png", "precision.png")
ROOT = Path("/home/someone/project")
NAMES = st.text("abcdefghij-_.0123456789", min_size=1, max_size=8).filter(lambda s: set(s) != {"."})


@pytest.fixture(scope="module")
def record_dir(kept_run_dir, tmp_path_factory, street):
    """A record, read only."""
    experiments_dir = tmp_path_factory.mktemp("experiments")
    return write_record(kept_run_dir, experiments_dir, street.root, None, with_images=True)


def test_a_record_has_its_files_and_they_are_small(record_dir):
    names = {path.name for path in record_dir.iterdir()}
    assert names == {
        *("README.md", "record.json", "config.yaml", "metrics.csv"),
        *IMAGES,
    }
    images = [record_dir / name for name in IMAGES]
    assert sum(path.stat().st_size for path in images) < 700_000
    for path in images:
        with Image.open(path) as image:
            image.load()


@pytest.mark.parametrize(
    "fact",
    [
        "# street\n",
        "- **Question** Does it find people | cars?\n",
        f"- **Answer** {NO_ANSWER}\n",
        "- **Run** `python tools/train_net.py +experiment=street data.dir=data/street`\n",
        "- **Code** 0123456789abcdef0123456789abcdef01234567, with uncommitted changes\n",
        "6 images, 11 instances",
        "- **On** 2 cores of Fast(R) Processor; torch 2.9, detectron2 0.6, python 3.11.7; "
        "1.50 h; seed 7\n",
        "- **W&B** offline run abc12def\n",
        "| data | images | segm AP | AP50 | AP75 | APs | APm | APl | box AP | OI AP50 |\n",
        "| street_test | 6 | 41.5 | 41.5 | 41.5 | 41.5 | 41.5 | 41.5 | 50.0 | 70.0 |\n",
        "| street_test | Person | 5 | 41.5 | 41.5 | 50.0 | 50.0 | 80.0 |\n",
        "| street_test | Traffic light | 0 | - | - | - | - | - |\n",
        "Traffic light: no object to find in street_test",
        *(f"]({name})" for name in IMAGES),
        "| class | threshold | precision | recall | F1 | ECE |\n",
        "| over 10 % from the border | ",
    ],
)
def test_the_page_says(record_dir, fact):
    assert fact in (record_dir / "README.md").read_text()


def test_the_page_names_the_data_by_its_fingerprint(record_dir, kept_run_dir):
    page = (record_dir / "README.md").read_text()
    for name, files in json.loads((kept_run_dir / "run.json").read_text())["data"].items():
        assert f"{name} sha256 {files['sha256'][:12]}, 6 images" in page


def test_no_absolute_path_gets_into_a_record(record_dir, kept_run_dir, street):
    write_index(record_dir.parent)
    texts = [p.read_bytes() for p in record_dir.parent.rglob("*") if p.is_file()]
    assert len(texts) == 9
    for text in texts:
        for secret in (kept_run_dir.parents[2], street.root, record_dir.parent, "/home", "someone"):
            assert str(secret).encode() not in text


def test_the_whole_configuration_is_kept(record_dir):
    config = yaml.safe_load((record_dir / "config.yaml").read_text())
    assert config["MODEL"] == {"WEIGHTS": "weights.pkl", "MASK_ON": True}
    assert config["OUTPUT_DIR"] == "2026-01-02_03-04-05"


def test_metrics_are_the_evaluations(record_dir):
    lines = (record_dir / "metrics.csv").read_text().splitlines()
    assert lines == ["iteration,segm/AP,segm/AP50", "40,41.50,77.25"]


def test_the_same_run_gives_the_same_bytes(record_dir, kept_run_dir, tmp_path, street):
    again = write_record(kept_run_dir, tmp_path, street.root, None, with_images=True)
    first, second = ({p.name: p.read_bytes() for p in d.iterdir()} for d in (record_dir, again))
    assert first == second


def test_an_answer_is_kept_when_the_record_is_written_again(run_dir, tmp_path, street):
    def write():
        return write_record(run_dir, tmp_path, street.root, None, with_images=False) / "README.md"

    readme = write()
    readme.write_text(readme.read_text().replace(NO_ANSWER, "Yes: +3 AP for | an hour."))
    assert write().read_text().count("- **Answer** Yes: +3 AP for | an hour.\n") == 1
    assert read_answer(readme) == "Yes: +3 AP for | an hour."


def test_a_record_without_images_has_another_name_and_no_link_to_them(run_dir, tmp_path, street):
    other = write_record(run_dir, tmp_path, street.root, "again", with_images=False)
    assert other.name == "again" and (other / "README.md").read_text().startswith("# again\n")
    assert not (other / "predictions.jpg").exists()
    assert "predictions.jpg" not in (other / "README.md").read_text()


def test_a_run_that_was_never_evaluated_is_refused(run_dir, street, tmp_path):
    shutil.rmtree(run_dir / "evaluation")
    with refused(Kind.UNFINISHED, remedy=Remedy.EVALUATE, about=run_dir):
        write_record(run_dir, tmp_path, street.root, None, with_images=False)


def test_hardware_is_named_by_its_gpus_where_there_are_some(run_dir, street, tmp_path):
    path = run_dir / "run.json"
    record = json.loads(path.read_text())
    record["hardware"]["gpus"] = ["Big Chip"] * 8
    path.write_text(json.dumps(record))
    folder = write_record(run_dir, tmp_path, street.root, None, with_images=False)
    assert "- **On** 8 x Big Chip; torch" in (folder / "README.md").read_text()


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("/home/someone/project/data/mini", "data/mini"),
        ("/home/someone/project", "."),
        ("/home/someone/else/w.pth", "w.pth"),
        ("data.dir=/mnt/x/mini other=/mnt/y", "data.dir=mini other=y"),
        ("d2.DATASETS.TRAIN=[/a/b,/c/d]", "d2.DATASETS.TRAIN=[b,d]"),
        ("'/a/b c'", "'b c'"),
        ("detectron2://COCO/model.pkl", "detectron2://COCO/model.pkl"),
        ("https://host/a/b", "https://host/a/b"),
        ("data/mini and I/O", "data/mini and I/O"),
        ("0.5 / 0.95", "0.5 / 0.95"),
    ],
)
def test_paths_become_relative_and_the_rest_stays(text, expected):
    assert shorten(text, ROOT) == expected


@given(st.lists(NAMES, min_size=2, max_size=5), st.sampled_from(["{}", "a={}", "[{},1]", "x '{}'"]))
def test_no_folder_of_an_absolute_path_is_left(parts, around):
    path = "/" + "/".join(f"dir{part}" for part in parts)
    shortened = shorten(around.format(path), ROOT)
    assert shortened == around.format(f"dir{parts[-1]}")


def test_everything_nested_is_shortened_and_other_values_stay():
    value = {"a": ["/x/y", 1, None], "b": {"c": ("/x/z", True)}}
    assert shorten(value, ROOT) == {"a": ["y", 1, None], "b": {"c": ["z", True]}}
