"""The loader of images to validate on, with what a model should find in them."""

from functools import partial
from typing import Any

import torch
from detectron2.config import CfgNode
from detectron2.data.detection_utils import build_augmentation
from detectron2.utils import comm
from torch.utils.data import DataLoader

from oiv5_d2.training.data.image_mapper import ImageMapper
from oiv5_d2.training.data.loader import find_records, outlive_signals, start_method
from oiv5_d2.training.data.mapper import seeded
from oiv5_d2.training.data.partial import PartialMapper


def build_validation_loader(cfg: CfgNode) -> tuple[range, DataLoader[dict[str, Any]]]:
    """Return the loader of this process's images of ``DATASETS.TEST``, one after the other.

    They are resized as for an evaluation. Images without objects are left out where training
    leaves them out.

    Returns:
        The images' positions among all of them, and their samples.
    """
    records = find_records(cfg, cfg.DATASETS.TEST)
    settings = ImageMapper.from_config(cfg, is_train=True)
    settings["augmentations"] = build_augmentation(cfg, is_train=False)
    kind = PartialMapper if "ANNOTATION" in cfg else ImageMapper
    mapper = kind(**settings)
    mine = range(comm.get_rank(), len(records), comm.get_world_size())
    loader: DataLoader[dict[str, Any]] = DataLoader(
        records,  # type: ignore[arg-type]  # a sequence, which is all that is asked
        batch_size=None,
        sampler=mine,
        num_workers=cfg.DATALOADER.NUM_WORKERS,
        multiprocessing_context=start_method(records, cfg.DATALOADER.NUM_WORKERS),
        collate_fn=partial(_load, mapper),
        worker_init_fn=outlive_signals,
        generator=torch.Generator(),  # or it would draw from the global one
    )
    return mine, loader


def _load(mapper: ImageMapper, record: dict[str, Any]) -> dict[str, Any]:
    with seeded(0):  # choosing one size of one draws a number
        sample: dict[str, Any] = mapper(record)
        return sample
