"""What a training learns, class by class, and what it leaves out: counted, for the log."""

from collections import Counter
from collections.abc import Sequence

import numpy as np

from oiv5_d2.table import Table
from oiv5_d2.training.data.samplers import Order, Record

COLUMNS = ("class", "with mask", "box only", "ignored", "unverified in", "share", "shown")


def count_learned(records: Sequence[Record], order: Order, classes: Sequence[str]) -> Table:
    """Return a row a class: its objects, and how much of an epoch they are.

    ``with mask`` and ``box only`` are training targets. ``ignored`` are regions, and ``unverified
    in`` are images in which background proposals may be of the class. ``share`` is the class's
    share of all targets, ``shown`` that share in an epoch of the sampler.

    Args:
        records: as `oiv5_d2.training.data.partial.read_records` returns them.
        order: draws an epoch.
        classes: display names, in the order of their ids.
    """
    targets = [_count_targets(record) for record in records]
    epoch = [targets[index] for index in order(np.random.default_rng(0)).tolist()]
    shares = [_shares(counts, len(classes)) for counts in (targets, epoch)]
    kinds = Counter(
        (one["category_id"], bool(one["iscrowd"]), one["has_mask"])
        for record in records
        for one in record["annotations"]
    )
    rows = []
    for index, name in enumerate(classes):
        wanted = ((index, False, True), (index, False, False), (index, True, False))
        unverified = sum(not record["verified"][index] for record in records)
        counts = [f"{count:,}" for count in (*(kinds[kind] for kind in wanted), unverified)]
        rows.append((name, *counts, *(f"{share[index]:.1%}" for share in shares)))
    return Table("What is learned", COLUMNS, rows)


def _count_targets(record: Record) -> Counter[int]:
    return Counter(one["category_id"] for one in record["annotations"] if not one["iscrowd"])


def _shares(counts: Sequence[Counter[int]], num_classes: int) -> list[float]:
    together = sum(counts, Counter[int]())
    return [together[index] / max(together.total(), 1) for index in range(num_classes)]
