import shutil

import pandas as pd
import pytest
from raising import refused

from oiv5_d2.acquisition.buckets import Bucket
from oiv5_d2.acquisition.transfer import Transfer
from oiv5_d2.openimages import release
from oiv5_d2.preparation.disk import check_room
from oiv5_d2.problems import Kind, Remedy


@pytest.mark.parametrize("kind", ["image", "mask"])
def test_what_will_not_fit_is_not_begun(tiny_release, tmp_path, monkeypatch, kind):
    images = tiny_release / release.IMAGES_DIR
    keys = [f"train/{path.name}" for path in sorted((images / "train").iterdir())]
    rows = [(kind, *key.split("/"), key if kind == "image" else "v5/a.zip") for key in keys]
    files = pd.DataFrame(rows, columns=["Kind", "Split", "Name", "Key"])
    monkeypatch.setattr("oiv5_d2.preparation.disk.free_bytes", lambda path: 5_000)
    bucket = Bucket(str(images), Transfer())
    with refused(Kind.DISK_FULL, remedy=Remedy.FREE_DISK, about=tmp_path):
        check_room(files, bucket, tmp_path)
    shutil.copytree(images, tmp_path / "images")
    (tmp_path / "masks").mkdir()
    (tmp_path / "masks" / "a.zip").touch()
    check_room(files, bucket, tmp_path)  # nothing is missing
