import itertools

import numpy as np
import pytest

from oiv5_d2.drawing.colours import INK, PALETTE, PAPER, colours_of, ink_on, to_hex

# Machado, Oliveira and Fernandes 2009: what full colour-blindness makes of linear RGB.
EYES = {
    "normal": np.eye(3),
    "protanopia": [
        [0.152286, 1.052583, -0.204868],
        [0.114503, 0.786281, 0.099216],
        [-0.003882, -0.048116, 1.051998],
    ],
    "deuteranopia": [
        [0.367322, 0.860646, -0.227968],
        [0.280085, 0.672501, 0.047413],
        [-0.011820, 0.042940, 0.968881],
    ],
    "tritanopia": [
        [1.255528, -0.076749, -0.178779],
        [-0.078411, 0.930809, 0.147602],
        [0.004733, 0.691367, 0.303900],
    ],
}
TO_XYZ = np.array([[0.4124, 0.3576, 0.1805], [0.2126, 0.7152, 0.0722], [0.0193, 0.1192, 0.9505]])


def to_lab(colour, eyes):
    share = np.array(colour) / 255
    linear = np.where(share <= 0.04045, share / 12.92, ((share + 0.055) / 1.055) ** 2.4)
    seen = np.clip(np.array(eyes) @ linear, 0, 1)
    x, y, z = np.cbrt(TO_XYZ @ seen / [0.9505, 1, 1.089])
    return np.array([116 * y - 16, 500 * (x - y), 200 * (y - z)])


@pytest.mark.parametrize("eyes", EYES)
@pytest.mark.parametrize(("num_colours", "apart"), [(4, 30), (len(PALETTE), 15)])
def test_colours_stay_apart_for_all_eyes(eyes, num_colours, apart):
    seen = [to_lab(colour, EYES[eyes]) for colour in PALETTE[:num_colours]]
    assert min(np.linalg.norm(a - b) for a, b in itertools.combinations(seen, 2)) > apart


def test_a_class_keeps_its_colour_whatever_follows_it():
    assert colours_of(["Person", "Car", "Bus"])["Car"] == colours_of(["Person", "Car"])["Car"]


def test_more_classes_than_colours_repeat_them():
    colours = colours_of([f"class {i}" for i in range(30)])
    assert len(colours) == 30 and set(colours.values()) == set(PALETTE)


def test_ink_is_dark_on_light_and_white_on_dark():
    assert ink_on((255, 255, 0)) == INK and ink_on((20, 20, 120)) == PAPER


def test_hex_is_what_others_read():
    assert to_hex((255, 0, 10)) == "#ff000a"
