import numpy as np

from oiv5_d2.conversion import masks
from oiv5_d2.conversion.polygons import to_polygons
from oiv5_d2.openimages.clicks import Click, Drawing
from oiv5_d2.reporting.gallery import CELL
from oiv5_d2.reporting.objects import OFF, ON, object_cells


def test_each_object_has_a_cell_and_regions_have_none(part, images):
    cells = list(object_cells(part, images, []))
    names = [image.record["open_images_id"] for image in images for _ in range(2)]
    classes = ["Person", "Car"] * 2
    captions = [f"{name} {class_}" for name, class_ in zip(names, classes, strict=True)]
    assert [cell.caption for cell in cells] == captions
    assert all(cell.image.shape[0] == CELL[0] or cell.image.shape[1] == CELL[1] for cell in cells)
    assert len(list(object_cells(part, images, ["Car"]))) == 2


def test_clicks_are_drawn_where_they_were_made(part, images):
    first = images[0].objects[0]
    first["mask_path"] = "a.png"
    clicks = (Click(10 / 90, 30 / 60, True), Click(20 / 90, 30 / 60, False))
    drawing = Drawing((5 / 90, 5 / 60, 25 / 90, 55 / 60), clicks)
    (cell,) = object_cells(part, images, [], {"a.png": drawing})
    assert cell.detail.endswith("2 clicks")
    on, off = (_middle(cell.image, colour) for colour in (ON, OFF))
    assert on < off  # left of it, as in the image


def _middle(pixels, colour):
    return np.argwhere((pixels == colour).all(axis=2))[:, 1].mean()


def test_polygons_are_drawn_as_run_lengths_are(part, images):
    cells = [cell.image for cell in object_cells(part, images, [])]
    for one in (one for image in images for one in image.objects):
        one["segmentation"] = to_polygons(masks.decode(one["segmentation"]))
    for cell, drawn in zip(object_cells(part, images, []), cells, strict=True):
        np.testing.assert_array_equal(cell.image, drawn)
