"""The wanted rows of a table that arrived, kept as Parquet together with what they were made of."""

import hashlib
import json
from collections.abc import Callable, Iterable, Iterator
from pathlib import Path, PurePosixPath
from typing import Any, NamedTuple

import pandas as pd
import pyarrow as pa
from pyarrow import parquet

from oiv5_d2.files import whole_file
from oiv5_d2.openimages import readers
from oiv5_d2.openimages.image_ids import ImageIds

_FORMAT = 1  # of the files written here, and of the checks that their rows have passed
_RECIPE = b"oiv5_d2"
_BATCH_ROWS = 64 << 10


class Origin(NamedTuple):
    """The whole file that something was made of."""

    url: str
    etag: str
    num_bytes: int
    sha256: str

    def fingerprint(self) -> dict[str, Any]:
        """Return what a subset's recipe says of a file that it was made of."""
        return {"bytes": self.num_bytes, "sha256": self.sha256}


class Filter(NamedTuple):
    """Which part of a table is kept."""

    columns: tuple[str, ...]
    labels: tuple[str, ...] | None
    """The LabelName of the rows, sorted; None for all rows."""

    @classmethod
    def of(cls, columns: Iterable[str], labels: Iterable[str] | None) -> "Filter":
        """Return the filter for labels in any order."""
        return cls(tuple(columns), None if labels is None else tuple(sorted(set(labels))))


def rows_path(tables_dir: Path, url: str, kept: Filter) -> Path:
    """Return where the wanted rows of the table at `url` are kept."""
    made_of = json.dumps([_FORMAT, url, *kept])
    fingerprint = hashlib.sha256(made_of.encode()).hexdigest()[:12]
    return tables_dir / f"{PurePosixPath(url).stem}-{fingerprint}.parquet"


def write_rows(
    path: Path, frames: Iterable[pd.DataFrame], kept: Filter, origin: Callable[[], Origin]
) -> Origin:
    """Write rows as they come; nothing is there before all of them are. Return their origin.

    Args:
        path: from `rows_path`.
        frames: the wanted rows.
        kept: what they are.
        origin: called once the last frame was written; what it raises leaves no file.
    """
    schema = readers.schema(kept.columns)
    with whole_file(path) as part_path:
        options = {"compression": "zstd", "write_page_checksum": True}
        with parquet.ParquetWriter(part_path, schema, **options) as writer:
            for frame in frames:
                if len(frame):
                    rows = pa.Table.from_pandas(frame, schema, preserve_index=False)
                    writer.write_table(rows.replace_schema_metadata())
            made_of = origin()
            recipe = {"origin": made_of._asdict(), "kept": kept._asdict()}
            writer.add_key_value_metadata({_RECIPE: json.dumps(recipe).encode()})
    return made_of


def read_origin(path: Path) -> Origin | None:
    """Return what a file of rows was made of; None where there is none, or a damaged one."""
    try:
        metadata = parquet.read_metadata(path).metadata or {}
        return Origin(**json.loads(metadata[_RECIPE])["origin"])
    except (FileNotFoundError, pa.ArrowInvalid, ValueError, KeyError, TypeError):
        return None


def read_rows(path: Path, image_ids: Iterable[str] | None) -> Iterator[pd.DataFrame]:
    """Yield the rows, those of the given images only, in bounded memory.

    There is always a DataFrame, if without a row, so that there are always the columns.

    Raises:
        ValueError: the file is damaged; the message says what to do.
    """
    chosen = None if image_ids is None else ImageIds.of(image_ids)
    # Buffering ahead would hold the whole file.
    options = {"page_checksum_verification": True, "pre_buffer": False}
    try:
        with parquet.ParquetFile(path, **options) as file:
            yield file.schema_arrow.empty_table().to_pandas()
            for batch in file.iter_batches(_BATCH_ROWS):
                rows = pa.Table.from_batches([batch])
                if chosen is not None:
                    rows = rows.filter(chosen.contain(rows["ImageID"]))
                yield rows.to_pandas()
    except (pa.ArrowInvalid, OSError) as error:
        reason = " ".join(str(error).split())
        raise ValueError(
            f"{path}: these cached rows are damaged ({reason}). Delete the file"
        ) from error
