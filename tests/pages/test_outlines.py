import re

import numpy as np
import pytest

from oiv5_d2.pages.outlines import to_path


def rings(path):
    """The corners of each ring, (N, 2)."""
    found = re.findall(r"M([^Z]*)Z", path)
    assert "".join(f"M{one}Z" for one in found) == path
    return [np.array([p.split(",") for p in ring.split("L")], dtype=float) for ring in found]


def area(ring):
    x, y = ring.T
    return abs(x @ np.roll(y, 1) - y @ np.roll(x, 1)) / 2


def test_an_outline_goes_through_the_outermost_pixels():
    mask = np.zeros((20, 30), dtype=bool)
    mask[5:11, 10:20] = True
    (ring,) = rings(to_path(mask, 1.0))
    assert sorted(map(tuple, ring)) == [(10.5, 5.5), (10.5, 10.5), (19.5, 5.5), (19.5, 10.5)]


@pytest.mark.parametrize("scale", [0.25, 1.0, 2.0])
def test_a_disc_keeps_its_area_at_any_scale(scale):
    rows, columns = np.ogrid[:200, :200]
    mask = (rows - 100) ** 2 + (columns - 90) ** 2 < 60**2
    (ring,) = rings(to_path(mask, scale))
    assert area(ring) == pytest.approx(mask.sum() * scale**2, rel=0.05)
    assert np.abs(ring.mean(axis=0) - np.array([90.5, 100.5]) * scale).max() < 2 * scale


def test_a_hole_is_a_ring_of_its_own():
    mask = np.zeros((40, 40), dtype=bool)
    mask[5:35, 5:35] = True
    mask[15:25, 15:25] = False
    outer, inner = sorted(rings(to_path(mask, 1.0)), key=area, reverse=True)
    assert area(outer) - area(inner) == pytest.approx(mask.sum(), rel=0.12)


def test_a_mask_without_a_pixel_has_no_outline():
    assert to_path(np.zeros((4, 4), dtype=bool), 1.0) == ""


def test_a_single_pixel_has_an_outline():
    mask = np.zeros((4, 4), dtype=bool)
    mask[1, 2] = True
    assert to_path(mask, 2.0) == "M5.0,3.0Z"


def test_a_part_that_was_cut_out_is_drawn_where_it_was():
    mask = np.zeros((40, 50), dtype=bool)
    mask[10:20, 30:44] = True
    mask[14, 35] = False
    assert to_path(mask[8:25, 25:45], 0.5, (25, 8)) == to_path(mask, 0.5)
