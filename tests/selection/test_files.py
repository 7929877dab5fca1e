import pandas as pd
from annotations import Annotations, image_id

from oiv5_d2.openimages.release import SPLITS, V5
from oiv5_d2.selection.choice import Choice
from oiv5_d2.selection.files import list_files
from oiv5_d2.selection.select import select


def test_each_file_is_listed_once_with_its_key(tmp_path):
    annotations = Annotations(tmp_path)
    for number, split in enumerate(SPLITS):
        annotations.add_object(image_id(number, "a"), "Car", split=split)
        annotations.add_box(image_id(number, "a"), "Car", (0.5, 0.6, 0.5, 0.6), split=split)
    subsets = select(annotations.write(), V5, Choice(("Car",)))
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
