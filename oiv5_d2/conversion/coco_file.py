"""A COCO file with one record a line, so that it can be written and read as a stream.

Any JSON reader reads it; ours goes line by line, in memory that does not grow with the file.
"""

import json
from collections.abc import Iterable, Iterator, Mapping
from itertools import dropwhile, takewhile
from pathlib import Path
from typing import Any, TextIO

from oiv5_d2.files import whole_file
from oiv5_d2.problems import Kind, Problem, Remedy


def dumps(record: Any) -> str:
    """Return one record as JSON on one line, in ASCII; NaN and infinity are refused."""
    return json.dumps(record, separators=(",", ":"), allow_nan=False)


def write(
    path: Path, head: Mapping[str, Any], images: Iterable[str], annotations: Iterable[str]
) -> None:
    """Write a COCO file; it appears only when it is complete.

    Args:
        path: the file.
        head: info, licenses and categories, which come before the two long lists.
        images: records as `dumps` returns them.
        annotations: the same.
    """
    with whole_file(path) as temporary, temporary.open("w", encoding="ascii", newline="\n") as file:
        file.write("{\n")
        for key, value in head.items():
            file.write(f"{dumps(key)}: {dumps(value)},\n")
        _write_list(file, "images", images)
        file.write(",\n")
        _write_list(file, "annotations", annotations)
        file.write("\n}\n")


def read_head(path: Path) -> dict[str, Any]:
    """Read info, licenses and categories.

    Raises:
        Problem: ABSENT, or DAMAGED: not a COCO file as `write` makes them.
    """
    with _opened(path) as file:
        lines = takewhile(lambda line: not line.startswith('"images": ['), file)
        text = "".join(lines).rstrip().removesuffix(",") + "}"
    try:
        head: dict[str, Any] = json.loads(text)
    except json.JSONDecodeError as error:
        raise damaged(path) from error
    return head


def read_records(path: Path, name: str) -> Iterator[dict[str, Any]]:
    """Yield the records of ``images`` or ``annotations`` one by one.

    Raises:
        Problem: ABSENT, or DAMAGED: not a COCO file as `write` makes them, or cut short.
    """
    with _opened(path) as file:
        lines = dropwhile(lambda line: not line.startswith(f'"{name}": ['), file)
        next(lines, None)
        for line in lines:
            if line.startswith("]"):
                return
            try:
                yield json.loads(line.rstrip().removesuffix(","))
            except json.JSONDecodeError as error:
                raise damaged(path) from error
    raise damaged(path)


def count_images(path: Path) -> int:
    """Return the number of images in a file; the errors are those of `read_records`."""
    return sum(1 for _ in read_records(path, "images"))


def _write_list(file: TextIO, name: str, lines: Iterable[str]) -> None:
    file.write(f'"{name}": [')
    separator = "\n"
    for line in lines:
        file.write(separator + line)
        separator = ",\n"
    file.write("\n]")


def _opened(path: Path) -> TextIO:
    if not path.exists():
        raise Problem(Kind.ABSENT, path, remedy=Remedy.PREPARE)
    return path.open(encoding="utf-8")


def damaged(path: Path) -> Problem:
    """Return the problem of a file that `write` did not make, or that was cut short."""
    detail = "not a COCO file as these tools write it"
    return Problem(Kind.DAMAGED, path, detail, remedy=Remedy.PREPARE_AGAIN)
