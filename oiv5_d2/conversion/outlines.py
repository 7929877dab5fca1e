"""How masks are written: who has the pixels where they overlap, and in which of COCO's forms."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from oiv5_d2.conversion import masks, occlusion
from oiv5_d2.conversion.polygons import to_polygons
from oiv5_d2.problems import wrong_setting

RLE, POLYGONS = "rle", "polygons"


@dataclass(frozen=True)
class Outlines:
    """The settings of ``configs/data`` about masks.

    Raises:
        Problem: SETTING, one has no meaning.
    """

    masks: str = RLE
    """``rle``, or ``polygons`` for objects; ignored regions stay run lengths, as in COCO."""
    occlusion: str | None = None
    """A key of `occlusion.ORDERS`; None to let masks overlap."""

    def __post_init__(self) -> None:
        if self.masks not in (RLE, POLYGONS):
            raise wrong_setting("data.masks", self.masks, f"not one of {RLE}, {POLYGONS}")
        if self.occlusion is not None and self.occlusion not in occlusion.ORDERS:
            known = ", ".join(occlusion.ORDERS)
            raise wrong_setting("data.occlusion", self.occlusion, f"not one of {known}, or null")

    def settings(self) -> dict[str, str]:
        """Return the settings that are not the defaults."""
        changed = {"masks": self.masks if self.masks != RLE else None, "occlusion": self.occlusion}
        return {name: value for name, value in changed.items() if value}

    def apply(
        self, annotations: Sequence[Mapping[str, Any]], height: int, width: int
    ) -> list[dict[str, Any]]:
        """Return the annotations of one image, whose masks are run lengths, as they are written."""
        found = [dict(one) for one in annotations]
        if self.occlusion:
            found = occlusion.cut(found, self.occlusion, height, width)
        for one in found if self.masks == POLYGONS else ():
            if not one["iscrowd"]:
                one["segmentation"] = to_polygons(masks.decode(one["segmentation"]))
        return found
