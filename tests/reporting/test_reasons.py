from dataclasses import replace

import numpy as np
import pytest
from judging import random_case, read
from PIL import Image

from oiv5_d2.drawing.colours import INK, PALETTE, on_paper
from oiv5_d2.evaluation.analysis import analyse
from oiv5_d2.evaluation.diagnosis import diagnose
from oiv5_d2.reporting.reasons import slice_table, threshold_table, write_reasons
from oiv5_d2.runs.results import Results, read_results, write_results


@pytest.fixture(scope="module")
def results(tmp_path_factory):
    """Of random detections, as they are read back from the file."""
    folder = tmp_path_factory.mktemp("random")
    truth, found = read(folder, *random_case(3))
    analysis = analyse(diagnose(truth, found, "segm"), {})
    tasks = {"segm": {"AP": 1.0}}
    write_results(folder / "r.json", Results("d", "", 1, truth.num_instances, tasks,
                                             analysis=analysis))  # fmt: skip
    return read_results(folder / "r.json")


def test_the_pictures_are_small_and_the_same_again(results, tmp_path):
    for name in ("a", "b"):
        write_reasons(results, "title", tmp_path / name)
    first, second = ({p.name: p.read_bytes() for p in (tmp_path / n).iterdir()} for n in "ab")
    assert first == second and set(first) == {"confusion.png", "precision.png"}
    assert sum(map(len, first.values())) < 150_000
    for name in first:
        with Image.open(tmp_path / "a" / name) as image:
            assert image.size[0] == 1100
            pixels = np.asarray(image.convert("RGB"))
        assert (pixels != 255).any(axis=2).mean() > 0.03  # something is drawn


def test_the_blocks_link_the_pictures_and_have_the_tables(results, tmp_path):
    page = "\n".join(write_reasons(results, "title", tmp_path))
    assert "(confusion.png)" in page and "(precision.png)" in page
    for name, one in results.analysis["slices"].items():
        assert f"| {name} | {one['objects']} |" in page


def test_a_class_has_its_threshold_and_what_it_gives(results):
    table = threshold_table(results)
    assert [row[0] for row in table.rows] == list(results.analysis["classes"])
    for row, one in zip(table.rows, results.analysis["classes"].values(), strict=True):
        values = [one[key] for key in ("threshold", "precision", "recall", "best_f1", "ece")]
        assert list(row[1:]) == ["-" if v is None else f"{v:.2f}" for v in values]
    assert slice_table(results).columns[3:] == ("segm AP50", "segm AP")


def test_classes_that_nothing_was_found_of_are_drawn_too(tmp_path):
    truth, found = read(tmp_path, *random_case(3))
    nothing = found.take(np.zeros(len(found), dtype=bool))
    for name, some in (("none", truth), ("unverified", replace(truth, verified=None))):
        analysis = analyse(diagnose(some, nothing, "bbox"), {})
        results = Results("d", "", 1, {}, {}, analysis=analysis)
        assert write_reasons(results, "title", tmp_path / name)
        assert {row[1] for row in threshold_table(results).rows} == {"-"}


def test_results_of_an_older_version_give_no_reasons(results, tmp_path):
    assert write_reasons(results._replace(analysis={}), "title", tmp_path) == []
    assert not list(tmp_path.iterdir())


def test_colours_for_lines_are_dark_enough_and_dark_ones_stay():
    assert on_paper(INK) == INK and on_paper(PALETTE[0]) == PALETTE[0]
    for colour in PALETTE:
        darker = on_paper(colour)
        assert contrast_on_white(darker) >= 2.95
        assert np.argmax(darker) == np.argmax(colour)  # the same hue


def contrast_on_white(colour):
    linear = [((one / 255 + 0.055) / 1.055) ** 2.4 for one in colour]
    return 1.05 / (float(np.dot(linear, (0.2126, 0.7152, 0.0722))) + 0.05)
