"""Prepared data as files, and the same packed."""

import json
import shutil

from oiv5_d2.conversion import coco_file
from oiv5_d2.conversion.packing import pack


def write_packed(prepared_dir, loose_dir, packed_dir, shard_bytes=20_000):
    """Copy prepared data, and pack the copy's images into another folder that has no files."""
    shutil.copytree(prepared_dir / "images", loose_dir / "images")
    for path in (prepared_dir / "coco").glob("*.json"):
        coco = json.loads(path.read_text())
        records = (map(coco_file.dumps, coco.pop(name)) for name in ("images", "annotations"))
        coco_file.write(loose_dir / "coco" / path.name, coco, *records)
    shutil.copytree(loose_dir / "coco", packed_dir / "coco")
    for path in (packed_dir / "coco").glob("*.json"):
        pack(path, loose_dir / "images", shard_bytes)
