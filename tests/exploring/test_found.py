import json

import numpy as np
import pytest

from oiv5_d2.exploring import found
from oiv5_d2.exploring.sources import find_parts
from oiv5_d2.exploring.truth import open_part
from oiv5_d2.jobs import unseen


@pytest.fixture
def run_dir(blocks, tmp_path):
    """A run that found every annotation of the part train, each also as another class."""
    content = json.loads((blocks.data_dir / "coco" / "train.json").read_text())
    rows = [
        {
            "image_id": one["image_id"],
            "category_id": (one["category_id"] + turn) % 2 + 1,
            "bbox": one["bbox"],
            "segmentation": one["segmentation"],
            "score": 0.9 - 0.1 * one["id"] + 0.05 * turn,
        }
        for turn in (0, 1)
        for one in content["annotations"]
    ]
    path = found.predictions_path(tmp_path / "run", "blocks_train")
    path.parent.mkdir(parents=True)
    path.write_text(json.dumps(rows))
    return tmp_path / "run"


def test_images_are_matched_in_pieces_as_they_are_together(blocks, run_dir, tmp_path, monkeypatch):
    (prepared,) = find_parts("blocks", blocks.data_dir, ["train"])
    part = open_part(prepared, blocks.cache_dir, unseen)
    opened = []
    for piece in (100, 1, 3):
        monkeypatch.setattr(found, "PIECE", piece)
        opened.append(found.open_found(run_dir, part, tmp_path / str(piece), unseen))
    whole = opened[0]
    assert len(whole.image) == 10 and np.isfinite(whole.finder).sum() == 4
    assert set(whole.outcome) > {0, 1}
    for other in opened[1:]:
        for name in ("image", "category", "boxes", "areas", "scores", "outcome", "finder"):
            np.testing.assert_array_equal(getattr(other, name), getattr(whole, name))
        np.testing.assert_array_equal(other.masks.spans, whole.masks.spans)
