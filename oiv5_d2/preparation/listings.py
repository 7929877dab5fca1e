"""Lists of a subset's pictures for others: whom to credit, and what the official downloader takes.

The photos are CC BY: whoever shows them names author and licence.
"""

import re
from collections.abc import Iterable
from pathlib import Path

import pandas as pd

from oiv5_d2.files import whole_file
from oiv5_d2.openimages import release
from oiv5_d2.selection.subset import Subset

CREDITS_CSV, IMAGE_LIST_TXT = "credits.csv", "image_list.txt"
CREDIT_COLUMNS = [
    "ImageID", "Split", "Author", "AuthorProfileURL", "License", "OriginalLandingURL", "Title",
]  # fmt: skip
_LINE = re.compile(rf"(?:({'|'.join(release.SPLITS)})/)?([0-9a-f]{{16}})(?:\.jpg)?")
_LONGEST_SHOWN = 60


def write_credits(subsets: Iterable[Subset], path: Path) -> None:
    """Write `CREDIT_COLUMNS` of every picture, sorted by ImageID, each once.

    A picture that the release does not list has empty fields.
    """
    with whole_file(path) as part_path:
        _images(subsets).to_csv(part_path, index=False, lineterminator="\n", encoding="utf-8")


def write_image_list(subsets: Iterable[Subset], path: Path) -> None:
    """Write a line ``split/ImageID`` for every picture, sorted, each once."""
    images = _images(subsets)
    lines = sorted(images["Split"] + "/" + images["ImageID"])
    with whole_file(path) as part_path:
        part_path.write_text("".join(f"{line}\n" for line in lines), encoding="utf-8")


def read_image_list(path: Path) -> dict[str, str]:
    """Read lines ``split/ImageID``, or of the id alone; empty lines are passed over.

    An id may have its file's ending, .jpg.

    Returns:
        each image's split, "" where the line has none, by ImageID, in the file's order.

    Raises:
        FileNotFoundError: there is no such file.
        ValueError: a line is something else, an image is in two splits, or there is none at all;
            the message names file and line.
    """
    splits: dict[str, str] = {}
    with path.open(encoding="utf-8-sig", errors="replace") as file:
        for number, line in enumerate(file, start=1):
            if text := line.strip():
                split, image_id = _parse(text, f"{path}: line {number}")
                known = splits.setdefault(image_id, split) or split
                if split and known != split:
                    raise ValueError(
                        f"{path}: line {number}: {image_id} is in {known} further up: no image is"
                        " in two splits. Correct one of the lines"
                    )
                splits[image_id] = known
    if not splits:
        raise ValueError(f"{path}: the list is empty. Write a line split/ImageID for each image")
    return splits


def _parse(text: str, where: str) -> tuple[str, str]:
    found = _LINE.fullmatch(text)
    if found is None:
        raise ValueError(
            f"{where}: {text[:_LONGEST_SHOWN]!r} is neither split/ImageID nor an ImageID: the"
            f" splits are {', '.join(release.SPLITS)}, an id is 16 hex digits 0-9 a-f"
        )
    return found[1] or "", found[2]


def _images(subsets: Iterable[Subset]) -> pd.DataFrame:
    images = pd.concat([subset.images[CREDIT_COLUMNS] for subset in subsets])
    return images.drop_duplicates().sort_values(["ImageID", "Split"], ignore_index=True)
