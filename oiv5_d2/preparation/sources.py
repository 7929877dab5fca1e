"""The subsets that a request wants, out of its source's tables."""

import logging
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path

from oiv5_d2.acquisition.buckets import Bucket
from oiv5_d2.acquisition.buckets import Transfer as BucketTransfer
from oiv5_d2.acquisition.stores import Source, open_source
from oiv5_d2.acquisition.tables import bytes_to_download, fetch_tables, remove_damaged
from oiv5_d2.console.quantities import size
from oiv5_d2.jobs import Advance
from oiv5_d2.preparation.listings import read_image_list
from oiv5_d2.preparation.request import Data, Request
from oiv5_d2.problems import Kind, Problem
from oiv5_d2.selection.choice import Choice
from oiv5_d2.selection.select import needed_tables, num_bytes_to_read, select
from oiv5_d2.selection.subset import Subset, load

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

    Tables that come over a network are kept for the next time.

    Args:
        request: what is wanted.
        advance: called with the number of table bytes newly downloaded, or newly read where the
            tables are in a folder, of `count_tables` in all.
        expect: called first, with the number of table bytes to download.
    """
    data, bucket, tables_dir = request.data, *_tables(request)
    files = needed_tables(data.published, data.choice)
    if num_bytes := bytes_to_download(bucket, files, tables_dir):
        logger.info("%s of tables to download from %s", size(num_bytes), bucket.location)
    expect(num_bytes)
    root = fetch_tables(bucket, files, tables_dir, advance)
    is_read = advance if bucket.folder else lambda num_bytes: None
    try:
        return list(select(root, data.published, _full_choice(data), is_read).values())
    except Problem as problem:
        if problem.kind is Kind.DAMAGED and root == tables_dir:
            remove_damaged(Path(problem.subject))
        raise


def count_tables(request: Request) -> dict[str, int]:
    """Return what `select_subsets` reads, as a stage counts it."""
    data = request.data
    try:
        bucket, tables_dir = _tables(request)
        if bucket.folder:
            num_bytes = num_bytes_to_read(bucket.folder, data.published, data.choice)
        else:
            files = needed_tables(data.published, data.choice)
            num_bytes = bytes_to_download(bucket, files, tables_dir)
    except (OSError, Problem):
        num_bytes = 0  # the reading itself says best what is missing
    return {"bytes of tables": num_bytes}


def _tables(request: Request) -> tuple[Bucket, Path]:
    return Bucket(request.data.buckets[0], BucketTransfer()), request.data.dir / "tables"


def _full_choice(data: Data) -> Choice:
    if data.image_ids is None:
        return data.choice
    return replace(data.choice, image_ids=tuple(sorted(read_image_list(data.image_ids))))
