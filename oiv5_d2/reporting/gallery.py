"""Contact sheets of annotated images, as prepared and as training is fed with them."""

import io
import random
from collections import Counter
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from pathlib import Path

from PIL import Image

from oiv5_d2.drawing.shapes import RgbImage, Shape, draw
from oiv5_d2.drawing.sheets import Cell, LegendEntry, Sheet, lay_out
from oiv5_d2.files import whole_file
from oiv5_d2.problems import Kind, Problem, Remedy, wrong_setting
from oiv5_d2.reporting.truth import (
    AnnotatedImage,
    Part,
    find_ids,
    read_image,
    read_images,
    to_shapes,
)

CELL = (360, 480)  # (height, width) in pixels: most images are 4:3
CELLS_A_SHEET = 24
JPEG_QUALITIES = (88, 80, 72, 64, 56)

Feed = Callable[[AnnotatedImage, int], list[tuple[RgbImage, list[Shape]]]]


def pick(
    part: Part, num_images: int, seed: int, classes: Sequence[str], image_ids: Sequence[str | int]
) -> list[AnnotatedImage]:
    """Choose images of a part: exactly `image_ids`, of either kind, or `num_images` by `seed`.

    If `classes` are named, each chosen image shows one of them.

    Raises:
        Problem: SETTING, an unknown class; ABSENT, an unknown image; EMPTY, no image shows one of
            the classes.
    """
    if image_ids:
        return read_images(part.coco_path, find_ids(part.coco_path, image_ids))
    unknown = sorted(set(classes) - set(part.num_objects))
    if unknown:
        detail = f"{part.name} has the classes {', '.join(part.num_objects)}"
        raise wrong_setting("classes", ",".join(unknown), detail)
    shown = {i: t for i, t in part.traits.items() if not classes or t & set(classes)}
    if not shown:
        detail = f"no image shows {', '.join(classes) or 'anything'}"
        remedy = Remedy.CHANGE_SETTING
        raise Problem(Kind.EMPTY, part.name, detail, key="classes part", remedy=remedy)
    return read_images(part.coco_path, sample(shown, num_images, seed))


def as_prepared(part: Part, images: Iterable[AnnotatedImage]) -> Iterator[Cell]:
    """Yield each image with its annotations drawn."""
    for image in images:
        shapes = to_shapes(part, image)
        drawn = draw(read_image(part, image), shapes, part.colours, CELL)
        yield Cell(drawn, image.record["open_images_id"], describe(shapes))


def as_fed(
    part: Part, images: Sequence[AnnotatedImage], feed: Feed, columns: int
) -> Iterator[Cell]:
    """Yield rows of `columns` cells: an image as prepared, then as training is fed with it.

    `feed` returns so many augmentations of one image, with the objects that the mapper kept.
    """
    for image, prepared in zip(images, as_prepared(part, images), strict=True):
        yield prepared
        for number, (pixels, shapes) in enumerate(feed(image, columns - 1), start=1):
            height, width = pixels.shape[:2]
            text = f"as fed, {number}: {width} x {height} px"
            yield Cell(draw(pixels, shapes, part.colours, CELL), text, describe(shapes))


def write_sheets(
    cells: Sequence[Cell],
    part: Part,
    kind: str,
    columns: int,
    path: Path,
    entries: Sequence[LegendEntry] | None = None,
) -> list[Path]:
    """Write cells as sheets beside each other, and return their paths.

    Args:
        cells: what is shown.
        part: of the data.
        kind: what is shown, for the title.
        columns: of cells.
        path: of the sheet; if there are several, ``_1``, ``_2`` ... is added to its stem.
        entries: of the legend; None for the part's classes.

    Raises:
        Problem: EMPTY, there is no cell.
    """
    if not cells:
        subject, keys = f"the sheet of {part.name} ({kind})", "part classes num_images"
        raise Problem(Kind.EMPTY, subject, key=keys, remedy=Remedy.CHANGE_SETTING)
    per_sheet = max(1, CELLS_A_SHEET // columns) * columns
    groups = [cells[i : i + per_sheet] for i in range(0, len(cells), per_sheet)]
    paths = []
    for number, group in enumerate(groups, start=1):
        stem, subtitle = path.stem, f"{len(part.traits):,} images"
        if len(groups) > 1:
            stem, subtitle = f"{stem}_{number}", f"{subtitle}, sheet {number} of {len(groups)}"
        if entries is None:
            subtitle = f"objects in all {subtitle}"
        shown = legend(part) if entries is None else entries
        sheet = Sheet(f"{part.name}: {kind}", subtitle, shown, columns, CELL)
        paths.append(path.with_stem(stem))
        write_jpeg(paths[-1], lay_out(sheet, group))
    return paths


def write_jpeg(path: Path, pixels: RgbImage, max_bytes: int | None = None) -> None:
    """Write an image as `to_jpeg` returns it."""
    with whole_file(path) as temporary:
        temporary.write_bytes(to_jpeg(pixels, max_bytes))


def to_jpeg(pixels: RgbImage, max_bytes: int | None = None) -> bytes:
    """Return an image, (H, W, 3) uint8 RGB, as JPEG.

    The quality is lowered step by step until there are at most `max_bytes`, or to the last step.
    """
    for quality in JPEG_QUALITIES:
        buffer = io.BytesIO()
        # Colour at full resolution: halved, it would smear coloured letters and outlines. Not
        # optimize=True: Pillow then wants the whole file in one buffer, too small for a noisy one.
        Image.fromarray(pixels).save(buffer, "JPEG", quality=quality, subsampling=0)
        if max_bytes is None or buffer.tell() <= max_bytes:
            break
    return buffer.getvalue()


def legend(part: Part) -> list[LegendEntry]:
    """Return what the colours mean, with the part's number of objects of each class."""
    counts = part.num_objects.items()
    entries = [LegendEntry(f"{name}  {count:,}", part.colours[name]) for name, count in counts]
    return [*entries, LegendEntry(f"ignored  {part.num_ignored:,}", None)]


def describe(shapes: Sequence[Shape]) -> str:
    """Return what an image shows in a line: ``Person 2, Car 1; ignored 3``."""
    counts = Counter(shape.class_name for shape in shapes if not shape.ignored)
    objects = ", ".join(f"{name} {number}" for name, number in counts.most_common())
    num_ignored = sum(shape.ignored for shape in shapes)
    return (objects or "no object") + (f"; ignored {num_ignored}" if num_ignored else "")


def sample(traits: Mapping[int, frozenset[str]], num_images: int, seed: int) -> list[int]:
    """Choose images so that every trait is shown, the rarest first; then fill up at random.

    Returns:
        Image ids, sorted; all if there are fewer. The same arguments give the same choice.
    """
    order = sorted(traits)
    random.Random(seed).shuffle(order)
    numbers = Counter(trait for found in traits.values() for trait in found)
    missing = set(numbers)
    chosen: list[int] = []
    for trait in sorted(numbers, key=lambda t: (numbers[t], t)):
        if trait in missing and len(chosen) < num_images:
            holders = [id_ for id_ in order if trait in traits[id_]]
            chosen.append(max(holders, key=lambda id_: len(traits[id_] & missing)))
            missing -= traits[chosen[-1]]
    rest = [id_ for id_ in order if id_ not in chosen]
    return sorted([*chosen, *rest[: num_images - len(chosen)]])
