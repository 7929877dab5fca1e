import pytest
from PIL import Image

from oiv5_d2.conversion.image_store import Images
from oiv5_d2.drawing.colours import colours_of
from oiv5_d2.evaluation.files import write_label_errors
from oiv5_d2.evaluation.label_errors import Reason, Suspect
from oiv5_d2.reporting.suspects import (
    GAP,
    HALF,
    choose_window,
    look_for_images,
    show_suspect,
    write_label_sheet,
)

pytestmark = pytest.mark.filterwarnings("ignore:__array__ implementation doesn't accept a copy")


@pytest.fixture
def doubts(street, tmp_path, kept_run_dir):
    """The truth of the part `test`, and what a run that found all but image 5 makes of it."""
    source = kept_run_dir / "evaluation" / "street_test" / "coco_instances_results.json"
    text = source.read_text()
    (tmp_path / source.name).write_text(text)
    return write_label_errors(tmp_path, street.coco_path("test"))


def doubt_a_car(truth):
    """A car that was found as a person, and the same car as one that was never found."""
    car = next(i for i, one in enumerate(truth.records) if one["category_id"] == 2)
    place = int(truth.image[car]), tuple(truth.boxes[car].tolist())
    other = Suspect(place[0], 0, Reason.OTHER_CLASS, 0.75, 0.875, place[1], car)
    return [other, other._replace(reason=Reason.NEVER_FOUND, score=None, category=1)]


def test_a_place_is_shown_twice_with_what_is_said_of_it(street, doubts):
    truth, _ = doubts
    colours = colours_of(truth.classes)
    images = look_for_images(street.coco_path("test"), truth)
    first, second = (
        show_suspect(i, one, truth, images, colours) for i, one in enumerate(doubt_a_car(truth), 1)
    )
    assert first.caption == "1. Person: another class is annotated"
    assert second.caption == "2. Car: annotated but never found"
    assert first.detail.startswith("score 0.88, certainty 0.75, ")
    assert second.detail.startswith("certainty 0.75, ") and "photo: Ann Other" in second.detail
    for cell in (first, second):
        width = (cell.image.shape[1] - GAP) // 2
        assert cell.image.shape[0] <= HALF[0] and width <= HALF[1]
        assert (cell.image[:, :width] != cell.image[:, -width:]).any()
    assert (first.image != second.image).any()  # the frame of the detection


def test_all_that_are_asked_for_are_on_the_sheet(street, doubts, tmp_path):
    truth, _ = doubts
    images, path = look_for_images(street.coco_path("test"), truth), tmp_path / "sheet.jpg"
    heights = []
    for times in (1, 2):
        write_label_sheet(truth, doubt_a_car(truth) * 3 * times, images, "title", path)
        with Image.open(path) as sheet:
            heights.append(sheet.size[1])
    assert heights[1] - heights[0] > 2 * HALF[0]  # two rows more


def test_images_that_are_not_there_are_left_out(doubts, tmp_path, street):
    truth, suspects = doubts
    assert look_for_images(street.coco_path("test"), truth) == Images(street.data_dir / "images")
    assert look_for_images(tmp_path / "coco.json", truth) is None
    write_label_sheet(truth, suspects, Images(tmp_path), "title", tmp_path / "sheet.jpg")
    assert not (tmp_path / "sheet.jpg").exists()


@pytest.mark.parametrize("box", [(0, 0, 5, 5), (85, 55, 5, 5), (0, 0, 90, 60), (30, 0, 3, 60)])
def test_what_is_shown_holds_the_box_and_stays_in_the_image(box):
    x0, y0, x1, y1 = choose_window(box, (60, 90))
    assert 0 <= x0 <= box[0] and 0 <= y0 <= box[1]
    assert box[0] + box[2] <= x1 <= 90 and box[1] + box[3] <= y1 <= 60
