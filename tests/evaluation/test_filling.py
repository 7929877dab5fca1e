import json

import numpy as np
import pytest
import torch
from hydra import compose, initialize_config_dir
from PIL import Image
from raising import refused

from oiv5_d2.console.errors import CONFIG_DIR
from oiv5_d2.conversion import coco_file, masks
from oiv5_d2.conversion.packing import pack
from oiv5_d2.evaluation.filling import fill, masker_of_file, masker_of_run
from oiv5_d2.problems import Kind
from oiv5_d2.runs.prepared import Prepared, check_truth
from oiv5_d2.training.config import to_cfg

from detectron2.modeling import build_model  # isort: skip

SIZE = (40, 60)
CLASSES = ("Person", "Car")
OBJECTS = (  # image, category, (x, y, w, h), why it has no mask
    (1, 1, (4.0, 8.0, 20.0, 30.0), ""),
    (1, 2, (30.0, 10.0, 24.0, 20.0), "no mask"),
    (1, 2, (2.0, 2.0, 50.0, 30.0), "group of"),
    (2, 2, (10.0, 10.0, 30.0, 20.0), "no mask"),
)


@pytest.fixture
def dataset(tmp_path):
    images = [
        {"id": i, "file_name": f"{i}.png", "height": SIZE[0], "width": SIZE[1]} for i in (1, 2)
    ]
    for image in images:
        pixels = np.full((*SIZE, 3), (200, 100 * image["id"], 0), np.uint8)
        Image.fromarray(pixels).save(tmp_path / image["file_name"])
    annotations = [
        {
            "id": number,
            "image_id": image_id,
            "category_id": category_id,
            "bbox": list(box),
            "area": 1,
            "iscrowd": int(bool(reason)),
            "segmentation": masks.encode(np.ones(SIZE, bool)),
            "ignore_reason": reason,
        }
        for number, (image_id, category_id, box, reason) in enumerate(OBJECTS, start=1)
    ]
    categories = [{"id": i, "name": name} for i, name in enumerate(CLASSES, start=1)]
    path = tmp_path / "train.json"
    lines = (map(coco_file.dumps, records) for records in (images, annotations))
    coco_file.write(path, {"info": {}, "categories": categories}, *lines)
    return Prepared("street_train", path, tmp_path)


def left_half(image, boxes, classes):
    """Find the left half of each box, surely in the first image and hardly in the second."""
    found = torch.zeros(len(boxes), *image.shape[:2])
    for mask, (x0, y0, x1, y1) in zip(found, boxes.int().tolist(), strict=True):
        mask[y0:y1, x0 : (x0 + x1) // 2] = 0.9 if image[0, 0, 1] == 100 else 0.6
    assert classes.tolist() == [1] * len(boxes)
    return found


def test_boxes_of_real_objects_get_masks_that_are_marked(dataset, tmp_path):
    path = tmp_path / "train_pseudo.json"
    assert fill(dataset, left_half, 0.8, path) == (2, 1)
    before, after = (json.loads(one.read_text()) for one in (dataset.json_path, path))
    assert after["images"] == before["images"]
    for number in (0, 2, 3):  # a mask, a group, and one of which the masker is not sure
        assert after["annotations"][number] == before["annotations"][number]
    filled = after["annotations"][1]
    assert (filled["iscrowd"], filled["ignore_reason"], filled["pseudo"]) == (0, "", True)
    assert filled["score"] == pytest.approx(0.9, abs=1e-4)
    assert filled["bbox"] == before["annotations"][1]["bbox"]
    assert filled["area"] == 12 * 20
    assert masks.tight_box(masks.decode(filled["segmentation"])) == (30, 10, 12, 20)


def test_no_evaluation_takes_masks_of_a_model_as_truth(dataset, tmp_path):
    check_truth(dataset, "part")
    path = tmp_path / "train_pseudo.json"
    fill(dataset, left_half, 0.8, path)
    with refused(Kind.SETTING, key="part", about="train_pseudo"):
        check_truth(dataset._replace(json_path=path, name="street_train_pseudo"), "part")


class Boxes(torch.nn.Module):
    def forward(self, image: torch.Tensor, boxes: torch.Tensor) -> torch.Tensor:
        y, x = torch.arange(image.shape[1])[:, None], torch.arange(image.shape[2])
        x0, y0, x1, y1 = (side[:, None, None] for side in boxes.unbind(1))
        return ((x >= x0) & (x < x1) & (y >= y0) & (y < y1)).float()


def test_a_model_of_a_file_fills_in_masks(dataset, tmp_path):
    path, any_size = tmp_path / "boxes.pt2", torch.export.Dim.DYNAMIC
    inputs = torch.zeros(3, 40, 60, dtype=torch.uint8), torch.zeros(2, 4)
    shapes = {1: any_size, 2: any_size}, {0: any_size}
    torch.export.save(torch.export.export(Boxes(), inputs, dynamic_shapes=shapes), path)
    assert fill(dataset, masker_of_file(path), 0.8, tmp_path / "filled.json") == (2, 2)
    filled = json.loads((tmp_path / "filled.json").read_text())["annotations"][3]
    assert filled["area"] == 600


def test_a_file_that_is_no_model_is_refused(tmp_path):
    with refused(Kind.ABSENT, key="masker"):
        masker_of_file(tmp_path / "never.pt2")
    (tmp_path / "text.pt2").write_text("hello")
    with refused(Kind.DAMAGED, key="masker"):
        masker_of_file(tmp_path / "text.pt2")


def test_a_run_s_mask_head_is_given_the_boxes(tmp_path):
    words = ("+experiment=quickstart", "logger=none", "annotation=partial")
    sizes = ("d2.INPUT.MIN_SIZE_TEST=64", "d2.MODEL.FPN.OUT_CHANNELS=16", "data.classes=[A,B]")
    weights = tmp_path / "model.pth"
    with initialize_config_dir(str(CONFIG_DIR), version_base="1.3"):
        run = compose("train", [*words, *sizes, f"d2.MODEL.WEIGHTS={weights}"])
    cfg = to_cfg(run, str(tmp_path))
    torch.save({"model": build_model(cfg).state_dict()}, weights)
    box = torch.tensor([[10.0, 5.0, 40.0, 35.0]])
    pixels = np.random.default_rng(0).integers(0, 256, (*SIZE, 3), dtype=np.uint8)
    found = masker_of_run(cfg)(pixels, box, torch.tensor([1]))
    assert found.shape == (1, *SIZE)
    assert 0.3 < found[0, 8:32, 13:37].mean() < 0.7  # untrained: it does not know
    found[0, 5:35, 10:40] = 0
    assert found.max() < 0.45  # outside the box there is a soft edge at most


def test_an_image_that_is_gone_is_named(dataset, tmp_path):
    (tmp_path / "2.png").unlink()
    with refused(Kind.DAMAGED, about=tmp_path / "2.png"):
        fill(dataset, left_half, 0.5, tmp_path / "filled.json")


def test_a_filled_part_is_read_from_the_pack_of_the_one_that_it_was_made_of(dataset, tmp_path):
    json_path = tmp_path / "data/coco/train.json"
    json_path.parent.mkdir(parents=True)
    dataset.json_path.rename(json_path)
    pack(json_path, dataset.images_dir, 1)
    moved = dataset._replace(json_path=json_path)
    expected = [moved.images.read(f"{i}.png") for i in (1, 2)]
    for path in dataset.images_dir.glob("*.png"):
        path.unlink()
    path = json_path.with_name("train_pseudo.json")
    assert fill(moved, left_half, 0.8, path) == (2, 1)
    filled = moved._replace(json_path=path).images
    assert [filled.read(f"{i}.png") for i in (1, 2)] == expected
