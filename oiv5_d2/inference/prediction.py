"""A whole folder or video, predicted: files of detections, and pictures of them."""

from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from itertools import islice
from pathlib import Path
from typing import Any, TypeVar

import cv2
from PIL import Image

from oiv5_d2.drawing.colours import colours_of
from oiv5_d2.drawing.shapes import RgbImage
from oiv5_d2.files import whole_file
from oiv5_d2.inference.ledger import Entry, Ledger
from oiv5_d2.inference.pictures import draw_objects, splash
from oiv5_d2.inference.predictor import Detection, Predictor
from oiv5_d2.inference.sources import Picture, Video, read_picture
from oiv5_d2.jobs import Show
from oiv5_d2.problems import wrong_setting

Item = TypeVar("Item")
Draw = Callable[[RgbImage, Sequence[Detection], Mapping[str, Any]], RgbImage]

DRAW: dict[str, Draw | None] = {"objects": draw_objects, "splash": splash, "none": None}
JPEG_QUALITY = 90
CODEC = "mp4v"  # what OpenCV's own build can write


@dataclass(frozen=True)
class Drawing:
    """How detections are drawn.

    Attributes:
        kind: a key of `DRAW`.
        thresholds: the least score of a detection that is drawn, by class.
    """

    kind: str
    thresholds: Mapping[str, float]

    def __post_init__(self) -> None:
        """Check the kind.

        Raises:
            Problem: SETTING.
        """
        if self.kind not in DRAW:
            raise wrong_setting("draw", self.kind, f"one of {', '.join(DRAW)}")

    def draw(
        self, image: RgbImage, found: Sequence[Detection], classes: Sequence[str]
    ) -> RgbImage | None:
        """Return a picture of what is above the thresholds; None if none is wanted."""
        how = DRAW[self.kind]
        shown = [one for one in found if one.score >= self.thresholds.get(one.class_name, 0.0)]
        return how(image, shown, colours_of(classes)) if how else None


def predict_pictures(
    predictor: Predictor,
    pictures: Sequence[Picture],
    ledger: Ledger,
    drawing: Drawing,
    pictures_dir: Path,
    batch: int,
    show: Show,
) -> None:
    """Predict images that are not in the ledger yet; a picture is there before its line is.

    Raises:
        Problem: DAMAGED, an image; those before it are in the ledger.
    """
    waiting = [one for one in pictures if one.name not in ledger.names]
    num_before = len(pictures) - len(waiting)
    with show("Prediction", {"images": len(pictures)}, num_before) as advance:
        for some in _in_batches(waiting, batch):
            images = [read_picture(one.path) for one in some]
            for picture, image, found in zip(some, images, predictor.predict(images), strict=True):
                drawn = drawing.draw(image, found, predictor.classes)
                if drawn is not None:
                    write_jpeg(pictures_dir / f"{picture.name}.jpg", drawn)
                size = image.shape[0], image.shape[1]
                ledger.add(Entry(picture.name, picture.path.name, size, found))
                advance(1)


def predict_video(
    predictor: Predictor,
    video: Video,
    ledger: Ledger,
    drawing: Drawing,
    path: Path,
    batch: int,
    show: Show,
) -> int:
    """Predict a video's frames and write them with what was found; return their number.

    Ctrl-C ends it, and what was seen until then is kept: so a camera is stopped.
    """
    number = 0
    with (
        show("Prediction", {"frames": video.num_frames}) as advance,
        _written(path, video) as write,
        suppress(KeyboardInterrupt),
    ):
        for some in _in_batches(video.frames, batch):
            for frame, found in zip(some, predictor.predict(some), strict=True):
                number += 1
                name = f"{number:06d}"
                ledger.add(Entry(name, name, video.size, found))
                drawn = drawing.draw(frame, found, predictor.classes)
                write(frame if drawn is None else drawn)
                advance(1)
    return number


@contextmanager
def _written(path: Path, video: Video) -> Iterator[Callable[[RgbImage], object]]:
    """Yield what adds a frame to a video of the same rate; the file appears when it is whole."""
    with whole_file(path) as temporary:
        code = cv2.VideoWriter.fourcc(*CODEC)
        target = cv2.VideoWriter(str(temporary), code, video.rate, video.size[::-1])
        try:
            yield lambda frame: target.write(cv2.cvtColor(frame, cv2.COLOR_RGB2BGR))
        finally:
            target.release()


def _in_batches(items: Iterable[Item], size: int) -> Iterator[list[Item]]:
    rest = iter(items)
    while some := list(islice(rest, size)):
        yield some


def write_jpeg(path: Path, image: RgbImage) -> None:
    """Write an image, (H, W, 3) uint8 RGB, whole or not at all."""
    path.parent.mkdir(parents=True, exist_ok=True)
    with whole_file(path) as temporary:
        Image.fromarray(image).save(temporary, format="JPEG", quality=JPEG_QUALITY)
