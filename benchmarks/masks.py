"""A mask's PNG to run lengths, box and area, beside the usual way:  python benchmarks/masks.py.

    python benchmarks/masks.py height=900 width=1200 masks=200 rounds=9

Masks of 576 x 768 px, the mean of 317 of the release's, with an object that covers a thousandth to
a third of them, as 1-bit PNGs, go to an image of 768 x 1024 px. The usual way is Pillow to NumPy,
OpenCV to the image's size, and pycocotools; its pixels at an edge are others, for OpenCV takes
another neighbour. The limit is to inflate the PNG. Prints milliseconds of CPU a mask, in turns:
min, median and max of the rounds.
"""

import io
import sys
import time
import zlib
from collections.abc import Callable
from statistics import median

import cv2
import numpy as np
from numpy.typing import NDArray
from PIL import Image
from pycocotools import mask as run_lengths

from oiv5_d2.conversion.masks import encode_resized, read_png

HEIGHT, WIDTH = 768, 1024
CORNERS = 24  # of an outline
HEAD, FOOT = 41, 16  # bytes before and after a PNG's pixels, if these are one chunk


def main() -> None:
    """Draw the masks and time every way on them in turns."""
    words = {key: int(value) for key, value in (word.split("=") for word in sys.argv[1:])}
    cv2.setNumThreads(1)
    rng = np.random.default_rng(0)
    size = words.get("height", 576), words.get("width", 768)
    pngs = [to_png(draw_object(rng, *size)) for _ in range(words.get("masks", 100))]
    found: dict[str, list[float]] = {name: [] for name in WAYS}
    for _ in range(words.get("rounds", 9)):
        for name, way in WAYS.items():
            begin = time.process_time()
            for png in pngs:
                way(png)
            found[name].append((time.process_time() - begin) / len(pngs))
    for name, seconds in found.items():
        low, middle, high = (1000 * one for one in (min(seconds), median(seconds), max(seconds)))
        ratios = [a / b for a, b in zip(found["usual"], seconds, strict=True)]
        print(
            f"{name:8} {low:6.3f} {middle:6.3f} {high:6.3f} ms   usual / this {median(ratios):.2f}"
        )


def usual(png: bytes) -> object:
    """Return what COCO keeps of a mask, by the usual libraries."""
    mask = np.asarray(Image.open(io.BytesIO(png))).astype(np.uint8)
    resized = cv2.resize(mask, (WIDTH, HEIGHT), interpolation=cv2.INTER_NEAREST)
    rle = run_lengths.encode(np.asfortranarray(resized))
    return rle["counts"].decode(), run_lengths.toBbox(rle).tolist(), int(run_lengths.area(rle))


def ours(png: bytes) -> object:
    """Return the same as the conversion makes it."""
    return encode_resized(read_png(png), HEIGHT, WIDTH)


def inflate(png: bytes) -> object:
    """Do what no way can do without."""
    return zlib.decompress(png[HEAD:-FOOT])


WAYS: dict[str, Callable[[bytes], object]] = {"usual": usual, "ours": ours, "inflate": inflate}


def draw_object(rng: np.random.Generator, height: int, width: int) -> NDArray[np.uint8]:
    """Return a mask (H, W) whose object covers a thousandth to a third of the image."""
    radius = np.sqrt(height * width * np.exp(rng.uniform(np.log(0.001), np.log(0.33))) / np.pi)
    angles = np.linspace(0, 2 * np.pi, CORNERS, endpoint=False)
    reach = radius * rng.uniform(0.7, 1.3, CORNERS)
    centre = rng.uniform((0, 0), (width, height))
    corners = centre + np.stack([np.cos(angles), np.sin(angles)], axis=1) * reach[:, None]
    mask = np.zeros((height, width), np.uint8)
    cv2.fillPoly(mask, [corners.round().astype(np.int32)], 1)
    return mask


def to_png(mask: NDArray[np.uint8]) -> bytes:
    """Return a mask as the release has it."""
    buffer = io.BytesIO()
    Image.fromarray(255 * mask).convert("1").save(buffer, "PNG")
    return buffer.getvalue()


if __name__ == "__main__":
    main()
