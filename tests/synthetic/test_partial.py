import csv
import shutil
import zipfile
from collections import defaultdict
from pathlib import Path

import pytest
from raising import refused

from oiv5_d2.openimages.release import ANNOTATIONS_DIR, HEX_DIGITS, IMAGES_DIR, V5, ReleaseFile
from oiv5_d2.problems import Kind
from oiv5_d2.synthetic import Rates, thin_out, write_release
from oiv5_d2.synthetic.annotations import MIDS, TRAFFIC, family

TABLES = (V5.mask_csv("train"), V5.box_csv("train"), V5.image_label_csv("train"))
CLASS_OF = {mid: family(name) for name, mid in MIDS.items()}


@pytest.fixture(scope="module")
def whole(tmp_path_factory) -> Path:
    root = tmp_path_factory.mktemp("whole") / "release"
    write_release(root, {"train": 24, "validation": 2}, (96, 128), seed=3)
    return root


@pytest.fixture
def thinned(whole, tmp_path):
    def thin(seed=0, **rates) -> Path:
        root = tmp_path / f"release {rates}"
        shutil.copytree(whole, root)
        thin_out(root, Rates(**{"masks": 1.0, "group_of": 0.0, "unverified": 0.0, **rates}), seed)
        return root

    return thin


def rows_of(root: Path, table: ReleaseFile) -> list[dict[str, str]]:
    with (root / ANNOTATIONS_DIR / table.path).open(newline="") as file:
        return list(csv.DictReader(file))


def masks_of(root: Path) -> set[str]:
    names: set[str] = set()
    for digit in HEX_DIGITS:
        with zipfile.ZipFile(root / ANNOTATIONS_DIR / V5.mask_zip("train", digit).path) as archive:
            names |= set(archive.namelist())
    return names


def contents(folder: Path) -> dict[str, bytes]:
    return {str(p.relative_to(folder)): p.read_bytes() for p in folder.rglob("*") if p.is_file()}


def test_with_all_rates_at_their_ends_nothing_changes(whole, thinned):
    assert contents(thinned()) == contents(whole)


def test_images_and_the_other_splits_are_not_touched(whole, thinned):
    root = thinned(masks=0.3, group_of=0.3, unverified=0.5)
    before, after = contents(whole), contents(root)
    changed = {name for name in before if before[name] != after[name]}
    assert before.keys() == after.keys()
    assert changed
    assert not any(name.startswith(IMAGES_DIR) or "validation" in name for name in changed)


def test_masks_go_and_boxes_stay(whole, thinned):
    root = thinned(masks=0.4)
    kept = {row["MaskPath"] for row in rows_of(root, TABLES[0])}
    assert kept == masks_of(root) < masks_of(whole)
    assert 0.25 < len(kept) / len(masks_of(whole)) < 0.55
    assert rows_of(root, TABLES[1]) == rows_of(whole, TABLES[1])


def test_a_lower_rate_leaves_out_all_that_a_higher_one_does(thinned):
    assert masks_of(thinned(masks=0.2)) < masks_of(thinned(masks=0.6))


def test_an_unverified_class_has_no_row_in_its_image_and_one_class_stays(whole, thinned):
    for rate, num_fewest in ((0.5, 0), (1.0, 1)):
        root = thinned(unverified=rate)
        gone = defaultdict(set)
        for image_id, names in classes_of(whole, TABLES[1]).items():
            left = classes_of(root, TABLES[1])[image_id]
            gone[image_id] = (names - left) & set(TRAFFIC)
            assert left & set(TRAFFIC) or not names & set(TRAFFIC)
            assert len(left & set(TRAFFIC)) <= 1 or not num_fewest
        for table in TABLES:
            found = classes_of(root, table)
            assert not any(found[image_id] & names for image_id, names in gone.items())
        assert any(gone.values())


def classes_of(root: Path, table: ReleaseFile) -> dict[str, set[str]]:
    found = defaultdict(set)
    for row in rows_of(root, table):
        if row.get("Confidence") != "0":
            found[row["ImageID"]].add(CLASS_OF[row["LabelName"]])
    return found


def test_a_group_takes_the_place_of_the_objects_in_it_with_their_masks(whole, thinned):
    root = thinned(group_of=0.3)
    before, after = ({place(r) for r in rows_of(one, TABLES[1])} for one in (whole, root))
    groups = [r for r in rows_of(root, TABLES[1]) if r["IsGroupOf"] == "1"]
    assert len(groups) > sum(r["IsGroupOf"] == "1" for r in rows_of(whole, TABLES[1]))
    gone = {(image, label, corners) for image, label, corners, _ in before - after}
    for image, label, (x0, x1, y0, y1) in gone:
        around = [r for r in groups if (r["ImageID"], r["LabelName"]) == (image, label)]
        assert any(
            float(r["XMin"]) <= float(x0)
            and float(x1) <= float(r["XMax"])
            and float(r["YMin"]) <= float(y0)
            and float(y1) <= float(r["YMax"])
            for r in around
        )
    masked = {place(row, "Box")[:3] for row in rows_of(root, TABLES[0])}
    assert not masked & gone


def place(row: dict[str, str], prefix: str = "") -> tuple:
    corners = tuple(row[prefix + side] for side in ("XMin", "XMax", "YMin", "YMax"))
    return row["ImageID"], row["LabelName"], corners, row.get("IsGroupOf")


@pytest.mark.parametrize("name", ["masks", "group_of", "unverified"])
def test_a_rate_is_a_share(name):
    with refused(Kind.SETTING, key=f"data.synthetic.partial.{name}"):
        Rates(**{"masks": 1.0, "group_of": 0.0, "unverified": 0.0, name: 1.5})
