"""Colours that stay apart for colour-blind eyes, a fixed one per class, and the house greys."""

from collections.abc import Sequence

Colour = tuple[int, int, int]  # red, green, blue, 0 to 255

# Chosen by search: for normal, red-, green- and blue-blind eyes the first four, which the traffic
# classes get, stay over 30 apart (CIE 1976), all nine over 15. With more classes the colours
# repeat, and the name on each tag tells them apart.
PALETTE: tuple[Colour, ...] = (
    (20, 130, 250),  # blue
    (230, 100, 0),  # orange
    (255, 135, 210),  # pink
    (195, 240, 0),  # lime
    (0, 200, 140),  # green
    (150, 70, 170),  # purple
    (210, 190, 70),  # sand
    (180, 150, 255),  # lilac
    (130, 80, 30),  # brown
)
INK: Colour = (34, 38, 44)
FAINT_INK: Colour = (110, 116, 124)
PAPER: Colour = (255, 255, 255)
MAT: Colour = (236, 238, 240)  # around an image that does not fill its cell
IGNORED: Colour = (196, 200, 204)
LEAST_CONTRAST = 3.0  # WCAG 2's for graphics, on white


def colours_of(classes: Sequence[str]) -> dict[str, Colour]:
    """Return each class's colour; it depends on nothing but the class's place in the list."""
    return {name: PALETTE[i % len(PALETTE)] for i, name in enumerate(classes)}


def ink_on(colour: Colour) -> Colour:
    """Return the ink that reads best on `colour`: dark on light, white on dark."""
    red, green, blue = colour
    lightness = 0.299 * red + 0.587 * green + 0.114 * blue
    return INK if lightness > 128 else PAPER


def on_paper(colour: Colour) -> Colour:
    """Return a colour, darkened as far as thin lines and letters on white need: a contrast of 3."""
    share = 1.0
    while _luminance(colour, share) > (1.05 / LEAST_CONTRAST) - 0.05:
        share -= 0.01
    red, green, blue = (round(one * share) for one in colour)
    return red, green, blue


def _luminance(colour: Colour, share: float) -> float:
    """Return the relative luminance of a share of a colour, 0 to 1, as WCAG 2 defines it."""
    parts = [one * share / 255 for one in colour]
    linear = [c / 12.92 if c <= 0.04045 else ((c + 0.055) / 1.055) ** 2.4 for c in parts]
    return 0.2126 * linear[0] + 0.7152 * linear[1] + 0.0722 * linear[2]


def to_hex(colour: Colour) -> str:
    """Return ``#rrggbb``, as matplotlib and HTML want it."""
    return "#{:02x}{:02x}{:02x}".format(*colour)
