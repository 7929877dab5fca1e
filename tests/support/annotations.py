"""The tables of a release, made row by row."""

import csv
import json

from oiv5_d2.openimages.release import ATTRIBUTES, SPLITS, V5

MIDS = {
    "Person": "/m/01g317",
    "Man": "/m/04yx4",
    "Woman": "/m/03bt1vf",
    "Vehicle": "/m/07yv9",
    "Car": "/m/0k4j",
    "Van": "/m/0h2r6",
    "Bus": "/m/01bjv",
    "Motorcycle": "/m/04_sv",
}
TREE = {
    "LabelName": "/m/0bl9f",
    "Subcategory": [
        {
            "LabelName": MIDS["Person"],
            "Subcategory": [{"LabelName": MIDS["Man"]}, {"LabelName": MIDS["Woman"]}],
        },
        {
            "LabelName": MIDS["Vehicle"],
            "Subcategory": [
                {"LabelName": MIDS["Car"], "Subcategory": [{"LabelName": MIDS["Van"]}]},
                {"LabelName": MIDS["Bus"]},
                {"LabelName": MIDS["Motorcycle"]},
            ],
        },
    ],
}
BOX = (0.1, 0.5, 0.2, 0.9)  # XMin, XMax, YMin, YMax, as in the release


def image_id(number, digit="0"):
    return f"{digit}{number:015x}"


class Annotations:
    """A release's tables, row by row."""

    def __init__(self, annotations_dir):
        self.annotations_dir = annotations_dir
        self.rows = {table: [] for split in SPLITS for table in V5.split_csvs(split)}
        self.num_masks = 0

    def add_image(self, image, split="train", title="A title"):
        row = [image, split, "u", "https://page", "by/2.0", "https://who", "Who, I", title]
        self.rows[V5.image_csv(split)].append([*row, "9", "m", "t", "90.0"])

    def add_label(self, image, name, confidence, split="train"):
        rows = self.rows[V5.image_label_csv(split)]
        rows.append([image, "verification", MIDS[name], confidence])

    def add_mask(self, image, name, box=BOX, iou="", split="train"):
        self.num_masks += 1
        mid, box_id = MIDS[name], f"{self.num_masks:08x}"
        path = f"{image}_{mid[1:].replace('/', '')}_{box_id}.png"
        rows = self.rows[V5.mask_csv(split)]
        rows.append([path, image, mid, box_id, *(f"{x:.6f}" for x in box), iou, "0.1 0.2 1"])

    def add_box(self, image, name, box=BOX, split="train", **flags):
        attributes = [flags.get(attribute, 0) for attribute in ATTRIBUTES]
        row = [image, "xclick", MIDS[name], 1, *(f"{x:.6f}" for x in box), *attributes]
        self.rows[V5.box_csv(split)].append(row)

    def add_object(self, image, name, box=BOX, split="train", iou="", **flags):
        self.add_mask(image, name, box, iou, split)
        self.add_box(image, name, box, split, **flags)

    def write(self, order=None):
        for file, rows in self.rows.items():
            rows = list(rows)
            if order:
                order.shuffle(rows)
            self._write_csv(file, [file.columns, *rows])
        self._write_csv(V5.class_csv, [(mid, name) for name, mid in MIDS.items()])
        path = self.annotations_dir / V5.hierarchy.path
        path.write_text(json.dumps(TREE))
        return self.annotations_dir

    def _write_csv(self, file, rows):
        path = self.annotations_dir / file.path
        path.parent.mkdir(parents=True, exist_ok=True)
        with path.open("w", newline="") as table:
            csv.writer(table, lineterminator="\n").writerows(rows)


def boxes_at(*places):
    """Return boxes at different places, one for each."""
    return [(x / 100, x / 100 + 0.1, 0.2, 0.9) for x in places]
