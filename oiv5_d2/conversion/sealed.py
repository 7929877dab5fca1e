"""Arrow tables in files that are mapped into memory, each with its checksum behind it."""

import json
import os
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import pyarrow as pa
from blake3 import blake3

from oiv5_d2.files import PART_PREFIX

_CHECKSUM_BYTES = 32
_PIECE = 1 << 20


def write_table(table: pa.Table, about: Mapping[str, Any], path: Path) -> None:
    """Write a table, what is to be known about it, and their checksum.

    Two processes that do so at once each write a whole file.
    """
    temporary = path.with_name(f"{PART_PREFIX}{os.getpid()}-{path.name}")
    table = table.replace_schema_metadata({"about": json.dumps(about)})
    try:
        with pa.OSFile(str(temporary), "wb") as file:
            with pa.ipc.new_file(file, table.schema) as writer:
                writer.write_table(table, max_chunksize=max(len(table), 1))
        digest = _checksum(temporary, temporary.stat().st_size)
        with temporary.open("ab") as file:
            file.write(digest)
        temporary.replace(path)
    finally:
        temporary.unlink(missing_ok=True)


def read_table(path: Path) -> tuple[pa.Table, dict[str, Any]]:
    """Return a table, mapped, and what is to be known about it; its checksum is not looked at.

    Raises:
        OSError, ValueError, KeyError: there is no such file, or it is damaged.
    """
    mapped = pa.memory_map(str(path))
    content = mapped.read_buffer(max(0, mapped.size() - _CHECKSUM_BYTES))
    table = pa.ipc.open_file(pa.BufferReader(content)).read_all()
    return table, json.loads(table.schema.metadata[b"about"])


def is_whole(path: Path) -> bool:
    """Return True if a table's file is as it was written, to the bit."""
    end = path.stat().st_size - _CHECKSUM_BYTES
    with path.open("rb") as file:
        file.seek(max(0, end))
        return file.read() == _checksum(path, end)


def column(table: pa.Table, name: str) -> Any:
    """Return a column as one Arrow array."""
    found = table[name]
    return found.chunk(0) if found.num_chunks else pa.array([], found.type)


def _checksum(path: Path, num_bytes: int) -> bytes:
    """Return the BLAKE3 of a file's first bytes, read in pieces: none of them stays in memory."""
    found = blake3()
    with path.open("rb") as file:
        while num_bytes > 0:
            piece = file.read(min(_PIECE, num_bytes))
            found.update(piece)
            num_bytes -= len(piece) or num_bytes
    return found.digest()
