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


@pytest.fixture
def street(tmp_path: Path):
    """Two pictures, a person and two cars to find, a car to ignore; registered as `street`."""
    image_dir, coco_path = tmp_path / "images", tmp_path / "street.json"
    image_dir.mkdir()
    for id_ in (1, 2):
        Image.new("RGB", (WIDTH, HEIGHT), (90, 90, 90)).save(image_dir / f"{id_}.jpg")
    content = {
        "info": {},
        "images": [
            {"id": i, "file_name": f"{i}.jpg", "height": HEIGHT, "width": WIDTH} for i in (1, 2)
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
    register_coco_instances("street", {}, str(coco_path), str(image_dir))
    yield SimpleNamespace(name="street", content=content, coco_path=coco_path, image_dir=image_dir)
    DatasetCatalog.remove("street")
    MetadataCatalog.pop("street", None)


@pytest.fixture
def cfg():
    cfg = get_cfg()
    cfg.DATALOADER.NUM_WORKERS = 0
    cfg.MODEL.MASK_ON = True
    return cfg
