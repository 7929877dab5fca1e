"""The plan of a preparation: what it would bring, how, and how long that takes."""

from dataclasses import dataclass
from typing import NamedTuple

from oiv5_d2.acquisition.disk import bytes_beside
from oiv5_d2.acquisition.mask_zips.ranges import ZipPlan


class Need(NamedTuple):
    """What one part is to have."""

    part: str
    num_images: int
    num_masks: int
    images_of: dict[str, int]
    """Images that show an object to learn, by class."""
    masks_of: dict[str, int]
    """Objects to learn, by class."""
    num_ignored: int

    @property
    def bytes_beside(self) -> int:
        """About how much is written about them."""
        return bytes_beside(self.num_images, self.num_masks, self.num_ignored)


class ImageNeed(NamedTuple):
    """The pictures of one split that are not on the disk yet."""

    split: str
    num_files: int
    num_bytes: int
    num_asked: int
    """How many of them were asked for their size."""
    num_absent: int
    """Of those asked, how many the source does not have."""
    num_failed: int = 0
    """Of those asked, how many it said nothing of."""
    why: str = ""
    """Why it said nothing of the first of them."""

    @property
    def is_exact(self) -> bool:
        """Whether all sizes were told; otherwise `num_bytes` is an estimate."""
        return self.num_asked - self.num_failed == self.num_files


class ZipNeed(NamedTuple):
    """One mask zip of which not all wanted masks are on the disk yet."""

    split: str
    digit: str
    num_wanted: int
    """Masks that are not there yet."""
    plan: ZipPlan | None
    """How its masks are to be had; None: it can not be read."""
    why: str
    wanted_bytes: int = 0
    """Of those masks themselves, as they come to lie on the disk."""

    @property
    def whole_bytes(self) -> int:
        """Bytes of the zip where it is fetched whole, otherwise 0."""
        return 0 if self.plan is None or self.plan.by_range else self.plan.zip_bytes


@dataclass(frozen=True)
class Plan:
    """What would be done."""

    stages: tuple[tuple[str, bool], ...]
    """Each stage's name, and whether it is done."""
    needs: tuple[Need, ...] = ()
    """Of each part; empty where the source is still to be drawn."""
    images: tuple[ImageNeed, ...] = ()
    zips: tuple[ZipNeed, ...] = ()
    locations: tuple[str, str] = ("", "")
    """Of the annotations and of the images."""
    free_bytes: int = 0
    """On the disk of the data folder."""
    bytes_per_second: float | None = None
    """None where there is nothing to tell it by."""
    rate_is: str = ""
    """Where that rate comes from, for people."""
    answers_per_second: float | None = None
    """How fast pictures were asked for their size, all connections together; None: too few were."""
    keeps_zips: bool = False
    """Zips that are fetched whole stay."""

    @property
    def num_images(self) -> int:
        """Pictures to fetch."""
        return sum(need.num_files for need in self.images)

    @property
    def num_masks(self) -> int:
        """Masks to fetch, of zips that can be read and did not come yet."""
        return sum(need.num_wanted for need in self.zips if need.plan and not need.plan.is_here)

    @property
    def num_zip_requests(self) -> int:
        """Requests that bring masks: one a range, and one a zip that comes whole."""
        return sum(need.plan.requests_to_make for need in self.zips if need.plan)

    @property
    def image_bytes(self) -> int:
        """Bytes of pictures to fetch."""
        return sum(need.num_bytes for need in self.images)

    @property
    def mask_bytes(self) -> int:
        """Bytes to fetch for the masks, now that the zips' directories are here."""
        return sum(need.plan.bytes_to_fetch for need in self.zips if need.plan)

    @property
    def disk_bytes(self) -> int:
        """Disk that is needed on the way.

        Until all masks of a zip have come, they lie there a second time, and so does the zip if it
        comes whole. What is written about them is estimated.
        """
        done = {name for name, is_done in self.stages if is_done}
        kept = sum(need.bytes_beside for need in self.needs if f"convert {need.part}" not in done)
        kept += self.image_bytes + sum(need.wanted_bytes for need in self.zips)
        if self.keeps_zips:
            kept += sum(need.whole_bytes for need in self.zips)
            return kept + max((need.wanted_bytes for need in self.zips), default=0)
        return kept + max((need.wanted_bytes + need.whole_bytes for need in self.zips), default=0)

    @property
    def seconds(self) -> float | None:
        """How long the fetching takes at that rate; None where there is none."""
        if self.bytes_per_second is None:
            return None
        by_bytes = (self.image_bytes + self.mask_bytes) / self.bytes_per_second
        return max(by_bytes, self.least_seconds or 0.0)

    @property
    def least_seconds(self) -> float | None:
        """How long so many pictures take, if they had no bytes; None where that is not known."""
        return self.num_images / self.answers_per_second if self.answers_per_second else None
