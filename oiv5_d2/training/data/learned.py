"""What a training learns, class by class, and what it leaves out: counted, for the log."""

from collections.abc import Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from oiv5_d2.table import Table
from oiv5_d2.training.data.records import Records
from oiv5_d2.training.data.samplers import Order

COLUMNS = ("class", "with mask", "box only", "ignored", "unverified in", "share", "shown")


def count_learned(records: Records, order: Order, classes: Sequence[str]) -> Table:
    """Return a row a class: its objects, and how much of an epoch they are.

    ``with mask`` and ``box only`` are training targets. ``ignored`` are regions, and ``unverified
    in`` are images in which background proposals may be of the class. ``share`` is the class's
    share of all targets, ``shown`` that share in an epoch of the sampler.

    Args:
        records: as `oiv5_d2.training.data.records.read_records` returns them, with ``boxes``.
        order: draws an epoch.
        classes: display names, in the order of their ids.
    """
    objects, num_classes = records.objects(), len(classes)
    epoch = order(np.random.default_rng(0))
    times = np.bincount(epoch, minlength=objects.num_images)[objects.images]
    is_target, has_mask = objects.is_target, objects.has_mask
    kinds = (is_target & has_mask, is_target & ~has_mask, ~is_target)
    counts = [np.bincount(objects.categories[one], minlength=num_classes) for one in kinds]
    shown = np.bincount(objects.categories, times * is_target, num_classes)
    numbers = np.stack([*counts, np.array(records.count_unverified())])
    texts = [[f"{count:,}" for count in column] for column in numbers.tolist()]
    shares = [_shares(one) for one in (counts[0] + counts[1], shown)]
    rows = list(zip(classes, *texts, *shares, strict=True))
    return Table("What is learned", COLUMNS, rows)


def _shares(counts: NDArray[Any]) -> list[str]:
    return [f"{count / max(counts.sum(), 1):.1%}" for count in counts]
