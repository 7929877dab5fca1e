"""What an offline run of W&B has in its files, read by W&B's own messages.

A ``.wandb`` file is a log in LevelDB's format: blocks of 32 KiB after a header of seven bytes, with
records cut into pieces.
"""

import json
import struct
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from wandb.proto import wandb_internal_pb2

HEADER_BYTES, BLOCK_BYTES = 7, 32768
PIECE = struct.Struct("<IHB")  # checksum, length, kind
WHOLE, LAST = 1, 4


def find_pieces(run_dir: Path) -> list[Path]:
    """Return the files of a run's pieces, in their order in time."""
    return sorted(run_dir.glob("wandb/*run-*/*.wandb"), key=lambda path: path.parent.name)


def read_records(path: Path) -> Iterator[Any]:
    data, place, record = path.read_bytes(), HEADER_BYTES, b""
    while place + PIECE.size <= len(data):
        left = BLOCK_BYTES - place % BLOCK_BYTES
        if left < PIECE.size:
            place += left
            continue
        _, length, kind = PIECE.unpack_from(data, place)
        start = place + PIECE.size
        if not kind or start + length > len(data):  # a process that was killed
            return
        record += data[start : start + length]
        place = start + length
        if kind in (WHOLE, LAST):
            yield wandb_internal_pb2.Record.FromString(record)
            record = b""


def of_kind(path: Path, kind: str) -> list[Any]:
    return [getattr(r, kind) for r in read_records(path) if r.WhichOneof("record_type") == kind]


def read_history(path: Path) -> list[dict[str, Any]]:
    """Return the rows, with nested values below dotted names."""
    return [
        {".".join(item.nested_key) or item.key: json.loads(item.value_json) for item in row.item}
        for row in of_kind(path, "history")
    ]


def read_config(path: Path) -> dict[str, Any]:
    (run,) = of_kind(path, "run")
    return {one.key: json.loads(one.value_json) for one in run.config.update}


def media(path: Path) -> list[Path]:
    return [one for one in (path.parent / "files" / "media").rglob("*") if one.is_file()]
