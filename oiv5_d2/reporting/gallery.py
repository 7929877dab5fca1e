"""Contact sheets of annotated pictures, as prepared and as training is fed with them."""

import io
from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from oiv5_d2.drawing.colours import Colour, colours_of
from oiv5_d2.drawing.pictures import Picture, Shape, draw, fit
from oiv5_d2.drawing.sheets import Cell, Entry, Sheet, lay_out
from oiv5_d2.drawing.spread import choose
from oiv5_d2.files import whole_file
from oiv5_d2.reporting.truth import (
    Annotated,
    Overview,
    find_ids,
    read_image,
    read_pictures,
    survey,
    to_shapes,
)

CELL = (360, 480)  # (height, width) in pixels: most photos are 4:3
CELLS_A_SHEET = 24
JPEG_QUALITIES = (88, 80, 72, 64, 56)

Feed = Callable[[Annotated, int], list[tuple[Picture, list[Shape]]]]


class Part(NamedTuple):
    """One part of a prepared data folder, surveyed."""

    name: str
    coco_path: Path
    images_dir: Path
    label_names: dict[str, str]
    overview: Overview

    @property
    def colours(self) -> dict[str, Colour]:
        """Each class's colour."""
        return colours_of(list(self.overview.classes.values()))


def open_part(name: str, coco_path: Path, images_dir: Path, label_names: dict[str, str]) -> Part:
    """Survey a part's COCO file; `label_names` are display names by MID."""
    return Part(name, coco_path, images_dir, label_names, survey(coco_path))


def pick(
    part: Part, num_images: int, seed: int, classes: Sequence[str], image_ids: Sequence[str]
) -> list[Annotated]:
    """Choose pictures of a part.

    Args:
        part: where from.
        num_images: how many, where they are not named.
        seed: of the choice.
        classes: only pictures that show one of these classes; empty for any.
        image_ids: exactly these pictures; empty to choose.

    Raises:
        ValueError: an unknown class or picture, or no picture shows what is wanted.
    """
    if image_ids:
        return read_pictures(part.coco_path, find_ids(part.coco_path, image_ids))
    unknown = sorted(set(classes) - set(part.overview.num_objects))
    if unknown:
        raise ValueError(
            f"classes={','.join(unknown)}: this data has {', '.join(part.overview.num_objects)}"
        )
    traits = part.overview.traits
    shown = {i: t for i, t in traits.items() if not classes or t & set(classes)}
    if not shown:
        raise ValueError(f"no picture of {part.name} shows {', '.join(classes) or 'anything'}")
    return read_pictures(part.coco_path, choose(shown, num_images, seed))


def as_prepared(part: Part, pictures: Sequence[Annotated]) -> Iterator[Cell]:
    """Yield each picture with its annotations drawn."""
    for picture in pictures:
        shapes = to_shapes(picture.annotations, part.overview.classes, part.label_names)
        image = read_image(part.images_dir, picture.image["file_name"])
        drawn = draw(image, shapes, part.colours, fit(image.shape[:2], CELL))
        yield Cell(drawn, _name(picture), describe(shapes))


def as_fed(part: Part, pictures: Sequence[Annotated], feed: Feed, columns: int) -> Iterator[Cell]:
    """Yield rows: a picture as prepared, then as training is fed with it, anew each time.

    Args:
        part: where the pictures are from.
        pictures: one row each.
        feed: returns so many draws of one picture, with what the mapper left of its objects.
        columns: cells in a row.
    """
    for picture, prepared in zip(pictures, as_prepared(part, pictures), strict=True):
        yield prepared
        for number, (image, shapes) in enumerate(feed(picture, columns - 1), start=1):
            size = image.shape[:2]
            drawn = draw(image, shapes, part.colours, fit(size, CELL))
            text = f"as fed, {number}: {size[1]} x {size[0]} px"
            yield Cell(drawn, text, describe(shapes))


def write_sheets(
    cells: Sequence[Cell], part: Part, kind: str, columns: int, path: Path
) -> list[Path]:
    """Write cells as one or more sheets beside each other, and return their paths.

    Args:
        cells: all of them.
        part: gives the legend.
        kind: what is shown, for the title.
        columns: cells in a row.
        path: of the sheet; where there are several, ``_1``, ``_2`` ... is added to its stem.
    """
    title = f"{part.name}: {kind}"
    subtitle = f"objects in all {len(part.overview.traits):,} pictures"
    a_sheet = max(1, CELLS_A_SHEET // columns) * columns
    groups = [cells[i : i + a_sheet] for i in range(0, len(cells), a_sheet)]
    paths = []
    for number, group in enumerate(groups, start=1):
        stem = path.stem if len(groups) == 1 else f"{path.stem}_{number}"
        pages = "" if len(groups) == 1 else f", sheet {number} of {len(groups)}"
        sheet = Sheet(title, subtitle + pages, legend(part), columns, CELL)
        paths.append(path.with_stem(stem))
        write_jpeg(paths[-1], lay_out(sheet, group))
    return paths


def write_jpeg(path: Path, picture: NDArray[np.uint8], max_bytes: int | None = None) -> None:
    """Write a picture, (H, W, 3) uint8 RGB, as JPEG.

    Args:
        path: where to.
        picture: the pixels.
        max_bytes: the quality is lowered, step by step, until the file is no larger; or to the
            last step.
    """
    for quality in JPEG_QUALITIES:
        buffer = io.BytesIO()
        # Colour at full resolution: halved, it would smear coloured letters and outlines. Not
        # optimize=True: Pillow then wants the whole file in one buffer, too small for a noisy one.
        Image.fromarray(picture).save(buffer, "JPEG", quality=quality, subsampling=0)
        if max_bytes is None or buffer.tell() <= max_bytes:
            break
    with whole_file(path) as part_path:
        part_path.write_bytes(buffer.getvalue())


def legend(part: Part) -> list[Entry]:
    """Return what the colours mean, with the part's number of objects of each class."""
    overview, colours = part.overview, part.colours
    entries = [
        Entry(f"{name}  {count:,}", colours[name]) for name, count in overview.num_objects.items()
    ]
    return [*entries, Entry(f"ignored  {overview.num_ignored:,}", None)]


def describe(shapes: Sequence[Shape]) -> str:
    """Return what is on a picture in a line: ``Person 2, Car 1; ignored 3``."""
    counts = Counter(shape.class_name for shape in shapes if not shape.ignored)
    objects = ", ".join(f"{name} {number}" for name, number in counts.most_common())
    num_ignored = sum(shape.ignored for shape in shapes)
    return (objects or "no object") + (f"; ignored {num_ignored}" if num_ignored else "")


def _name(picture: Annotated) -> str:
    return str(picture.image.get("image_id", picture.image["file_name"]))
