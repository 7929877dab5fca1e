import numpy as np
import pytest
from raising import refused

from oiv5_d2.drawing.colours import MAT, PALETTE
from oiv5_d2.drawing.sheets import Cell, LegendEntry, Sheet, lay_out
from oiv5_d2.problems import Kind

ROOM = (60, 100)


def sheet(**changes):
    legend = [LegendEntry("Person  12", PALETTE[0]), LegendEntry("ignored  3", None)]
    return Sheet("mini, train", "12 of 300 images", legend, columns=3, cell=ROOM)._replace(
        **changes
    )


def flat(height, width, value):
    return np.full((height, width, 3), value, dtype=np.uint8)


def find(image, value):
    rows, columns = np.nonzero((image == value).all(axis=2))
    return rows.min(), rows.max() + 1, columns.min(), columns.max() + 1


def test_images_are_shown_whole_and_unstretched():
    image = lay_out(sheet(), [Cell(flat(60, 100, 7), "a", ""), Cell(flat(60, 50, 9), "b", "")])
    top, bottom, left, right = find(image, 7)
    assert (bottom - top, right - left) == (60, 100)
    top, bottom, left, right = find(image, 9)
    assert (bottom - top, right - left) == (60, 50)


def test_a_narrow_image_is_centred_on_a_mat():
    image = lay_out(sheet(), [Cell(flat(60, 50, 9), "portrait", "")])
    _, _, left, right = find(image, 9)
    _, _, mat_left, mat_right = find(image, MAT)
    assert left - mat_left == mat_right - right == 25


def test_cells_stand_in_rows_and_columns_of_one_size():
    cells = [Cell(flat(*ROOM, 10 + i), str(i), "") for i in range(5)]
    image = lay_out(sheet(), cells)
    places = [find(image, 10 + i) for i in range(5)]
    assert places[0][:2] == places[1][:2] == places[2][:2]
    assert places[3][2:] == places[0][2:] and places[4][2:] == places[1][2:]
    assert places[3][0] > places[0][1]


def test_a_long_legend_breaks_into_rows():
    legend = [LegendEntry(f"class number {i}", PALETTE[i % 9]) for i in range(40)]
    cells = [Cell(flat(*ROOM, 7), "a", "")]
    assert lay_out(sheet(legend=legend), cells).shape[0] > lay_out(sheet(), cells).shape[0] + 100


def test_the_legend_shows_the_colour():
    image = lay_out(sheet(), [Cell(flat(*ROOM, 7), "a", "")])
    assert (image == PALETTE[0]).all(axis=2).sum() > 150


def test_no_image_is_an_error_that_says_so():
    with refused(Kind.EMPTY):
        lay_out(sheet(), [])


def test_an_image_larger_than_its_cell_is_refused():
    with pytest.raises(AssertionError):
        lay_out(sheet(), [Cell(flat(61, 100, 7), "a", "")])


def test_the_same_cells_give_the_same_sheet():
    cells = [Cell(flat(*ROOM, 7), "a very long caption that does not fit into its cell at all", "")]
    np.testing.assert_array_equal(lay_out(sheet(), cells), lay_out(sheet(), cells))
