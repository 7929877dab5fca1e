"""The subsets that a request wants, out of its source's tables."""

import logging
from collections.abc import Callable, Iterator
from contextlib import contextmanager

from oiv5_d2.acquisition.stores import Source, open_source
from oiv5_d2.console.quantities import size
from oiv5_d2.jobs import Advance
from oiv5_d2.preparation.listings import read_image_list
from oiv5_d2.preparation.request import Data, Request
from oiv5_d2.selection.subset import Subset, load, num_bytes_to_read, select

logger = logging.getLogger(__name__)


def load_subsets(data: Data) -> list[Subset]:
    """Load the subsets that were selected."""
    return [load(data.dir / "subset", part) for part in data.parts]


@contextmanager
def open_buckets(request: Request) -> Iterator[Source]:
    """Open the source's buckets, and close them at the end."""
    source = open_source(*request.data.buckets, request.transfer)
    try:
        yield source
    finally:
        for store in source:
            store.close()


def select_subsets(
    request: Request, advance: Advance, expect: Callable[[int], object] = lambda num_bytes: None
) -> list[Subset]:
    """Select the subsets from the source's tables, without saving them.

    Of tables that come over a network the wanted rows are kept, for the next time.

    Args:
        request: what is wanted.
        advance: called with the number of table bytes newly read, of `count_tables` in all.
        expect: called first, with the number of table bytes that are to come over a network.
    """

    def say(num_bytes: int) -> None:
        if num_bytes:
            logger.info(
                "%s of tables are to come from %s", size(num_bytes), request.data.buckets[0]
            )
        expect(num_bytes)

    with open_buckets(request) as source:
        return _select_from(source, request, advance, say)


def count_tables(request: Request) -> dict[str, int]:
    """Return what `select_subsets` reads, as a stage counts it."""
    data = request.data
    try:
        with open_buckets(request) as source:
            num_bytes = num_bytes_to_read(
                source.annotations, data.splits, data.only_masked, data.dir / "tables"
            )
    except OSError:
        num_bytes = 0  # the reading itself says best what is missing
    return {"bytes of tables": num_bytes}


def _select_from(
    source: Source, request: Request, advance: Advance, expect: Callable[[int], object]
) -> list[Subset]:
    data = request.data
    subsets = select(
        source.annotations,
        data.classes,
        roll_up=data.roll_up,
        splits={split: split for split in data.splits},
        shares=data.shares,
        seed=data.seed,
        limit_per_class=data.limit.per_class,
        limit_unit=data.limit.unit,
        exclude=data.exclude,
        require=data.require,
        min_predicted_iou=data.min_predicted_iou,
        id_prefixes=data.id_prefixes,
        image_ids=read_image_list(data.image_ids) if data.image_ids else None,
        only_masked=data.only_masked,
        tables_dir=data.dir / "tables",
        keep_tables=request.keep_tables,
        advance=advance,
        expect=expect,
    )
    return list(subsets.values())
