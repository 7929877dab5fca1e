"""One synthetic image as the release has it: its JPG, its mask PNGs, its table rows."""

import base64
import hashlib
import io
from dataclasses import dataclass
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from oiv5_d2.synthetic.scenes import MASKABLE, Scene, Thing

# Display name -> MID, as in the release. The first are segmented, the rest have boxes only.
SEGMENTED = {
    "Person": "/m/01g317",
    "Man": "/m/04yx4",
    "Woman": "/m/03bt1vf",
    "Boy": "/m/01bl7v",
    "Girl": "/m/05r655",
    "Car": "/m/0k4j",
    "Van": "/m/0h2r6",
    "Limousine": "/m/01lcw4",
    "Taxi": "/m/0pg52",
    "Bus": "/m/01bjv",
    "Truck": "/m/07r04",
    "Motorcycle": "/m/04_sv",
    "Bicycle": "/m/0199g",
    "Traffic light": "/m/015qff",
    "Traffic sign": "/m/01mqdt",
    "Stop sign": "/m/02pv19",
}
MIDS = {
    **SEGMENTED,
    "Building": "/m/0cgh4",
    "Tree": "/m/07j7r",
    "Human body": "/m/02p0tk3",
    "Land vehicle": "/m/01prls",
    "Vehicle": "/m/07yv9",
}
PARENTS = {
    **dict.fromkeys(("Man", "Woman", "Boy", "Girl"), "Person"),
    **dict.fromkeys(("Van", "Limousine"), "Car"),
    "Stop sign": "Traffic sign",
}
TRAFFIC = ("Person", "Car", "Traffic sign", "Traffic light")  # what the project looks for

# The release has masks only for boxes larger than 40x80 or 80x40 on images 1024 pixels long.
MASK_SIDES = (40 / 1024, 80 / 1024)
SPILL = 0.10  # share of its size by which each side of a spilled-over box is too far in
JITTER = 0.02  # spread of an annotator's box around the true one, as a share of its size
UNKNOWN = -1

TITLES = (
    "Street, {number}",
    'The "old" corner, in the morning',
    "Rush hour, downtown, {number}",
    'She said "wait", so we waited',
    "IMG_{number}",
    "Crossing",
    'Lights, signs & "traffic"',
)
AUTHORS = ("Ada Brook", "J. Rivera, Jr.", "Mei Tanaka", 'Olu "Lens" Adeyemi', "Piet de Wit")


class ImagePlan(NamedTuple):
    """What to draw on one image of the release.

    Attributes:
        split: name of its split.
        open_images_id: 16 hex digits.
        seed: of all its random choices.
        size: (height, width) in pixels.
        wanted: what must be in its scene; see `scenes.draw_scene`.
        oddities: names of the oddities planted in it; see `release_files.ODDITIES`.
    """

    split: str
    open_images_id: str
    seed: tuple[int, ...]
    size: tuple[int, int]
    wanted: tuple[str, ...]
    oddities: frozenset[str]


@dataclass(frozen=True)
class Annotated:
    """One image's share of the release. Rows hold text, in the columns of their table.

    Attributes:
        jpg: the image's file, or None where the image is listed but missing.
        masks: PNG file name -> bytes.
        mask_rows: rows of the mask table.
        box_rows: rows of the box table.
        label_rows: rows of the table of verified labels.
        image_row: row of the image list.
    """

    jpg: bytes | None
    masks: dict[str, bytes]
    mask_rows: list[tuple[str, ...]]
    box_rows: list[tuple[str, ...]]
    label_rows: list[tuple[str, ...]]
    image_row: tuple[str, ...]


def annotate(plan: ImagePlan, scene: Scene, rng: np.random.Generator) -> Annotated:
    """Write down a scene as the release's annotators would.

    Args:
        plan: what to draw.
        scene: the drawn scene.
        rng: makes every choice that is left.
    """
    boxes = [_draw_box(thing, rng) for thing in scene.things]
    masked = [n for n, thing in enumerate(scene.things) if has_mask(thing, *plan.size)]
    # Oddities go to things that the project looks for: elsewhere nobody would stumble over them.
    traffic = [n for n in masked if family(scene.things[n].label) in TRAFFIC]
    spilled, emptied, unknown = (
        traffic[place] if name in plan.oddities and traffic else None
        for name, place in (("spilling mask", -1), ("empty mask", 0), ("unknown attributes", -1))
    )
    if spilled is not None:
        boxes[spilled] = _squeeze(scene.things[spilled].box)
    corners = [tuple(f"{side:.6f}" for side in box) for box in boxes]
    height, width = _mask_size(plan.size, rng)
    masks, mask_rows = {}, []
    for number in masked:
        thing = scene.things[number]
        mask = scene.mask(thing, height, width) & (number != emptied)
        name, row = _mask_row(plan, thing, corners[number], rng)
        masks[name] = _png(mask)
        mask_rows.append(row)
    jpg = _jpg(scene.image, plan, rng)
    return Annotated(
        jpg=None if "missing" in plan.oddities else jpg,
        masks=masks,
        mask_rows=mask_rows,
        box_rows=[
            _box_row(plan, thing, corners[n], n == unknown) for n, thing in enumerate(scene.things)
        ],
        label_rows=_label_rows(plan, scene, rng),
        image_row=_image_row(plan, jpg, rng),
    )


def family(label: str) -> str:
    """Return the class that a label is rolled up into: its parent among ours, or itself."""
    return PARENTS.get(label, label)


def has_mask(thing: Thing, height: int, width: int) -> bool:
    """Return True if a thing gets a mask in an image of (height, width) pixels."""
    if thing.is_group or thing.is_depiction or thing.label not in SEGMENTED:
        return False
    x0, y0, x1, y1 = thing.box
    long_side = max(height, width)
    sides = sorted(((x1 - x0) * width / long_side, (y1 - y0) * height / long_side))
    return thing.visible >= MASKABLE and sides[0] > MASK_SIDES[0] and sides[1] > MASK_SIDES[1]


def _draw_box(thing: Thing, rng: np.random.Generator) -> tuple[float, float, float, float]:
    """Return XMin, XMax, YMin, YMax as an annotator's not quite steady hand draws them."""
    x0, y0, x1, y1 = thing.box
    w, h = x1 - x0, y1 - y0
    shift = np.clip(rng.normal(0, JITTER, 4), -2.5 * JITTER, 2.5 * JITTER) * (w, w, h, h)
    left, right, upper, lower = np.clip(np.array([x0, x1, y0, y1]) + shift, 0.0, 1.0).tolist()
    return left, right, upper, lower


def _squeeze(box: tuple[float, float, float, float]) -> tuple[float, float, float, float]:
    x0, y0, x1, y1 = box
    w, h = SPILL * (x1 - x0), SPILL * (y1 - y0)
    return x0 + w, x1 - w, y0 + h, y1 - h


def _mask_size(size: tuple[int, int], rng: np.random.Generator) -> tuple[int, int]:
    """Most masks have another size than their JPG: they were drawn on another copy of the image."""
    factor = float(
        rng.choice([1.0, 0.8, 0.9, 1.25, 1.5, 2.0], p=[0.1, 0.15, 0.15, 0.25, 0.2, 0.15])
    )
    height, width = round(size[0] * factor), round(size[1] * factor)
    return (height, width) if factor == 1.0 else (height + int(rng.integers(-1, 2)), width)


def _mask_row(
    plan: ImagePlan, thing: Thing, corners: tuple[str, ...], rng: np.random.Generator
) -> tuple[str, tuple[str, ...]]:
    mid = MIDS[thing.label]
    box_id = f"{int(rng.integers(1 << 32)):08x}"
    name = f"{plan.open_images_id}_{mid.replace('/', '')}_{box_id}.png"
    iou, clicks = "", ""
    if plan.split == "train":
        iou = f"{rng.uniform(0.62, 0.97):.5f}"
        clicks = _clicks(thing, rng)
    return name, (name, plan.open_images_id, mid, box_id, *corners, iou, clicks)


def _clicks(thing: Thing, rng: np.random.Generator) -> str:
    x0, y0, x1, y1 = thing.box
    points = rng.uniform((x0, y0), (x1, y1), (int(rng.integers(3, 9)), 2))
    kinds = rng.integers(0, 2, len(points))
    return ";".join(f"{x:.6f} {y:.6f} {kind}" for (x, y), kind in zip(points, kinds, strict=True))


def _box_row(
    plan: ImagePlan, thing: Thing, corners: tuple[str, ...], is_unknown: bool
) -> tuple[str, ...]:
    flags = (thing.visible < 0.97, thing.is_truncated, thing.is_group, thing.is_depiction, False)
    attributes = (str(UNKNOWN if is_unknown else int(flag)) for flag in flags)
    return (plan.open_images_id, "xclick", MIDS[thing.label], "1", *corners, *attributes)


def _label_rows(plan: ImagePlan, scene: Scene, rng: np.random.Generator) -> list[tuple[str, ...]]:
    """Labels that people verified: all that are annotated, and some of those surely not there."""
    present = {thing.label for thing in scene.things}
    families = {family(label) for label in present | scene.hidden}
    absent = sorted(label for label in SEGMENTED if family(label) not in families)
    chosen = [absent[n] for n in rng.permutation(len(absent))[: int(rng.integers(1, 4))]]
    chosen += [label for label in TRAFFIC if label in absent and label not in chosen][:1]
    rows = [(label, "1") for label in present] + [(label, "0") for label in chosen]
    return [
        (plan.open_images_id, "verification", MIDS[label], confidence) for label, confidence in rows
    ]


def _image_row(plan: ImagePlan, jpg: bytes, rng: np.random.Generator) -> tuple[str, ...]:
    number = int(rng.integers(1000, 9999))
    author = AUTHORS[rng.integers(len(AUTHORS))]
    home = f"https://photos.example.org/people/{10_000 + number}/"
    rotation = str(float(rng.choice([90, 180, 270]))) if "rotated" in plan.oddities else "0.0"
    return (
        plan.open_images_id,
        plan.split,
        f"https://photos.example.org/{plan.open_images_id}_o.jpg",
        f"{home}{plan.open_images_id}",
        "https://creativecommons.org/licenses/by/2.0/",
        home,
        author,
        TITLES[rng.integers(len(TITLES))].format(number=number),
        str(len(jpg)),
        base64.b64encode(hashlib.md5(jpg, usedforsecurity=False).digest()).decode(),
        f"https://photos.example.org/{plan.open_images_id}_z.jpg",
        rotation,
    )


def _png(mask: NDArray[np.bool_]) -> bytes:
    file = io.BytesIO()
    grey = Image.fromarray(mask.astype(np.uint8) * 255)
    grey.convert("1", dither=Image.Dither.NONE).save(file, "PNG")
    return file.getvalue()


def _jpg(pixels: NDArray[np.uint8], plan: ImagePlan, rng: np.random.Generator) -> bytes:
    image, exif = Image.fromarray(pixels), Image.Exif()
    if "grey" in plan.oddities:
        image = image.convert("L")
    if "turned" in plan.oddities:
        exif[0x0112] = 6  # the EXIF tag Orientation: "turn me a quarter to the right"
    file = io.BytesIO()
    image.save(file, "JPEG", quality=int(rng.integers(78, 96)), exif=exif)
    return file.getvalue()
