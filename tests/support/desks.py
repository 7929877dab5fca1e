"""A prepared data folder made by hand, with every oddity that conversion must survive."""

import io
import zipfile
from pathlib import Path

import numpy as np
import pandas as pd
from PIL import Image

from oiv5_d2.openimages.release import ATTRIBUTES
from oiv5_d2.selection import subset as subsets
from oiv5_d2.selection.subset import Subset

CLASSES = ("Person", "Traffic light", "Car", "Traffic sign")
MIDS = {"Person": "/m/04yx4", "Traffic light": "/m/015qff", "Car": "/m/0k4j"}
JPG_SIZE = 60, 90  # height, width


def png(mask):
    buffer = io.BytesIO()
    Image.fromarray(mask).convert("1").save(buffer, "PNG")
    return buffer.getvalue()


def ellipse(height, width, box):
    """Draw an ellipse into a box (xyxy_rel) of a mask of that size."""
    x0, y0, x1, y1 = box
    y, x = np.mgrid[:height, :width] + 0.5
    x, y = (x / width - (x0 + x1) / 2) / (x1 - x0), (y / height - (y0 + y1) / 2) / (y1 - y0)
    return x**2 + y**2 < 0.25


class Desk:
    """Collects images and objects, and lays them out as fetched files and a saved subset."""

    def __init__(self, data_dir: Path):
        self.data_dir = data_dir
        self.images, self.instances, self.zips = [], [], {}

    def add_image(self, image_id, split="train", content=None, **jpg):
        """Write a JPG (unless ``content`` gives other bytes, or False for none)."""
        path = self.data_dir / "images" / split / f"{image_id}.jpg"
        path.parent.mkdir(parents=True, exist_ok=True)
        if content is None:
            content = self.jpg(image_id, **jpg)
        if content is not False:
            path.write_bytes(content)
        row = {"ImageID": image_id, "Split": split, "PositiveClasses": "Car|Person"}
        row |= {"NegativeClasses": "Traffic sign", "License": "by/2.0", "Author": 'O"Neil, A.'}
        row |= {"AuthorProfileURL": "https://a", "OriginalLandingURL": "https://b"}
        self.images.append(row | {"Title": "a, b", "Rotation": 0.0 if len(image_id) else np.nan})

    @staticmethod
    def jpg(image_id, size=JPG_SIZE, mode="RGB", orientation=None):
        noise = np.random.default_rng(int(image_id, 16)).integers(0, 255, (*size, 3), np.uint8)
        exif = Image.Exif()
        if orientation:
            exif[0x0112] = orientation
        buffer = io.BytesIO()
        Image.fromarray(noise).convert(mode).save(buffer, "JPEG", exif=exif)
        return buffer.getvalue()

    def add_object(self, image_id, box, mask=None, class_name="Car", split="train", **columns):
        """Add an object with a box (xyxy_rel), and its mask: an array, other bytes, or none."""
        number = len(self.instances)
        mask_path = f"{image_id}_{number}.png" if mask is not None else ""
        if isinstance(mask, np.ndarray):
            mask = png(mask)
        entries = self.zips.setdefault(f"{split}-masks-{image_id[0]}.zip", {})
        if mask:
            entries[mask_path] = mask
        x0, y0, x1, y1 = box
        row = {"ImageID": image_id, "LabelName": MIDS[class_name], "ClassName": class_name}
        row |= {"MaskPath": mask_path, "BoxID": f"{number:08x}" if mask_path else ""}
        row |= {"XMin": x0, "XMax": x1, "YMin": y0, "YMax": y1, "PredictedIoU": np.nan}
        row |= dict.fromkeys(ATTRIBUTES, 0) | {"Ignore": "" if mask_path else "no mask"}
        self.instances.append(row | columns)

    def finish(self, part="train") -> Subset:
        masks_dir = self.data_dir / "masks"
        masks_dir.mkdir(parents=True, exist_ok=True)
        for name, entries in self.zips.items():
            with zipfile.ZipFile(masks_dir / name, "w") as shard:
                for mask_path, data in sorted(entries.items()):
                    shard.writestr(zipfile.ZipInfo(mask_path), data)
        images = pd.DataFrame(self.images).sort_values("ImageID", ignore_index=True)
        columns = subsets.INSTANCE_SCHEMA.names
        instances = pd.DataFrame(self.instances, columns=columns).sort_values(
            "ImageID", ignore_index=True, kind="stable"
        )
        instances = instances.astype(dict.fromkeys(ATTRIBUTES, "int8"))
        subsets.save(Subset(part, CLASSES, images, instances, {}), self.data_dir / "subset")
        return subsets.load(self.data_dir / "subset", part)


def fill_with_oddities(desk):
    whole = Desk.jpg("0" * 16)
    box = 0.2, 0.1, 0.7, 0.8
    ids = [f"{digit}{'0' * 14}{digit}" for digit in "0123456789a"]
    plain, crowds, broken, grey, turned, missing, cut, trailing, no_objects, junk, other = ids
    for image_id in (plain, crowds, broken, no_objects):
        desk.add_image(image_id)
    desk.add_image(grey, mode="L", size=(50, 44))
    desk.add_image(turned, orientation=6)
    desk.add_image(missing, content=False)
    desk.add_image(cut, content=whole[: len(whole) * 2 // 3])
    desk.add_image(trailing, content=whole + b"\0\0camera's own\0")
    desk.add_image(junk, content=b"<html>not found</html>")
    desk.add_image(other, split="validation", size=(70, 45))
    for height, width in [(60, 90), (33, 47), (120, 181)]:
        desk.add_object(plain, box, ellipse(height, width, box), PredictedIoU=0.9)
    desk.add_object(plain, (0.1, 0.1, 0.15, 0.12), class_name="Traffic light")
    for reason, name in [("group of", "IsGroupOf"), ("depiction", "IsDepiction")]:
        desk.add_object(crowds, box, class_name="Person", Ignore=reason, **{name: 1})
    desk.add_object(crowds, box, ellipse(60, 90, box), Ignore="filtered: IsOccluded", IsOccluded=1)
    desk.add_object(broken, box, np.zeros((60, 90), bool))
    speck = np.zeros((600, 900), bool)
    speck[0, 0] = True
    desk.add_object(broken, box, speck)
    desk.add_object(broken, box, b"\x89PNG\r\n\x1a\n and no more")
    desk.add_object(broken, box, png(ellipse(60, 90, box))[:60])
    desk.add_object(broken, box, b"")
    for image_id in (grey, turned, missing, cut, trailing, junk):
        desk.add_object(image_id, box, ellipse(30, 45, box))
    desk.add_object(other, box, ellipse(30, 45, box), split="validation", class_name="Person")
