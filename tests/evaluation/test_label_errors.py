import csv

import numpy as np
import pytest
from judging import SIZE, annotate, block, detect, random_case, read

from oiv5_d2.evaluation.diagnosis import diagnose
from oiv5_d2.evaluation.label_errors import COLUMNS, Reason, find_suspects, write_suspects

BOX, ELSEWHERE = (4, 4, 20, 20), (40, 24, 16, 16)
PERSON, CAR = 1, 2


def write_errors():
    """Twenty people and twenty cars that are found, but for what the tests below expect."""
    image = {"height": SIZE[0], "width": SIZE[1], "positive_category_ids": [PERSON, CAR]}
    images = [
        image | {"id": i, "open_images_id": f"{i:016x}", "file_name": f"{i}.jpg"}
        for i in range(1, 41)
    ]
    images[3]["positive_category_ids"] = [CAR]  # nobody looked for people on image 4
    truth = {
        "images": images,
        "categories": [{"id": PERSON, "name": "Person"}, {"id": CAR, "name": "Car"}],
        "annotations": [put(i, PERSON if i <= 20 else CAR) for i in range(1, 41)],
    }
    found = [
        detect(i, PERSON if i <= 20 else CAR, block(*BOX), BOX, 0.99 - i / 1000)
        for i in range(1, 41)
    ]
    annotations = truth["annotations"]
    annotations[2] = annotations[3] = None  # forgotten on images 3 and 4
    annotations[24]["category_id"] = PERSON  # image 25
    annotations[0] = put(1, PERSON, kind="no mask")  # where a detection is ignored
    annotations.append(put(30, CAR, ELSEWHERE))  # where nothing is
    truth["annotations"] = [
        one | {"id": id_} for id_, one in enumerate(annotations, 1) if one is not None
    ]
    return truth, found


def put(image, category, box=BOX, kind="object"):
    return annotate(image, category, block(*box), [float(side) for side in box], kind)


@pytest.fixture(scope="module")
def case(tmp_path_factory):
    return read(tmp_path_factory.mktemp("errors"), *write_errors())


@pytest.mark.parametrize("task", ["segm", "bbox"])
def test_each_planted_error_is_found_with_its_reason_and_nothing_else(case, task):
    truth, _ = case
    suspects = find_suspects(diagnose(*case, task))
    named = {
        (truth.images[one.image]["id"], truth.classes[one.category], one.reason) for one in suspects
    }
    assert named == {
        (3, "Person", Reason.NOTHING),
        (25, "Car", Reason.OTHER_CLASS),
        (30, "Car", Reason.NEVER_FOUND),
    }
    assert len(suspects) == 3


def test_they_are_ranked_by_how_often_the_model_is_right_in_such_a_case(case):
    truth, _ = case
    by_reason = {one.reason: one for one in find_suspects(diagnose(*case, "segm"))}
    # Of people as sure as the one on image 3 that on 2 is true, and that on 1 is ignored; of cars
    # those on 21 to 24; of 20 cars of that size all but the one that is not there are found.
    certainty = {reason: one.certainty for reason, one in by_reason.items()}
    assert certainty == pytest.approx(
        {Reason.NEVER_FOUND: 19 / 20, Reason.OTHER_CLASS: 4 / 5, Reason.NOTHING: 1 / 2}
    )
    assert list(certainty) == [Reason.NEVER_FOUND, Reason.OTHER_CLASS, Reason.NOTHING]
    assert by_reason[Reason.NEVER_FOUND].score is None
    assert by_reason[Reason.OTHER_CLASS].score == pytest.approx(0.965)
    assert truth.records[by_reason[Reason.OTHER_CLASS].annotation]["image_id"] == 25


def test_the_table_names_image_class_box_score_and_reason(case, tmp_path):
    path = tmp_path / "errors.csv"
    write_suspects(path, find_suspects(diagnose(*case, "segm")), case[0])
    with path.open(newline="") as file:
        rows = list(csv.DictReader(file))
    assert tuple(rows[0]) == COLUMNS and [row["rank"] for row in rows] == ["1", "2", "3"]
    missed, other, nothing = rows
    assert (missed["image_id"], missed["class"], missed["score"]) == (f"{30:016x}", "Car", "")
    assert [missed[side] for side in ("x", "y", "width", "height")] == ["40.0", "24.0"] + [
        "16.0"
    ] * 2
    assert (other["class"], other["annotated_class"], other["annotation_id"]) == (
        "Car",
        "Person",
        "25",
    )
    assert (nothing["annotation_id"], nothing["annotated_class"]) == ("", "")
    assert nothing["score"] == "0.9870" and nothing["file_name"] == "3.jpg"


def test_detections_below_their_threshold_are_not_believed(case):
    truth, found = case
    low = np.where(found.image == 2, 0.001, found.scores)  # the place without an annotation
    suspects = find_suspects(diagnose(truth, type(found)(**{**vars(found), "scores": low}), "segm"))
    assert Reason.NOTHING not in {one.reason for one in suspects}


@pytest.mark.parametrize("seed", range(5))
def test_random_cases_and_nothing_found_are_no_trouble(tmp_path, seed):
    truth, found = read(tmp_path, *random_case(seed))
    for some in (found, found.take(np.zeros(len(found), dtype=bool))):
        suspects = find_suspects(diagnose(truth, some, "segm"))
        assert all(0 <= one.certainty <= 1 for one in suspects)
        objects = [one.annotation for one in suspects if one.reason is Reason.NEVER_FOUND]
        assert not truth.is_crowd[objects].any()
