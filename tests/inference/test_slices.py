from itertools import pairwise

import numpy as np
import pytest
from raising import refused

from oiv5_d2.inference.slices import Slices, cut, is_whole, shift, windows_of
from oiv5_d2.problems import Kind


def test_pieces_cover_an_image_to_its_edges():
    seen = np.zeros((100, 230), dtype=int)
    whole, *pieces = windows_of(seen.shape, Slices(64, overlap=0.25))
    assert whole == (0, 0, 230, 100)
    for window in pieces:
        assert window[2:] == (64, 64)
        cut(seen, window)[:] += 1
    assert seen.min() == 1 and len(pieces) == 2 * 5


def test_neighbours_overlap_by_at_least_what_is_asked():
    _, *pieces = windows_of((64, 300), Slices(64, overlap=0.25))
    starts = [x for x, *_ in pieces]
    assert starts[0] == 0 and starts[-1] == 236
    assert all(64 - (b - a) >= 16 for a, b in pairwise(starts))


@pytest.mark.parametrize("side", [0, 300])
def test_a_small_image_and_one_that_is_not_to_be_cut_stay_whole(side):
    assert windows_of((100, 230), Slices(side)) == [(0, 0, 230, 100)]


def test_a_narrow_image_is_cut_along_its_long_side_only():
    _, *pieces = windows_of((40, 128), Slices(64, overlap=0.0))
    assert pieces == [(0, 0, 64, 40), (64, 0, 64, 40)]


def test_what_touches_a_cut_is_not_whole_but_what_touches_the_images_edge_is():
    window, size = (50, 0, 64, 100), (100, 230)
    assert is_whole((10, 0, 20, 100), window, size)
    assert not is_whole((1, 10, 20, 20), window, size)
    assert not is_whole((10, 10, 63, 20), window, size)
    assert is_whole((0, 0, 230, 100), (0, 0, 230, 100), size)


def test_a_mask_of_a_piece_is_moved_to_its_place():
    moved = shift(np.ones((2, 3), dtype=bool), (4, 1, 3, 2), (5, 8))
    assert np.argwhere(moved).tolist() == [[y, x] for y in (1, 2) for x in (4, 5, 6)]


@pytest.mark.parametrize(("values", "key"), [((20,), "slices.side"), ((64, 1.0), "slices.overlap")])
def test_pieces_of_nothing_are_refused(values, key):
    with refused(Kind.SETTING, key=key):
        Slices(*values)
