"""The training loader: the samples of a step are the same for any number of loader workers."""

import logging
import signal
from collections.abc import Iterator, Sequence
from functools import partial

import torch
from detectron2.config import CfgNode
from detectron2.data import MetadataCatalog
from detectron2.data.samplers import InferenceSampler
from detectron2.utils import comm
from torch.utils.data import DataLoader, Dataset

from oiv5_d2.problems import Problem
from oiv5_d2.table import to_text
from oiv5_d2.training.data.augmentations import Augment
from oiv5_d2.training.data.copy_paste import Sample
from oiv5_d2.training.data.image_mapper import ImageMapper
from oiv5_d2.training.data.learned import count_learned
from oiv5_d2.training.data.mapper import Mapper, build_mapper, derive_seed
from oiv5_d2.training.data.parcels import Parcel, pack, unpack
from oiv5_d2.training.data.records import Record, Records, read_records
from oiv5_d2.training.data.samplers import Batches, build_order, share_of

logger = logging.getLogger(__name__)

GRACE_SECONDS = 20  # that a loader worker goes on after SIGTERM


class Loader:
    """Yields this process's samples of one step after the other, from any step on.

    An image that was damaged since the run began is a `Problem`, from whichever worker.

    It is its own iterator. Images of a step are spread over the processes in turn, and a sample's
    seed comes from its position in the whole batch: neither processes nor loader workers change
    what is drawn.

    Args:
        records: one an image.
        mapper: makes a sample of a record and a seed.
        batches: which records belong to which step.
        seed: of the run.
        num_workers: processes that load; 0 loads here.
    """

    def __init__(
        self,
        records: Sequence[Record],
        mapper: Mapper,
        batches: Batches,
        seed: int,
        num_workers: int,
    ) -> None:
        self._samples = _Samples(records, mapper)
        self._batches, self._seed, self._num_workers = batches, seed, num_workers
        self.start_at(0)

    @property
    def num_images(self) -> int:
        """To train on: of one epoch."""
        return len(self._samples)

    def first(self, count: int) -> list[Sample]:
        """Return some samples of the next step, loaded here; that step still has them."""
        pairs = next(iter(_Seeded(self._batches, self._seed, self._next_step)))
        found = (self._samples[pair] for pair in pairs[:count])
        return [sample for sample in found if not isinstance(sample, Problem)]

    def start_at(self, step: int) -> None:
        """Let the samples of `step` be the next ones."""
        self._next_step = step
        self._iterator: Iterator[list[Sample] | Parcel] | None = None

    def close(self) -> None:
        """End the loader workers."""
        self.start_at(self._next_step)

    def __iter__(self) -> "Loader":
        return self

    def __next__(self) -> list[Sample]:
        if self._iterator is None:  # only now, so that no worker loads what nobody asked for
            self._iterator = iter(self._build(self._next_step))
        samples = next(self._iterator)
        if isinstance(samples, Parcel):
            samples = unpack(samples)
        for sample in samples:
            if isinstance(sample, Problem):  # a worker's exception would come as a page of text
                raise sample
        return samples

    def _build(self, first: int) -> DataLoader[Sample | Problem]:
        return DataLoader(
            self._samples,
            batch_sampler=_Seeded(self._batches, self._seed, first),
            num_workers=self._num_workers,
            multiprocessing_context=start_method(self._samples.records, self._num_workers),
            collate_fn=pack if self._num_workers else list,
            worker_init_fn=outlive_signals,
            generator=torch.Generator(),  # or it would draw from the global one
        )


class _Seeded:
    """Yields this process's (index, seed) pairs of each step from `first` on."""

    def __init__(self, batches: Batches, seed: int, first: int) -> None:
        self._batches, self._seed, self._first = batches, seed, first

    def __iter__(self) -> Iterator[list[tuple[int, int]]]:
        rank, world_size = comm.get_rank(), comm.get_world_size()
        for step, batch in enumerate(self._batches.from_step(self._first), self._first):
            mine = range(rank, len(batch), world_size)
            yield [(batch[i], derive_seed(self._seed, step, i)) for i in mine]


class _Samples(Dataset["Sample | Problem"]):
    def __init__(self, records: Sequence[Record], mapper: Mapper) -> None:
        self.records, self._mapper = records, mapper

    def __len__(self) -> int:
        return len(self.records)

    def __getitem__(self, pair: tuple[int, int]) -> Sample | Problem:
        index, seed = pair
        try:
            return self._mapper(self.records[index], seed)
        except Problem as problem:
            return problem


def outlive_signals(_: int) -> None:
    """Let the main process end its step when a signal is sent to all processes of the run.

    Ctrl-C is, and so is Slurm's SIGUSR1 before the time limit. To be called in a loader worker.
    """
    for number in (signal.SIGINT, signal.SIGUSR1):
        signal.signal(number, signal.SIG_IGN)
    signal.signal(signal.SIGTERM, lambda *_: signal.alarm(GRACE_SECONDS))  # which ends it


def start_method(records: Sequence[Record], num_workers: int) -> str | None:
    """Return how loader workers start; None for PyTorch's own way, which is to fork.

    The threads that read from a bucket do not live on in a fork of a process that has read there.
    """
    return "spawn" if num_workers and getattr(records, "is_remote", False) else None


def find_records(cfg: CfgNode, names: Sequence[str] | None = None) -> Records:
    """Return the images of some data sets, or of ``DATASETS.TRAIN``, with something to learn."""
    names = cfg.DATASETS.TRAIN if names is None else names
    found = read_records(names, cfg.ANNOTATION.boxes if "ANNOTATION" in cfg else None)
    return found.with_targets() if cfg.DATALOADER.FILTER_EMPTY_ANNOTATIONS else found


def build_train_loader(cfg: CfgNode, augment: Augment, data_share: float = 1.0) -> Loader:
    """Return the loader of ``DATASETS.TRAIN`` as ``DATALOADER`` and ``INPUT`` say.

    Args:
        cfg: frozen; its ``SEED`` is the run's.
        augment: the steps, as in the configs.
        data_share: of the images to train on, above 0 and at most 1.

    Raises:
        Problem: SETTING, an unknown sampler or step, or a value out of range.
    """
    loading, is_partial = cfg.DATALOADER, "ANNOTATION" in cfg
    found = find_records(cfg)
    records = found.chosen(share_of(len(found), data_share, cfg.SEED))
    objects = records.objects()
    counted = objects.only(objects.is_target) if is_partial else objects
    order = build_order(loading.SAMPLER_TRAIN, counted, loading.REPEAT_THRESHOLD)
    groups = records.is_wide if loading.ASPECT_RATIO_GROUPING else None
    batches = Batches(order, groups, cfg.SOLVER.IMS_PER_BATCH, cfg.SEED)
    logger.info("Training on %d images, %s", len(records), loading.SAMPLER_TRAIN)
    classes = MetadataCatalog.get(cfg.DATASETS.TRAIN[0]).thing_classes
    level = logging.INFO if is_partial else logging.DEBUG  # for the log alone
    logger.log(level, "What is learned:\n%s", to_text(count_learned(records, order, classes)))
    mapper = build_mapper(cfg, augment, records)
    return Loader(records, mapper, batches, cfg.SEED, loading.NUM_WORKERS)


class EvaluationLoader(DataLoader[list[Sample]]):
    """Raises what a loader worker hands over as a problem, which PyTorch would make a page of."""

    def __iter__(self) -> Iterator[list[Sample]]:  # type: ignore[override]
        for samples in super().__iter__():
            if isinstance(samples, Problem):
                raise samples
            yield samples


def build_test_loader(cfg: CfgNode, name: str) -> EvaluationLoader:
    """Return the loader of a data set to be evaluated: the images of this process, one by one.

    They are those of Detectron2's ``build_detection_test_loader``, and so is every pixel.
    """
    records, num_workers = read_records([name]), cfg.DATALOADER.NUM_WORKERS
    return EvaluationLoader(
        records,  # type: ignore[arg-type]  # a sequence, which is all that is asked
        sampler=InferenceSampler(len(records)),
        num_workers=num_workers,
        multiprocessing_context=start_method(records, num_workers),
        collate_fn=partial(_map, ImageMapper(cfg, is_train=False)),
        worker_init_fn=outlive_signals,
    )


def _map(mapper: ImageMapper, records: Sequence[Record]) -> list[Sample] | Problem:
    try:
        return [mapper(record) for record in records]
    except Problem as problem:
        return problem
