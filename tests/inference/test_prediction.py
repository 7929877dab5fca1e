"""Folders and videos, stopped and continued."""

import json

import cv2
import numpy as np
import pytest
from raising import refused

from oiv5_d2.inference.ledger import DETECTIONS_JSONL, Ledger, write_files
from oiv5_d2.inference.prediction import Drawing, predict_pictures, predict_video
from oiv5_d2.inference.predictor import Predictor
from oiv5_d2.inference.sources import find_pictures, open_video
from oiv5_d2.jobs import unseen
from oiv5_d2.problems import Kind

ABOUT = {"weights": "abc", "slices": [0, 0.2]}


@pytest.fixture(scope="module")
def predictor(run_dir):
    changes = {"MODEL.ROI_HEADS.SCORE_THRESH_TEST": 0.3}
    return Predictor.from_run(run_dir, thresholds={}, changes=changes)


def predict(predictor, images_dir, output_dir, pictures=None):
    ledger = Ledger(output_dir / DETECTIONS_JSONL, ABOUT)
    pictures = pictures or find_pictures(str(images_dir))
    todo = (ledger, Drawing("objects", {}), output_dir / "pictures", 2, unseen)
    predict_pictures(predictor, pictures, *todo)
    return ledger


def all_files(folder):
    return {p.relative_to(folder): p.read_bytes() for p in folder.rglob("*") if p.is_file()}


def test_a_folder_gives_pictures_and_coco_results(predictor, images_dir, tmp_path):
    ledger = predict(predictor, images_dir, tmp_path / "out")
    write_files(ledger, tmp_path / "out", predictor.classes, {"Car": "/m/0k4j"})
    files = all_files(tmp_path / "out")
    assert len([path for path in files if path.suffix == ".jpg"]) == 5
    images = json.loads((tmp_path / "out" / "images.json").read_text())["images"]
    assert [one["file_name"] for one in images] == ["a.jpg", "b.png", "c.JPG", "d.jpeg", "a.jpg"]
    found = json.loads((tmp_path / "out" / "predictions.json").read_text())
    assert len(found) == sum(len(entry.found) for entry in ledger.entries()) > 0
    assert all(one["segmentation"]["size"] == [48, 80] for one in found)
    assert (tmp_path / "out" / "predictions.csv").read_text().startswith("ImageID,")


def test_a_stopped_prediction_goes_on_and_ends_with_the_same_bytes(predictor, images_dir, tmp_path):
    pictures = find_pictures(str(images_dir))
    whole = predict(predictor, images_dir, tmp_path / "whole")
    write_files(whole, tmp_path / "whole", predictor.classes, None)
    predict(predictor, images_dir, tmp_path / "parts", pictures[:2])
    with (tmp_path / "parts" / DETECTIONS_JSONL).open("a") as file:
        file.write('["c", "c.JPG", [4')  # killed while it wrote
    parts = predict(predictor, images_dir, tmp_path / "parts")
    write_files(parts, tmp_path / "parts", predictor.classes, None)
    assert all_files(tmp_path / "parts") == all_files(tmp_path / "whole")


def test_detections_of_other_settings_are_not_mixed(tmp_path):
    Ledger(tmp_path / "a.jsonl", ABOUT)
    with refused(Kind.MISMATCH, about="weights"):
        Ledger(tmp_path / "a.jsonl", {**ABOUT, "weights": "other"})


def test_a_damaged_image_loses_nothing_that_was_done(predictor, images_dir, tmp_path):
    (images_dir / "d.jpeg").write_bytes(b"no image")
    with refused(Kind.DAMAGED, about="d.jpeg"):
        predict(predictor, images_dir, tmp_path / "out")
    assert Ledger(tmp_path / "out" / DETECTIONS_JSONL, ABOUT).names == {"a", "b"}


@pytest.mark.parametrize("kind", ["objects", "splash", "none"])
def test_a_video_comes_out_as_long_and_as_fast(predictor, tmp_path, kind):
    path = tmp_path / "street.avi"
    target = cv2.VideoWriter(str(path), cv2.VideoWriter.fourcc(*"MJPG"), 12.5, (64, 48))
    for value in range(5):
        target.write(np.full((48, 64, 3), value * 40, np.uint8))
    target.release()
    ledger, out = Ledger(tmp_path / "a.jsonl", ABOUT), tmp_path / "out.mp4"
    with open_video(str(path)) as video:
        drawing = Drawing(kind, {})
        assert predict_video(predictor, video, ledger, drawing, out, 2, unseen) == 5
    with open_video(str(out)) as video:
        assert (video.num_frames, video.rate, video.size) == (5, 12.5, (48, 64))
    assert len(ledger.names) == 5


def test_an_unknown_way_of_drawing_is_refused():
    with refused(Kind.SETTING, key="draw"):
        Drawing("boxes", {})
