import json
import re
import shutil

import pytest
from browser import find_browser, open_page

from oiv5_d2.reporting.page.comparison import group, label, training_charts, write_comparison_page
from oiv5_d2.reporting.page.pictures import draw_changes

pytestmark = pytest.mark.filterwarnings("ignore:__array__ implementation doesn't accept a copy")
SECRET = "/home/someone/weights.pkl"


def difference(name, first, second, interval):
    is_clear = not interval[0] <= 0 <= interval[1]
    numbers = {"first": first, "second": second, "interval": list(interval), "p": 0.02}
    return {"name": name, **numbers, "is_clear": is_clear}


DIFFERENCES = [
    difference("bbox/AP", 50.0, 48.0, (-4.0, 1.0)),
    difference("segm/AP", 40.0, 45.0, (2.0, 9.0)),
    difference("open_images/segm/AP50-Car", 60.0, 51.0, (-12.0, -3.0)),
    difference("slice: not inside", 30.0, 30.0, (0.0, 0.0)),
]


def data(text, key):
    """The JSON of a page that has a key."""
    found = re.findall(r'<script type="application/json"[^>]*>(.*?)</script>', text, re.DOTALL)
    return [one for one in map(json.loads, found) if key in one]


@pytest.fixture
def page_path(kept_run_dir, tmp_path):
    """The page about two runs that differ in a setting."""
    dirs = [tmp_path / "a", tmp_path / "b"]
    for one in dirs:
        shutil.copytree(kept_run_dir, one)
    content = {
        "runs": ["a", "b"],
        "differences": DIFFERENCES,
        "dataset": "street_test",
        "images": [
            {"image": f"01{id_:014x}", "first": 0.5, "second": id_ / 5} for id_ in (5, 1, 2, 3)
        ],
        "settings": {"SOLVER.BASE_LR": [0.1, 0.2], "MODEL.WEIGHTS": [SECRET, "model.pkl"]},
    }
    return write_comparison_page([one / "evaluation" for one in dirs], content, tmp_path, 3)


@pytest.mark.parametrize(
    ("name", "expected"),
    [
        ("segm/AP", "mask AP"),
        ("bbox/AP50-Traffic light", "box AP50, Traffic light"),
        ("open_images/segm/AP50-T-shirt", "OI mask AP50, T-shirt"),
        ("slice: label Van", "label Van"),
    ],
)
def test_a_difference_is_called_as_people_call_it(name, expected):
    assert label(name) == expected


def test_differences_are_grouped_and_masks_come_first():
    groups = group(DIFFERENCES)
    assert {name: [one.name for one in some] for name, some in groups.items()} == {
        "Metrics": ["mask AP", "box AP"],
        "By class": ["OI mask AP50, Car"],
        "Slices": ["not inside"],
    }
    (better, unclear), (worse,) = groups["Metrics"], groups["By class"]
    assert [one.verdict for one in (better, unclear, worse)] == ["better", "", "worse"]
    assert better.change == 5.0


def test_both_runs_curves_are_in_one_chart(kept_run_dir, tmp_path):
    charts = {one.title: one for one in training_charts([kept_run_dir, kept_run_dir])}
    assert [one.name for one in charts["Total loss"].lines] == [
        "training, first",
        "training, second",
    ]
    assert len({one.colour for one in charts["Average precision"].lines}) == 4
    assert training_charts([tmp_path, tmp_path]) == []


def test_the_page_has_what_differs_and_nothing_private(page_path, tmp_path):
    text = page_path.read_text()
    assert page_path == tmp_path / "b" / "comparison.html"
    assert text.count('<td class="text better">') == text.count('<td class="text worse">') == 1
    assert "SOLVER.BASE_LR" in text
    assert "/home" not in text and str(tmp_path) not in text
    assert {one["title"] for one in data(text, "title")} >= {"Total loss", "Average precision"}


def test_the_images_that_changed_have_both_runs_detections(page_path):
    (gallery,) = data(page_path.read_text(), "pictures")
    assert [name for name, _ in gallery["panels"]] == ["truth", "before", "found"]
    first, second, _ = gallery["pictures"]
    assert (first["id"], first["kinds"], first["caption"]) == (
        f"01{5:014x}",
        ["better"],
        "F1 0.50 to 1.00",
    )
    assert second["kinds"] == ["worse"]
    assert first["before"] == first["found"] != []
    assert {one["threshold"] for one in gallery["classes"]} == {0.5}


def test_without_images_the_data_is_not_needed(kept_run_dir, tmp_path):
    run_dir = tmp_path / "run"
    shutil.copytree(kept_run_dir, run_dir)
    content = {"dataset": "gone", "differences": DIFFERENCES, "images": [], "settings": {}}
    content["runs"] = names = ["run/evaluation", "run/evaluation_model_best"]
    folders = [run_dir / "evaluation", run_dir / "evaluation_model_best"]
    folders[1].mkdir()
    path = write_comparison_page(folders, content, tmp_path, 3)
    text = path.read_text()
    assert path == folders[1] / "comparison.html" and all(name in text for name in names)
    assert data(text, "pictures") == data(text, "title") == [] and "<p>None.</p>" in text


def test_the_detections_of_two_evaluations_of_a_run_are_side_by_side(kept_run_dir, tmp_path):
    run_dir = tmp_path / "run"
    shutil.copytree(kept_run_dir, run_dir)
    best = run_dir / "evaluation_model_best"
    shutil.copytree(run_dir / "evaluation", best)
    path = best / "street_test" / "coco_instances_results.json"
    path.write_text(json.dumps(json.loads(path.read_text())[:1]))
    changes = [{"image": f"01{5:014x}", "first": 0.5, "second": 0.2}]
    (picture,) = draw_changes([run_dir / "evaluation", best], "street_test", changes)
    assert len(picture.before) > len(picture.found) and picture.kinds == ["worse"]


@pytest.mark.skipif(not find_browser(), reason="there is no Chromium; CHROMIUM names one")
def test_a_browser_shows_it_sorts_it_and_asks_for_nothing(page_path):
    with open_page() as page:
        page.load(page_path, (400, 800))
        assert page.run("document.documentElement.scrollWidth") == 400
        names = "[...document.querySelectorAll('#group-1 tbody td:first-child')]"
        page.click("#group-1 th:nth-child(2) button")
        assert page.run(f"{names}.map((one) => one.textContent)") == ["mask AP", "box AP"]
        page.click("#group-1 th:nth-child(2) button")
        assert page.run(f"{names}.map((one) => one.textContent)") == ["box AP", "mask AP"]
        page.click(".picture img")
        assert page.run("document.querySelectorAll('#viewer .panel').length") == 3
        assert page.faults == page.requests == []
