import json
from functools import partial
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from oiv5_d2.conversion import coco_file, masks

CLASSES = ["Person", "Traffic light", "Car", "Traffic sign"]

pytestmark = [
    pytest.mark.filterwarnings("ignore:__array__ implementation doesn't accept a copy"),
    pytest.mark.usefixtures("clean_catalog"),
]


@pytest.fixture(scope="module")
def data_dir(tmp_path_factory):
    """Three images of one class each."""
    data_dir = tmp_path_factory.mktemp("project") / "data" / "blocks"
    (data_dir / "images" / "train").mkdir(parents=True)
    images, annotations = [], []
    for id_ in (1, 2, 3):
        mask = np.zeros((48, 64), dtype=bool)
        mask[10:30, 8 * id_ : 8 * id_ + 20] = True
        pixels = np.where(mask[..., None], 200, 60).astype(np.uint8).repeat(3, axis=2)
        Image.fromarray(pixels).save(data_dir / "images" / "train" / f"{id_:016x}.jpg")
        name = {"file_name": f"train/{id_:016x}.jpg", "open_images_id": f"{id_:016x}"}
        images.append({"id": id_, **name, "height": 48, "width": 64})
        found = {"id": id_, "image_id": id_, "category_id": id_, "iscrowd": 0, "area": 400}
        outline = {"bbox": [8.0 * id_, 10.0, 20.0, 20.0], "segmentation": masks.encode(mask)}
        annotations.append({**found, **outline, "ignore_reason": ""})
    coco_file.write(
        data_dir / "coco" / "train.json",
        {"info": {}, "categories": [{"id": i, "name": n} for i, n in enumerate(CLASSES, 1)]},
        map(coco_file.dumps, images),
        map(coco_file.dumps, annotations),
    )
    return data_dir


@pytest.fixture
def show(run_tool, data_dir, tmp_path):
    """Run the tool; return its output, or its error line."""
    names = ["data.name=blocks", f"data.dir={data_dir}", f"output={tmp_path / 'show'}"]
    return partial(run_tool, "show_data", *names)


def test_a_sheet_is_written_and_its_path_printed(show, tmp_path):
    path = Path(show("num_images=2").splitlines()[-1])
    assert path == tmp_path / "show" / "train.jpg"
    with Image.open(path) as sheet:
        assert 2 * 480 < sheet.size[0] < 3 * 480


def test_nothing_but_the_sheet_is_left(show, tmp_path):
    show()
    assert [path.name for path in (tmp_path / "show").iterdir()] == ["train.jpg"]


def test_single_objects_are_shown(show):
    assert Path(show("objects=true", "columns=2").splitlines()[-1]).name == "train_objects.jpg"


def test_augmented_images_go_through_the_experiments_mapper(show):
    out = show("+experiment=quickstart", "augmented=true", "columns=3", "num_images=6")
    path = Path(out.splitlines()[-1])
    assert path.name == "train_augmented.jpg"
    with Image.open(path) as sheet:
        assert sheet.size[0] > 3 * 480


@pytest.mark.parametrize(
    ("argument", "facts"),
    [
        ("classes=[Bus]", ["classes=Bus", "Person, Traffic light", "\n  "]),
        ("image_ids=[00ff]", ["00ff", "train.json", "\n  "]),
        ("occlusion=smaller", ["blocks_train", "overlapping", "\n  "]),
        ("occlusion=depth", ["data.occlusion=depth", "smaller", "\n  "]),
        ("clicks=true", ["release", "\n  "]),
        ("colums=3", ["colums", "columns?"]),
        ("+d2.SOLVER.BASE_LRR=1.0", ["d2.SOLVER.BASE_LRR", "d2.SOLVER.BASE_LR"]),
        ("part=test", ["test.json", "\n  ", "parts there are train"]),
    ],
)
def test_a_mistake_is_a_line_or_two(show, argument, facts):
    error = show(argument)
    assert error.startswith("error: ") and error.count("\n") == 1 + ("\n  " in error)
    for fact in facts:
        assert fact in error


def test_label_names_come_from_the_subset(show, data_dir, tmp_path):
    plain = (show(), (tmp_path / "show" / "train.jpg").read_bytes())[1]
    coco_path = data_dir / "coco" / "train.json"
    text = coco_path.read_text()
    coco_path.write_text(text.replace('"ignore_reason"', '"label":"/m/1","ignore_reason"'))
    (data_dir / "subset").mkdir()
    labels = {"labels": {"Woman": {"mid": "/m/1"}}}
    (data_dir / "subset" / "train.json").write_text(json.dumps(labels))
    show()
    assert (tmp_path / "show" / "train.jpg").read_bytes() != plain
    coco_path.write_text(text)
