import json

import pandas as pd
import pytest
from annotations import Annotations, image_id
from raising import refused

from oiv5_d2.openimages.release import SPLITS, V5
from oiv5_d2.problems import Kind, Remedy
from oiv5_d2.selection.choice import Choice
from oiv5_d2.selection.select import select
from oiv5_d2.selection.subset import list_files, load, save


@pytest.fixture
def annotations(tmp_path):
    return Annotations(tmp_path / "openimages")


def select_train(annotations):
    return select(annotations.write().joinpath, V5, Choice(("Person", "Car"), splits=("train",)))[
        "train"
    ]


def saved_bytes(subset, subset_dir):
    save(subset, subset_dir)
    return {path.name: path.read_bytes() for path in sorted(subset_dir.iterdir())}


def test_a_subset_survives_saving(annotations, tmp_path):
    annotations.add_object(image_id(1), "Man", iou="0.75", IsOccluded=1)
    annotations.add_box(image_id(1), "Car")
    annotations.add_image(image_id(1), title='"Ünïcode", 东京')
    subset = select_train(annotations)
    assert set(saved_bytes(subset, tmp_path / "subset")) == {
        "train.images.parquet",
        "train.instances.parquet",
        "train.json",
    }
    loaded = load(tmp_path / "subset", "train")
    assert (loaded.part, loaded.classes) == (subset.part, subset.classes)
    assert loaded.release == subset.release == V5
    assert loaded.recipe == json.loads(json.dumps(subset.recipe))
    pd.testing.assert_frame_equal(loaded.images, subset.images)
    pd.testing.assert_frame_equal(loaded.instances, subset.instances)


def test_the_recipe_fingerprints_what_was_read(annotations):
    annotations.add_object(image_id(1), "Car")
    inputs = select_train(annotations).recipe["inputs"]
    assert len(inputs) == 6
    for name, row in inputs.items():
        assert row["bytes"] == (annotations.annotations_dir / name).stat().st_size
        assert len(row["sha256"]) == 64


def test_a_part_that_was_not_made_is_refused(tmp_path):
    with refused(Kind.ABSENT, remedy=Remedy.PREPARE, about="train"):
        load(tmp_path, "train")


@pytest.mark.parametrize("suffix", ["json", "images.parquet", "instances.parquet"])
def test_a_damaged_subset_is_refused(annotations, tmp_path, suffix):
    annotations.add_object(image_id(1), "Car")
    save(select_train(annotations), tmp_path / "subset")
    path = tmp_path / "subset" / f"train.{suffix}"
    path.write_bytes(path.read_bytes()[:40])
    with refused(Kind.DAMAGED, remedy=Remedy.PREPARE_AGAIN, about=tmp_path):
        load(tmp_path / "subset", "train")
    path.unlink()
    with refused(Kind.ABSENT if suffix == "json" else Kind.DAMAGED):
        load(tmp_path / "subset", "train")


def test_each_file_is_listed_once_with_its_key(tmp_path):
    annotations = Annotations(tmp_path)
    for number, split in enumerate(SPLITS):
        annotations.add_object(image_id(number, "a"), "Car", split=split)
        annotations.add_box(image_id(number, "a"), "Car", (0.5, 0.6, 0.5, 0.6), split=split)
    subsets = select(annotations.write().joinpath, V5, Choice(("Car",)))
    files = list_files([*subsets.values(), subsets["test"]])
    assert files.columns.tolist() == ["Kind", "Split", "Name", "Key"]
    ids = {split: image_id(number, "a") for number, split in enumerate(SPLITS)}
    assert files.to_numpy().tolist() == [
        *(
            ["image", split, f"{ids[split]}.jpg", f"{split}/{ids[split]}.jpg"]
            for split in sorted(SPLITS)
        ),
        *(
            [
                "mask",
                split,
                f"{ids[split]}_m0k4j_{number:08x}.png",
                f"v5/{split}-masks/{split}-masks-a.zip",
            ]
            for split, number in (("test", 3), ("train", 1), ("validation", 2))
        ),
    ]
    pd.testing.assert_frame_equal(files, list_files(reversed(subsets.values())))
