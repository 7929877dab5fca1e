import json
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pytest
from PIL import Image
from pycocotools import mask as run_lengths

from oiv5_d2.training import compat  # noqa: F401  before Detectron2, which it makes importable

from detectron2.config import get_cfg  # isort: skip
from detectron2.data import DatasetCatalog, MetadataCatalog  # isort: skip
from detectron2.data.datasets import register_coco_instances  # isort: skip

HEIGHT, WIDTH = 96, 160
CLASSES = ("Person", "Car", "Traffic light")  # nobody drew a light


def encode(mask):
    rle = run_lengths.encode(np.asfortranarray(mask, dtype=np.uint8))
    return {"size": rle["size"], "counts": rle["counts"].decode("ascii")}


def annotate(id_, image_id, category_id, box, iscrowd=0):
    """A rectangle of an object, its top left corner cut off so that mask and box differ."""
    x, y, w, h = box
    mask = np.zeros((HEIGHT, WIDTH), dtype=bool)
    mask[y : y + h, x : x + w] = True
    mask[y : y + h // 4, x : x + w // 4] = False
    return {
        "id": id_,
        "image_id": image_id,
        "category_id": category_id,
        "bbox": [float(v) for v in box],
        "area": int(mask.sum()),
        "iscrowd": iscrowd,
        "segmentation": encode(mask),
    }


def write_street(image_dir, coco_path):
    """Two images, a person and two cars to find, a car to ignore."""
    image_dir.mkdir(parents=True)
    coco_path.parent.mkdir(exist_ok=True)
    names = {i: f"{image_dir.name}/{i}.jpg" for i in (1, 2)}
    for name in names.values():
        Image.new("RGB", (WIDTH, HEIGHT), (90, 90, 90)).save(image_dir.parent / name)
    content = {
        "info": {},
        "images": [
            {"id": i, "file_name": name, "height": HEIGHT, "width": WIDTH}
            for i, name in names.items()
        ],
        "categories": [{"id": i, "name": name} for i, name in enumerate(CLASSES, start=1)],
        "annotations": [
            annotate(1, 1, 1, (10, 20, 20, 60)),
            annotate(2, 1, 2, (60, 30, 50, 40)),
            annotate(3, 2, 2, (20, 10, 100, 70)),
            annotate(4, 2, 2, (130, 40, 20, 20), iscrowd=1),
        ],
    }
    coco_path.write_text(json.dumps(content))
    return content


@pytest.fixture
def street_folder(tmp_path: Path):
    """A prepared data folder with the parts `train` and `validation`."""
    data_dir = tmp_path / "data" / "street"
    for part in ("train", "validation"):
        write_street(data_dir / "images" / part, data_dir / "coco" / f"{part}.json")
    return data_dir


@pytest.fixture
def street(street_folder):
    """Its part `train`, registered as `street`."""
    coco_path = street_folder / "coco" / "train.json"
    register_coco_instances("street", {}, str(coco_path), str(street_folder / "images"))
    yield SimpleNamespace(name="street", content=json.loads(coco_path.read_text()))
    DatasetCatalog.remove("street")
    MetadataCatalog.pop("street", None)


@pytest.fixture
def cfg():
    cfg = get_cfg()
    cfg.DATALOADER.NUM_WORKERS = 0
    cfg.MODEL.MASK_ON = True
    return cfg
