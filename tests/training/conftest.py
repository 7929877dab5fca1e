"""A prepared data set of four small images, and the run that learns it."""

import json
from collections.abc import Callable, Iterator, Sequence
from copy import deepcopy
from dataclasses import replace
from functools import cache, partial
from pathlib import Path

import numpy as np
import pytest
import torch
from hydra import compose, initialize_config_dir
from omegaconf import DictConfig, OmegaConf
from PIL import Image
from pycocotools import mask as mask_util

from oiv5_d2.console.errors import CONFIG_DIR
from oiv5_d2.evaluation import evaluator
from oiv5_d2.evaluation.evaluator import build_evaluator
from oiv5_d2.evaluation.scoring import score
from oiv5_d2.jobs import OpenScreen, no_screen
from oiv5_d2.runs.prepared import locate
from oiv5_d2.training.catalog import register
from oiv5_d2.training.config import to_cfg
from oiv5_d2.training.features import Features
from oiv5_d2.training.job import Settings
from oiv5_d2.training.launch import Launch
from oiv5_d2.training.run import train
from oiv5_d2.training.trainer import Trainer

from detectron2.config import CfgNode  # isort: skip

# As few weights as Detectron2's code allows; a step takes a tenth of a second.
TINY = (
    "+experiment=quickstart",
    "data.name=blocks",
    "d2.MODEL.RESNETS.DEPTH=50",
    "d2.MODEL.RESNETS.STEM_OUT_CHANNELS=4",
    "d2.MODEL.RESNETS.WIDTH_PER_GROUP=4",
    "d2.MODEL.RESNETS.RES2_OUT_CHANNELS=8",
    "d2.MODEL.FPN.OUT_CHANNELS=8",
    "d2.MODEL.ROI_BOX_HEAD.FC_DIM=16",
    "d2.MODEL.ROI_MASK_HEAD.CONV_DIM=8",
    "d2.MODEL.ROI_MASK_HEAD.NUM_CONV=1",
    "d2.SOLVER.IMS_PER_BATCH=2",
    "d2.SOLVER.WARMUP_ITERS=1",
    "d2.DATALOADER.NUM_WORKERS=0",
    "d2.INPUT.MIN_SIZE_TRAIN=[48,64]",
    "d2.INPUT.MIN_SIZE_TEST=64",
    "d2.TEST.DETECTIONS_PER_IMAGE=20",
)

CLASSES = ("Person", "Traffic light", "Car", "Traffic sign")


@pytest.fixture(scope="session", autouse=True)
def few_resamples() -> Iterator[None]:
    """Compute intervals of 20 resamples, not of 1,000; how many are enough is tested elsewhere."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(evaluator, "score", partial(score, resamples=20))
        yield


@pytest.fixture(scope="session")
def prepared_dir(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """`data.dir` of a data set `blocks`: one bright block of every class in each image."""
    data_dir = tmp_path_factory.mktemp("blocks")
    for part in ("train", "validation", "test"):
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

    @cache
    def compose_train(*overrides: str) -> DictConfig:
        with initialize_config_dir(str(CONFIG_DIR), version_base="1.3"):
            # W&B's tags name Hydra's own choices, which only the command line knows.
            return compose("train", [*overrides, "logger=none"])

    return lambda *overrides: deepcopy(compose_train(*overrides))


@pytest.fixture(scope="session")
def tiny_words() -> tuple[str, ...]:
    """The command line of the tiny model's run."""
    return TINY


@pytest.fixture
def start(composed, prepared_dir, tmp_path, clean_catalog):
    """Train the tiny model in `run` of an empty folder, or another one; return the metric."""

    def start_run(
        *overrides: str,
        resume: bool = False,
        name: str = "run",
        classes: Sequence[str] = CLASSES,
        data_dir: Path = prepared_dir,
        open_screen: OpenScreen = no_screen,
        **more: object,
    ) -> float:
        run = composed(*TINY, *overrides)
        run.data.classes = list(classes)
        cfg = to_cfg(run, str(tmp_path / name))
        settings = replace(settings_of(run, cfg, data_dir, resume), **more)
        return train(cfg, settings, build_evaluator, open_screen)

    return start_run


def settings_of(run: DictConfig, cfg: CfgNode, data_dir: Path, resume: bool) -> Settings:
    names = [*cfg.DATASETS.TRAIN, *cfg.DATASETS.TEST, *filter(None, [run.trainer.test])]
    return Settings(
        name="blocks",
        question="Does it run?",
        classes=tuple(run.data.classes),
        datasets=tuple(locate("blocks", data_dir, names)),
        resume=resume,
        wandb={},
        launch=Launch(**OmegaConf.to_container(run.launch, resolve=True)),
        features=Features(run.metric, OmegaConf.to_container(run.augment), **run.trainer),
    )


@pytest.fixture(scope="session")
def weights() -> Callable[[Path], dict[str, torch.Tensor]]:
    """Return the weights in a checkpoint."""
    return lambda path: torch.load(path, weights_only=True)["model"]


@pytest.fixture
def build_trainer(composed, prepared_dir, tmp_path, clean_catalog):
    """Make the tiny model's trainer in `name` of an empty folder, always with the same weights."""
    built = []

    def build(*words: str, name: str = "run", **features: object) -> Trainer:
        run = composed(*TINY, "d2.DATASETS.TEST=[]", *words)
        cfg = to_cfg(run, str(tmp_path / name))
        register(locate("blocks", prepared_dir, cfg.DATASETS.TRAIN), run.data.classes)
        torch.manual_seed(1)
        built.append(Trainer(cfg, None, list, Features("segm/AP", **features), {}))
        return built[-1]

    yield build
    for trainer in built:
        close(trainer)


def close(trainer: Trainer) -> None:
    """Close the files of a trainer, whether it has trained or not."""
    for hook in trainer._hooks:
        for writer in getattr(hook, "_writers", []):
            writer.close()
