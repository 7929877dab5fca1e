"""Lists of a subset's images: whom to credit, and what the official downloader reads.

The images are CC BY: anyone who shows them has to name author and licence.
"""

import re
from collections.abc import Iterable
from pathlib import Path

import pandas as pd

from oiv5_d2.files import whole_file
from oiv5_d2.openimages import release
from oiv5_d2.openimages.tidy import open_text
from oiv5_d2.problems import Kind, Problem, Remedy
from oiv5_d2.selection.subset import Subset

CREDITS_CSV, IMAGE_LIST_TXT = "credits.csv", "image_list.txt"
CREDIT_COLUMNS = [
    "ImageID", "Split", "Author", "AuthorProfileURL", "License", "OriginalLandingURL", "Title",
]  # fmt: skip
_LINE = re.compile(rf"(?:({'|'.join(release.SPLITS)})/)?([0-9a-f]{{16}})(?:\.jpg)?")
_LONGEST_SHOWN = 60


def write_credits(subsets: Iterable[Subset], path: Path) -> None:
    """Write `CREDIT_COLUMNS` of every image, sorted by ImageID, each once.

    An image that the release does not list has empty fields.
    """
    with whole_file(path) as temporary:
        _images(subsets).to_csv(temporary, index=False, lineterminator="\n", encoding="utf-8")


def write_image_list(subsets: Iterable[Subset], path: Path) -> None:
    """Write a line ``split/ImageID`` for every image, sorted, each once."""
    images = _images(subsets)
    lines = sorted(images["Split"] + "/" + images["ImageID"])
    with whole_file(path) as temporary:
        temporary.write_text("".join(f"{line}\n" for line in lines), encoding="utf-8")


def read_image_list(path: Path) -> dict[str, str]:
    """Read lines ``split/ImageID``, or ``ImageID``; empty ones and what follows a # are skipped.

    An id may have its file's ending, .jpg, and capital letters; the text may be UTF-16.

    Returns:
        each image's split, "" if the line has none, by ImageID, in the file's order.

    Raises:
        FileNotFoundError: there is no such file.
        Problem: DAMAGED, a line is something else, or an image is in two splits; EMPTY.
    """
    splits: dict[str, str] = {}
    with open_text(path, "replace") as file:
        for number, line in enumerate(file, start=1):
            text = line.partition("#")[0].strip().lower()
            if not text:
                continue
            found = _LINE.fullmatch(text)
            if not found:
                what = f"{text[:_LONGEST_SHOWN]!r} is not split/ImageID or ImageID"
                raise _bad_line(path, number, what)
            split, open_images_id = found[1] or "", found[2]
            known = splits.get(open_images_id) or split
            if split not in ("", known):
                what = f"{open_images_id} is in {known} on an earlier line"
                raise _bad_line(path, number, what)
            splits[open_images_id] = known
    if not splits:
        raise Problem(Kind.EMPTY, path, key="data.image_ids", remedy=Remedy.CHANGE_SETTING)
    return splits


def _bad_line(path: Path, number: int, what: str) -> Problem:
    detail = f"line {number}: {what}"
    return Problem(Kind.DAMAGED, path, detail, key="data.image_ids", remedy=Remedy.FIX_IMAGE_LIST)


def _images(subsets: Iterable[Subset]) -> pd.DataFrame:
    images = pd.concat([subset.images[CREDIT_COLUMNS] for subset in subsets])
    return images.drop_duplicates().sort_values(["ImageID", "Split"], ignore_index=True)
