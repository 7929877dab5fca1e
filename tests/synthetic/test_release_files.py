import csv
import io
import json
import zipfile
from pathlib import Path

import numpy as np
import pytest
from PIL import Image
from raising import refused

from oiv5_d2.openimages.release import (
    ANNOTATIONS_DIR,
    ATTRIBUTES,
    HEX_DIGITS,
    IMAGES_DIR,
    SPLITS,
    V5,
    ReleaseFile,
)
from oiv5_d2.problems import Kind, Remedy
from oiv5_d2.synthetic import write_release
from oiv5_d2.synthetic.annotations import MASK_SIDES, MIDS, PARENTS, SEGMENTED

NUM_IMAGES = {"train": 8, "validation": 4, "test": 3}
SIZE = (64, 96)
NAMES = {mid: name for name, mid in MIDS.items()}

Rows = list[dict[str, str]]


@pytest.fixture(scope="module")
def root(tmp_path_factory: pytest.TempPathFactory) -> Path:
    root = tmp_path_factory.mktemp("synthetic") / "release"
    write_release(root, NUM_IMAGES, SIZE, seed=5)
    return root


def rows_of(root: Path, table: ReleaseFile) -> Rows:
    with (root / ANNOTATIONS_DIR / table.path).open(newline="", encoding="utf-8") as file:
        reader = csv.DictReader(file)
        assert tuple(reader.fieldnames or ()) == table.columns
        return list(reader)


def all_rows(root: Path, table_of) -> Rows:
    return [row for split in SPLITS for row in rows_of(root, table_of(split))]


def image(root: Path, split: str, image_id: str) -> Path:
    return root / IMAGES_DIR / V5.image_key(split, image_id)


def mask_bytes(root: Path, split: str, name: str) -> bytes:
    path = root / ANNOTATIONS_DIR / V5.mask_zip(split, name[0]).path
    with zipfile.ZipFile(path) as archive:
        return archive.read(name)


def masks_of(root: Path):
    """Yield split, mask row and mask (H, W) of a release."""
    for split in SPLITS:
        for row in rows_of(root, V5.mask_csv(split)):
            image = Image.open(io.BytesIO(mask_bytes(root, split, row["MaskPath"])))
            assert image.mode == "1"
            yield split, row, np.asarray(image)


def iou_of_boxes(row: dict[str, str], mask: np.ndarray) -> float:
    """IoU of a mask row's box with the mask's tight box, in fractions."""
    rows, columns = np.flatnonzero(mask.any(1)), np.flatnonzero(mask.any(0))
    height, width = mask.shape
    tight = columns[0] / width, (columns[-1] + 1) / width, rows[0] / height, (rows[-1] + 1) / height
    box = tuple(float(row[f"Box{side}"]) for side in ("XMin", "XMax", "YMin", "YMax"))
    w = min(tight[1], box[1]) - max(tight[0], box[0])
    h = min(tight[3], box[3]) - max(tight[2], box[2])
    areas = [(b[1] - b[0]) * (b[3] - b[2]) for b in (tight, box)]
    return w * h / (sum(areas) - w * h)


def test_the_folder_holds_what_the_buckets_hold_and_nothing_else(root):
    found = {
        str(path.relative_to(root / ANNOTATIONS_DIR))
        for path in (root / ANNOTATIONS_DIR).rglob("*.*")
    }
    tables = (V5.mask_csv, V5.box_csv, V5.image_label_csv, V5.image_csv)
    wanted = {table(split).path for table in tables for split in SPLITS}
    wanted |= {V5.mask_zip(split, digit).path for split in SPLITS for digit in HEX_DIGITS}
    wanted |= {V5.class_csv.path, V5.hierarchy.path, "v5/classes-segmentation.txt"}
    assert found == wanted
    assert {path.name for path in root.iterdir()} == {"openimages", "open-images-dataset"}


def test_each_split_lists_as_many_pictures_as_asked_for(root):
    for split, number in NUM_IMAGES.items():
        rows = rows_of(root, V5.image_csv(split))
        assert len(rows) == number
        assert {row["Subset"] for row in rows} == {split}
        ids = [row["ImageID"] for row in rows]
        assert ids == sorted(set(ids))
        assert all(len(image_id) == 16 and int(image_id, 16) >= 0 for image_id in ids)


def test_pictures_have_the_size_asked_for(root):
    paths = sorted((root / IMAGES_DIR).rglob("*.jpg"))
    assert len(paths) >= sum(NUM_IMAGES.values()) - len(NUM_IMAGES)
    for path in paths:
        with Image.open(path) as image:
            assert (image.height, image.width) == SIZE


def test_coordinates_have_six_decimals_and_mask_rows_repeat_their_box_row(root):
    sides = ("XMin", "XMax", "YMin", "YMax")
    keys = []
    for row in all_rows(root, V5.box_csv):
        corners = [row[side] for side in sides]
        assert all(len(corner.split(".")[1]) == 6 for corner in corners)
        x0, x1, y0, y1 = map(float, corners)
        assert 0 <= x0 < x1 <= 1
        assert 0 <= y0 < y1 <= 1
        keys.append((row["ImageID"], row["LabelName"], *corners))
    assert len(set(keys)) == len(keys)
    for row in all_rows(root, V5.mask_csv):
        box = (row["ImageID"], row["LabelName"], *(row[f"Box{side}"] for side in sides))
        assert box in keys


def test_masks_lie_in_the_zip_of_their_first_digit_named_as_in_the_release(root):
    for split in SPLITS:
        rows = rows_of(root, V5.mask_csv(split))
        names = [f"{r['ImageID']}_{r['LabelName'].replace('/', '')}_{r['BoxID']}.png" for r in rows]
        assert [row["MaskPath"] for row in rows] == names
        in_zips = []
        for digit in HEX_DIGITS:
            path = root / ANNOTATIONS_DIR / V5.mask_zip(split, digit).path
            with zipfile.ZipFile(path) as archive:
                assert archive.testzip() is None
                assert all(name[0] == digit for name in archive.namelist())
                assert {e.date_time for e in archive.infolist()} <= {(2019, 5, 1, 0, 0, 0)}
                in_zips += archive.namelist()
        assert sorted(names) == sorted(in_zips)


def test_zips_are_stored_and_deflated_and_some_are_empty(root):
    methods, sizes = set(), []
    for path in sorted((root / ANNOTATIONS_DIR).rglob("*.zip")):
        with zipfile.ZipFile(path) as archive:
            methods |= {entry.compress_type for entry in archive.infolist()}
            sizes.append(len(archive.infolist()))
    assert methods == {zipfile.ZIP_STORED, zipfile.ZIP_DEFLATED}
    assert min(sizes) == 0


def test_masks_agree_with_their_boxes(root):
    ious = [iou_of_boxes(row, mask) for _, row, mask in masks_of(root) if mask.any()]
    assert np.median(ious) > 0.8
    assert sum(iou < 0.75 for iou in ious) <= 0.1 * len(ious)


def test_most_masks_have_another_size_than_their_picture_up_to_rounding_its_shape(root):
    sizes = [mask.shape for _, _, mask in masks_of(root)]
    assert sum(size != SIZE for size in sizes) > 0.5 * len(sizes)
    assert any(height > SIZE[0] for height, _ in sizes)
    assert any(height < SIZE[0] for height, _ in sizes)
    for height, width in sizes:
        assert abs(height - width * SIZE[0] / SIZE[1]) <= 2


def test_only_train_has_predicted_ious_and_clicks(root):
    for split in SPLITS:
        for row in rows_of(root, V5.mask_csv(split)):
            assert bool(row["PredictedIoU"]) == bool(row["Clicks"]) == (split == "train")


def test_the_class_table_and_the_tree_agree(root):
    bucket = root / ANNOTATIONS_DIR
    table = dict(csv.reader((bucket / V5.class_csv.path).read_text().splitlines()))
    assert table == NAMES
    segmented = (bucket / "v5/classes-segmentation.txt").read_text().split()
    assert set(segmented) == set(SEGMENTED.values())
    edges: set[tuple[str, str, str]] = set()

    def walk(node):
        for kind in ("Subcategory", "Part"):
            for child in node.get(kind, ()):
                edges.add((node["LabelName"], kind, child["LabelName"]))
                walk(child)

    walk(json.loads((bucket / V5.hierarchy.path).read_text()))
    for child, parent in PARENTS.items():
        assert (MIDS[parent], "Subcategory", MIDS[child]) in edges
    assert (MIDS["Person"], "Part", MIDS["Human body"]) in edges
    assert (MIDS["Land vehicle"], "Subcategory", MIDS["Bus"]) in edges
    assert {child for _, _, child in edges} == set(NAMES)


def test_children_and_siblings_are_labelled_as_themselves(root):
    labels = {NAMES[row["LabelName"]] for row in all_rows(root, V5.mask_csv)}
    assert {"Man", "Woman", "Van", "Stop sign", "Bus", "Truck", "Motorcycle"} <= labels
    assert labels & {"Boy", "Girl"}
    assert any("_m04_sv_" in row["MaskPath"] for row in all_rows(root, V5.mask_csv))


def test_groups_and_depictions_have_no_mask(root):
    boxes = all_rows(root, V5.box_csv)
    for flag in ("IsGroupOf", "IsDepiction"):
        flagged = [row for row in boxes if row[flag] == "1"]
        assert flagged
        masked = {
            (row["ImageID"], row["BoxXMin"], row["BoxYMin"]) for row in all_rows(root, V5.mask_csv)
        }
        assert not {(row["ImageID"], row["XMin"], row["YMin"]) for row in flagged} & masked


def test_masks_are_only_for_boxes_large_enough(root):
    for row in all_rows(root, V5.mask_csv):
        w = float(row["BoxXMax"]) - float(row["BoxXMin"])
        h = (float(row["BoxYMax"]) - float(row["BoxYMin"])) * SIZE[0] / SIZE[1]
        # An annotator's box is a little off, and one is squeezed so that its mask spills over.
        assert min(w, h) > 0.6 * MASK_SIDES[0]
        assert max(w, h) > 0.6 * MASK_SIDES[1]
    num_masks = len(all_rows(root, V5.mask_csv))
    assert num_masks < len(all_rows(root, V5.box_csv))


def test_attributes_are_flags_or_unknown(root):
    boxes = all_rows(root, V5.box_csv)
    for flag in ATTRIBUTES:
        assert {row[flag] for row in boxes} <= {"-1", "0", "1"}
    assert {row["IsOccluded"] for row in boxes} == {"-1", "0", "1"}
    assert {row["IsTruncated"] for row in boxes} == {"-1", "0", "1"}


@pytest.mark.parametrize("split", SPLITS)
def test_each_split_has_an_empty_mask_and_one_that_spills_over_its_box(root, split):
    masks = [(row, mask) for where, row, mask in masks_of(root) if where == split]
    assert sum(not mask.any() for _, mask in masks) == 1
    spilled = [row for row, mask in masks if mask.any() and iou_of_boxes(row, mask) < 0.75]
    assert spilled


def test_a_listed_picture_is_missing(root):
    missing = [
        row["ImageID"]
        for row in rows_of(root, V5.image_csv("train"))
        if not image(root, "train", row["ImageID"]).exists()
    ]
    assert len(missing) == 1
    assert missing[0] in {row["ImageID"] for row in rows_of(root, V5.mask_csv("train"))}


def test_one_picture_a_split_is_grey_and_one_in_train_is_turned_by_its_exif(root):
    modes, turns = {split: [] for split in SPLITS}, []
    for split in SPLITS:
        for path in sorted((root / IMAGES_DIR / split).iterdir()):
            with Image.open(path) as image:
                modes[split].append(image.mode)
                turns.append((split, image.getexif().get(0x0112)))
    assert all(found.count("L") == 1 for found in modes.values())
    assert [split for split, turn in turns if turn == 6] == ["train"]


def test_titles_hold_commas_and_quotes_and_some_rotation_is_not_zero(root):
    rows = all_rows(root, V5.image_csv)
    assert any("," in row["Title"] for row in rows)
    assert any('"' in row["Title"] for row in rows)
    assert {row["Rotation"] for row in rows} - {"0.0"}
    assert all(row["License"].startswith("https://creativecommons.org/") for row in rows)


def test_verified_labels_are_true(root):
    absent = 0
    for split in SPLITS:
        boxed: dict[str, set[str]] = {}
        for row in rows_of(root, V5.box_csv(split)):
            boxed.setdefault(row["ImageID"], set()).add(NAMES[row["LabelName"]])
        verified = rows_of(root, V5.image_label_csv(split))
        for row in verified:
            label, there = NAMES[row["LabelName"]], boxed[row["ImageID"]]
            assert row["Confidence"] == str(int(label in there))
            absent += row["Confidence"] == "0"
            if row["Confidence"] == "0":
                assert not {child for child in there if PARENTS.get(child) == label}
        present = {(r["ImageID"], NAMES[r["LabelName"]]) for r in verified}
        assert {(image, label) for image, there in boxed.items() for label in there} <= present
    assert absent >= sum(NUM_IMAGES.values())


def contents(root: Path) -> dict[str, bytes]:
    return {
        str(path.relative_to(root)): path.read_bytes()
        for path in sorted(root.rglob("*"))
        if path.is_file()
    }


def test_the_same_settings_give_the_same_bytes_however_many_processes_draw(tmp_path):
    settings = {"num_images": {"train": 3, "test": 1}, "size": (48, 64), "seed": 1}
    write_release(tmp_path / "one", **settings, workers=1)
    write_release(tmp_path / "two", **settings, workers=2)
    assert contents(tmp_path / "one") == contents(tmp_path / "two")


def test_another_seed_gives_other_pictures(tmp_path):
    for seed in (1, 2):
        write_release(tmp_path / str(seed), {"test": 1}, (48, 64), seed)
    names = [set(contents(tmp_path / str(seed))) for seed in (1, 2)]
    assert not {n for n in names[0] if n.endswith("jpg")} & names[1]


def test_progress_counts_every_picture(tmp_path):
    steps: list[int] = []
    write_release(tmp_path / "r", {"train": 2, "validation": 1}, (32, 48), 0, steps.append)
    assert sum(steps) == 3


def test_a_release_takes_the_place_of_an_older_one(tmp_path):
    root = tmp_path / "release"
    write_release(root, {"train": 2}, (32, 48))
    write_release(root, {"train": 1}, (32, 48))
    assert len(list((root / IMAGES_DIR / "train").iterdir())) == 1
    assert [path.name for path in tmp_path.iterdir()] == ["release"]


def test_a_failure_leaves_the_older_release_and_no_half_of_the_new_one(tmp_path):
    root = tmp_path / "release"
    write_release(root, {"train": 1}, (32, 48))
    before = contents(root)

    def fail(_: int) -> None:
        raise RuntimeError("the disk is full")

    with pytest.raises(RuntimeError):
        write_release(root, {"train": 2}, (32, 48), advance=fail)
    assert contents(root) == before
    assert [path.name for path in tmp_path.iterdir()] == ["release"]


def test_a_folder_with_something_else_in_it_is_left_alone(tmp_path):
    (tmp_path / "thesis.txt").write_text("years of work")
    with refused(Kind.FOREIGN, remedy=Remedy.MOVE_AWAY, about=tmp_path):
        write_release(tmp_path, {"train": 1}, (32, 48))
    assert (tmp_path / "thesis.txt").read_text() == "years of work"


@pytest.mark.parametrize(
    ("settings", "key"),
    [
        ({"num_images": {"train": -1}}, "data.synthetic.num_images"),
        ({"num_images": {"val": 3}}, "data.synthetic.num_images"),
        ({"size": (8, 384)}, "data.synthetic.size"),
        ({"seed": -4}, "data.synthetic.seed"),
        ({"workers": 0}, "workers"),
    ],
)
def test_nonsense_settings_are_refused_before_anything_is_written(tmp_path, settings, key):
    with refused(Kind.SETTING, key=key):
        write_release(tmp_path / "release", **settings)
    assert not list(tmp_path.iterdir())
