"""How one image is loaded and augmented: Detectron2's mapper, with a seed for every sample."""

import random
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch
from detectron2.config import CfgNode

from oiv5_d2.conversion.images import check_images
from oiv5_d2.problems import Kind, Problem, Remedy
from oiv5_d2.training.data.augmentations import Augment, build_pipeline
from oiv5_d2.training.data.copy_paste import Mix, Sample
from oiv5_d2.training.data.image_mapper import ImageMapper
from oiv5_d2.training.data.partial import PartialMapper
from oiv5_d2.training.data.records import PLACE, Record

Mapper = Callable[[Record, int], Sample]


def build_mapper(cfg: CfgNode, augment: Augment, records: Sequence[Record]) -> Mapper:
    """Return a function of (record, seed) that loads and augments one image for training.

    Detectron2's augmentations draw from NumPy's global generator, and so do ours. Here it is seeded
    for each sample, and put back afterwards, so that a sample depends on its record, its seed and,
    where images are mixed, on `records` only.

    Args:
        cfg: whose ``INPUT`` says what the steps do not.
        augment: the steps, as in the configs.
        records: of the images that may be mixed in; only read when one is drawn.

    Raises:
        Problem: SETTING, as `build_pipeline` raises it.
    """
    pipeline = build_pipeline(cfg, augment)
    kind = PartialMapper if "ANNOTATION" in cfg else ImageMapper
    settings = kind.from_config(cfg, is_train=True)
    settings["augmentations"] = pipeline.steps
    settings["recompute_boxes"] = pipeline.cuts_objects and cfg.MODEL.MASK_ON
    one_image = kind(**settings)
    one_image.resize = pipeline.resize
    return _SampleMapper(one_image, pipeline.mixes, records)


@dataclass(frozen=True)
class _SampleMapper:
    one_image: ImageMapper
    mixes: Sequence[Mix]
    records: Sequence[Record]

    def __call__(self, record: Record, seed: int) -> Sample:
        with seeded(seed):
            sample = self._load(record)
            for mix in self.mixes:
                sample = mix(sample, self._draw_another)
            return sample

    def _draw_another(self) -> Sample:
        return self._load(self.records[np.random.randint(len(self.records))])

    def _load(self, record: Record) -> Sample:
        """Return an image's sample.

        Raises:
            Problem: DAMAGED, the image is not what it was when the run began.
        """
        try:
            sample: Sample = self.one_image(record)
        except (OSError, ValueError):
            if PLACE in record:
                raise  # its bytes are as they were
            image = {**record, "file_name": Path(record["file_name"]).name}
            folder = Path(record["file_name"]).parent
            for fault in check_images([image], folder, workers=1, checked_path=None):
                path, remedy = record["file_name"], Remedy.PREPARE_AGAIN
                raise Problem(Kind.DAMAGED, path, fault.what, remedy=remedy) from None
            raise
        return sample


@contextmanager
def seeded(seed: int) -> Iterator[None]:
    """Seed the global generators of Python, NumPy and PyTorch (CPU), and restore them at the end.

    Args:
        seed: below 2**32.
    """
    python_state, numpy_state = random.getstate(), np.random.get_state()
    with torch.random.fork_rng(devices=[]):
        try:
            random.seed(seed)
            np.random.seed(seed)
            torch.default_generator.manual_seed(seed)  # `torch.manual_seed` is for GPUs, too
            yield
        finally:
            random.setstate(python_state)
            np.random.set_state(numpy_state)


def derive_seed(*numbers: int) -> int:
    """Return a seed below 2**32 that depends on all numbers, such as run seed, step, position."""
    return int(np.random.SeedSequence(numbers).generate_state(1)[0])
