import base64
import io
import json
import re
import shutil
from html.parser import HTMLParser

import numpy as np
import pytest
from PIL import Image
from raising import refused

from oiv5_d2.problems import Kind, Remedy
from oiv5_d2.reporting.page.page import confusions, headline, write_run_page
from oiv5_d2.reporting.page.pictures import MAX_BYTES
from oiv5_d2.runs.layout import read_evaluations
from oiv5_d2.runs.results import write_results

pytestmark = pytest.mark.filterwarnings("ignore:__array__ implementation doesn't accept a copy")
SECTIONS = ["result", "training", "errors", "scores", "slices", "images", "settings"]
SECTIONS += ["origin", "credits"]


class Reader(HTMLParser):
    """Notes the sections, what a browser would load, the links and the JSON of a page."""

    def __init__(self, text):
        super().__init__()
        self.sections, self.loaded, self.links, self.data = [], [], [], []
        self._is_data = False
        self.feed(text)

    def handle_starttag(self, tag, attributes):
        found = dict(attributes)
        self.sections += [found["id"]] if tag == "section" else []
        self.links += [found["href"]] if tag == "a" else []
        self.loaded += [found[key] for key in ("src", "srcset", "data", "poster") if key in found]
        self.loaded += [found["href"]] if "href" in found and tag != "a" else []
        self._is_data = found.get("type") == "application/json"

    def handle_data(self, text):
        if self._is_data:
            self.data.append(json.loads(text))
            self._is_data = False


@pytest.fixture
def text(page_path):
    return page_path.read_text()


@pytest.fixture
def gallery(text):
    (found,) = [one for one in Reader(text).data if "pictures" in one]
    return found


def test_the_page_is_in_the_runs_folder_and_has_all_its_sections(page_path, text):
    assert page_path.name == "report.html" and (page_path.parent / "run.json").is_file()
    assert Reader(text).sections == SECTIONS


def test_the_page_is_small(page_path, gallery):
    images = sum(len(one["jpeg"]) for one in gallery["pictures"])
    assert page_path.stat().st_size - images < 120_000
    assert 60 * MAX_BYTES * 4 / 3 < 11_000_000  # of the 15 MB that can be mailed


def test_confusions_are_told_by_number_without_what_is_right():
    counts = [[9, 2, 0], [1200, 8, 1], [0, 3, 0]]
    table = confusions({"classes": ["Person", "Car"], "counts": counts})
    assert table.rows == [
        ("Car", "Person", "1,200"),
        ("nothing", "Car", "3"),
        ("Person", "Car", "2"),
        ("Car", "missed", "1"),
    ]


def test_of_many_classes_the_commonest_are_drawn(judged_run_dir, street):
    (results,) = read_evaluations(judged_run_dir)
    analysis = results.analysis
    names = [f"class {i:02}" for i in range(30)]
    one = analysis["classes"]["Person"]
    many = {"classes": names, "counts": np.eye(31, dtype=int)[::-1].tolist()}
    results = results._replace(
        num_instances={name: i for i, name in enumerate(names)},
        analysis=analysis | {"classes": dict.fromkeys(names, one), "confusion": many},
    )
    write_results(judged_run_dir / "evaluation" / "street_test" / "results.json", results)
    text = write_run_page(judged_run_dir, street.root, 0).read_text()
    (chart,) = [one for one in Reader(text).data if one["title"] == "Precision over recall"]
    assert [line["name"] for line in chart["lines"]] == names[-12:]
    assert 'class="confusion"' not in text and ">class 29</td>" in text


def test_nothing_is_loaded_from_anywhere(text):
    reader = Reader(text)
    assert all(one.startswith("data:") for one in reader.loaded)
    assert set(re.findall(r"url\(([^)]*)\)", text)) == {"#hatch"} and "@import" not in text
    assert not re.search(r"\b(fetch|XMLHttpRequest|WebSocket|EventSource|sendBeacon)\b", text)
    assert "default-src 'none'" in text


def test_nothing_private_is_on_the_page(text, page_path, street):
    for secret in (page_path.parents[1], street.root, "/home", "someone"):
        assert str(secret) not in text


def test_the_same_run_gives_the_same_bytes(page_path, street):
    before = page_path.read_bytes()
    assert write_run_page(page_path.parent, street.root, 60).read_bytes() == before


def test_the_charts_have_the_runs_numbers(text):
    charts = {one["title"]: one for one in Reader(text).data if "title" in one}
    (total,) = charts["Total loss"]["lines"]
    assert (total["x"], total["y"]) == ([19, 39], [2.05, 1.05])
    (precision, *_) = charts["Precision over recall"]["lines"]
    assert precision["name"] == "Person" and len(precision["x"]) == 101


def test_the_gallery_has_truth_and_detections_of_each_image(gallery):
    pictures = {one["id"]: one for one in gallery["pictures"]}
    assert len(pictures) == len(gallery["pictures"]) == 3
    assert [one["name"] for one in gallery["classes"]] == ["Person", "Car", "Traffic light"]
    crowded = pictures[f"{1:02x}{5:014x}"]
    assert [one["outcome"] for one in crowded["truth"]] == ["object", "object", "ignored"]
    assert crowded["truth"][2]["tag"] == "group of" and crowded["truth"][0]["tag"] == "Woman"
    assert [one["outcome"] for one in crowded["found"]] == ["true", "true"]
    assert crowded["truth"][0]["box"] == crowded["found"][0]["box"] == [5.0, 5.0, 20.0, 50.0]
    assert crowded["truth"][0]["score"] == crowded["found"][0]["score"] == 0.4
    assert crowded["truth"][0]["path"].startswith("M")
    assert crowded["credit"] == {"author": "Ann Other"}


def test_a_thumbnail_is_a_jpeg_of_the_size_that_the_outlines_are_drawn_for(gallery):
    for one in gallery["pictures"]:
        with Image.open(io.BytesIO(base64.b64decode(one["jpeg"]))) as image:
            assert (image.format, list(image.size)) == ("JPEG", one["size"])


def test_fewer_images_are_shown_on_demand_and_none_without_the_data(judged_run_dir, street):
    few = write_run_page(judged_run_dir, street.root, 3).read_text()
    (gallery,) = [one for one in Reader(few).data if "pictures" in one]
    assert len(gallery["pictures"]) == 3
    none = Reader(write_run_page(judged_run_dir, street.root, 0).read_text())
    assert none.sections == [one for one in SECTIONS if one not in ("images", "credits")]


def test_what_an_older_evaluation_lacks_is_left_out(run_dir, street):
    (results,) = read_evaluations(run_dir)
    path = run_dir / "evaluation" / "street_test" / "results.json"
    write_results(path, results._replace(analysis={}))
    text = write_run_page(run_dir, street.root, 0).read_text()
    assert Reader(text).sections == ["result", "training", "settings", "origin"]


def test_an_address_that_is_no_web_address_is_no_link(judged_run_dir, street, tmp_path):
    data_dir = tmp_path / "data" / "street"
    shutil.copytree(street.data_dir, data_dir)
    path = data_dir / "coco" / "test.json"
    odd = '<b>Ann</b>", "author_url": "javascript:alert(1)'
    path.write_text(path.read_text().replace("Ann Other", odd))
    record = json.loads((judged_run_dir / "run.json").read_text())
    for one in record["data"].values():
        one |= {
            key: one[key].replace(str(street.data_dir), str(data_dir)) for key in ("json", "images")
        }
    (judged_run_dir / "run.json").write_text(json.dumps(record))
    text = write_run_page(judged_run_dir, street.root, 60).read_text()
    assert "javascript:" not in text and "<b>Ann" not in text and "&lt;b&gt;Ann" in text


def test_the_headline_is_each_metrics_number_with_its_interval(judged_run_dir):
    (results,) = read_evaluations(judged_run_dir)
    cards = {one.label: one for one in headline(results)}
    assert list(cards) == [
        *("mask AP", "mask AP50", "box AP", "box AP50"),
        *("OI mask AP50", "OI box AP50"),
    ]
    card = cards["mask AP"]
    assert card.value == results.tasks["segm"]["AP"]
    assert card.has_interval and card.low <= card.value <= card.high


def test_a_headline_without_intervals_has_none(kept_run_dir):
    assert not any(one.has_interval for one in headline(*read_evaluations(kept_run_dir)))


def test_a_run_that_was_never_evaluated_is_refused(run_dir, street):
    shutil.rmtree(run_dir / "evaluation")
    with refused(Kind.UNFINISHED, remedy=Remedy.EVALUATE, about=run_dir):
        write_run_page(run_dir, street.root, 0)
