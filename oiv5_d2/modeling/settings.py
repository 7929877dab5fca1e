"""What training makes of annotations that are missing: ``annotation`` in the configs."""

from collections.abc import Iterator
from dataclasses import dataclass

from oiv5_d2.problems import wrong_setting

BACKGROUND, CLASS, ANY = "background", "class", "any"  # annotation.regions
SOFTMAX, SIGMOID = "softmax", "sigmoid"  # annotation.loss


@dataclass(frozen=True)
class Annotation:
    """How what people did not annotate is learned from, or left out of the losses.

    Raises:
        Problem: SETTING, a value that has no meaning.
    """

    boxes: bool
    """Objects without a mask train the RPN and the box head; otherwise they are ignore regions."""
    regions: str
    """What a background proposal in an ignore region is: ``background``, as in Detectron2 v0.6;
    ``class``, background or an object of the region's class; ``any``, an object of any class."""
    rpn_regions: bool
    """Anchors in ignore regions are not background."""
    overlap: float
    """Share of its own area from which an anchor or proposal is in a region, above 0."""
    unverified: bool
    """A background proposal may be an object of any class that nobody verified in the image."""
    rpn_background: float
    """Share of the sampled background anchors that are kept in images with such a class."""
    loss: str
    """``softmax``, or ``sigmoid`` of each class against the background."""
    box_masks: float
    """Weight of a mask loss for the objects without a mask, by their boxes; 0 for none."""

    def __post_init__(self) -> None:
        for name, value, detail in self._faults():
            raise wrong_setting(f"annotation.{name}", value, detail)

    def _faults(self) -> Iterator[tuple[str, object, str]]:
        choices = {"regions": (BACKGROUND, CLASS, ANY), "loss": (SOFTMAX, SIGMOID)}
        for name, known in choices.items():
            if (value := getattr(self, name)) not in known:
                yield name, value, f"there are {', '.join(known)}"
        for name in ("boxes", "rpn_regions", "unverified"):
            if not isinstance(value := getattr(self, name), bool):
                yield name, value, "true or false"
        if not 0 < self.overlap <= 1:
            yield "overlap", self.overlap, "a share of an area, above 0 and at most 1"
        if self.box_masks < 0:
            yield "box_masks", self.box_masks, "a weight, 0 or more"
        if not 0 <= self.rpn_background <= 1:
            yield "rpn_background", self.rpn_background, "a share, 0 to 1"
