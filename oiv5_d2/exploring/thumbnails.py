"""Images, small: decoded at a reduced size, and kept in memory up to a bound."""

import errno
import threading
from collections import OrderedDict

import cv2
import numpy as np
from numpy.typing import NDArray

from oiv5_d2.conversion.image_store import Place

SIDE = 400  # of a thumbnail's longer side, in pixels
QUALITY = 82  # of a JPEG that is made here
MOST_BYTES = 64 << 20  # of the thumbnails in memory: some 4,000
JPEG_BEGINS = b"\xff\xd8\xff"
# A JPEG's blocks of 8 x 8 pixels give a half, a quarter or an eighth of its size at once.
REDUCED = (
    (8, cv2.IMREAD_REDUCED_COLOR_8),
    (4, cv2.IMREAD_REDUCED_COLOR_4),
    (2, cv2.IMREAD_REDUCED_COLOR_2),
)


class Thumbnails:
    """Makes thumbnails; the ones that were asked for last stay in memory.

    Args:
        most_bytes: of those that stay.
    """

    def __init__(self, most_bytes: int = MOST_BYTES) -> None:
        self._kept: OrderedDict[tuple[Place, int], bytes] = OrderedDict()
        self._most, self.num_bytes, self._lock = most_bytes, 0, threading.Lock()

    def get(self, place: Place, side: int) -> bytes:
        """Return an image as a small JPEG.

        Args:
            place: of the image.
            side: the longer one of the image itself, in pixels: how far decoding may reduce it.

        Raises:
            OSError: there is no such file, or it is no image.
        """
        with self._lock:
            if (place, side) in self._kept:
                self._kept.move_to_end((place, side))
                return self._kept[place, side]
        made = to_jpeg(shrink(decode(place.read(), side)))
        with self._lock:
            self._keep((place, side), made)
        return made

    def _keep(self, key: tuple[Place, int], made: bytes) -> None:
        self.num_bytes += len(made) - len(self._kept.pop(key, b""))
        self._kept[key] = made
        while self.num_bytes > self._most:
            self.num_bytes -= len(self._kept.popitem(last=False)[1])


def decode(data: bytes, side: int = 0) -> NDArray[np.uint8]:
    """Return an image as (h, w, 3) uint8 BGR, at least `SIDE` long; not turned as EXIF says.

    Args:
        data: of the image's file.
        side: the longer one of the whole image; 0 to decode it in full.

    Raises:
        OSError: it is no image.
    """
    flag = next((flag for by, flag in REDUCED if side >= by * SIDE), cv2.IMREAD_COLOR)
    values = np.frombuffer(data, dtype=np.uint8)
    # Annotations are of the pixels as they are stored.
    image = cv2.imdecode(values, flag | cv2.IMREAD_IGNORE_ORIENTATION) if data else None
    if image is None:
        raise OSError(errno.EINVAL, "no image")
    return np.asarray(image, dtype=np.uint8)


def shrink(image: NDArray[np.uint8]) -> NDArray[np.uint8]:
    """Return an image whose longer side is at most `SIDE`."""
    scale = SIDE / max(image.shape[:2])
    if scale >= 1:
        return image
    small = cv2.resize(image, None, fx=scale, fy=scale, interpolation=cv2.INTER_AREA)
    return np.asarray(small, dtype=np.uint8)


def to_jpeg(image: NDArray[np.uint8]) -> bytes:
    """Return an image, (h, w, 3) uint8 BGR, as a JPEG."""
    _, data = cv2.imencode(".jpg", image, [cv2.IMWRITE_JPEG_QUALITY, QUALITY])
    return data.tobytes()


def whole_jpeg(data: bytes) -> bytes:
    """Return the bytes of a JPEG as they are, or of another image as a JPEG.

    Raises:
        OSError: it is no image.
    """
    return data if data.startswith(JPEG_BEGINS) else to_jpeg(decode(data))
