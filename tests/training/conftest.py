"""A prepared data set of four small images, and the run that learns it."""

import json
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
from hydra import compose, initialize_config_dir
from omegaconf import DictConfig
from PIL import Image
from pycocotools import mask as mask_util

from oiv5_d2.console.errors import CONFIG_DIR

CLASSES = ("Person", "Traffic light", "Car", "Traffic sign")


@pytest.fixture(scope="session")
def prepared_dir(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """`data.dir` of a data set `blocks`: one bright block of every class in each image."""
    data_dir = tmp_path_factory.mktemp("blocks")
    for part in ("train", "validation"):
        write_part(data_dir, part)
    return data_dir


def write_part(data_dir: Path, part: str) -> None:
    images, annotations = [], []
    rng = np.random.default_rng(len(part))
    (data_dir / "images" / part).mkdir(parents=True)
    for image_id in range(1, 5):
        pixels = rng.integers(0, 40, (64, 96, 3), dtype=np.uint8)
        for category_id in range(1, 5):
            mask = np.zeros((64, 96), np.uint8, order="F")
            x, y = 24 * (category_id - 1) + 2, int(rng.integers(4, 24))
            mask[y : y + 32, x : x + 18] = 1
            pixels[mask > 0] = 60 * category_id
            annotations.append(annotate(len(annotations) + 1, image_id, category_id, mask))
        file_name = f"{part}/{image_id}.png"
        Image.fromarray(pixels).save(data_dir / "images" / file_name)
        images.append({"id": image_id, "file_name": file_name, "height": 64, "width": 96})
    categories = [{"id": i, "name": name} for i, name in enumerate(CLASSES, start=1)]
    coco = {"images": images, "annotations": annotations, "categories": categories}
    (data_dir / "coco").mkdir(exist_ok=True)
    (data_dir / "coco" / f"{part}.json").write_text(json.dumps(coco))


def annotate(annotation_id: int, image_id: int, category_id: int, mask: np.ndarray) -> dict:
    rle = mask_util.encode(mask)
    return {
        "id": annotation_id,
        "image_id": image_id,
        "category_id": category_id,
        "bbox": mask_util.toBbox(rle).tolist(),
        "area": int(mask.sum()),
        "iscrowd": 0,
        "segmentation": {"size": rle["size"], "counts": rle["counts"].decode()},
    }


@pytest.fixture(scope="session")
def composed() -> Callable[..., DictConfig]:
    """Compose configs/train.yaml with overrides, as the command line would."""

    def compose_train(*overrides: str) -> DictConfig:
        with initialize_config_dir(str(CONFIG_DIR), version_base="1.3"):
            # W&B's tags name Hydra's own choices, which only the command line knows.
            return compose("train", [*overrides, "logger=none"])

    return compose_train
