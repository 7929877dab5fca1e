"""Images, tables and artifacts of a whole run, read back from W&B's files."""

import json
import os
from collections import Counter

import numpy as np
import pytest
from PIL import Image
from wandb_files import find_pieces, of_kind, read_history

from oiv5_d2.runs.layout import read_record
from oiv5_d2.training.checkpoints import read
from oiv5_d2.training.writers.overlays import SIDE, label_classes

pytestmark = pytest.mark.filterwarnings("default")  # W&B's own, on its threads
OVERLAYS = ("validation/images", "validation/worst", "validation/best")


@pytest.fixture
def dashboard(keep):
    """A run of two steps with an evaluation after each, and all of its history by name."""
    run_dir = keep(
        "d2.SOLVER.MAX_ITER=2", "d2.TEST.EVAL_PERIOD=1", images=3, extremes=1, table_images=2
    )
    (piece,) = find_pieces(run_dir)
    rows = read_history(piece)
    return run_dir, piece, rows


def test_all_that_a_run_shows(dashboard):
    run_dir, piece, rows = dashboard
    check_images(piece, rows)
    check_masks(piece)
    check_tables(piece, rows)
    check_artifacts(run_dir, piece)
    check_system(piece)


def check_images(piece, rows):
    (fed,) = [row for row in rows if "train/images.count" in row]
    assert fed["train/images.count"] == 2 and fed["_step"] == 0
    for name, count in zip(OVERLAYS, (3, 1, 1), strict=True):
        shown = [row for row in rows if f"{name}.count" in row]
        assert [row["_step"] for row in shown] == [0, 1]
        assert {row[f"{name}.count"] for row in shown} == {count}
        for row in shown:
            assert (row[f"{name}.width"], row[f"{name}.height"]) == (SIDE, SIDE)
            assert all(one.keys() == {"truth", "prediction"} for one in row[f"{name}.all_boxes"])
            assert all("truth" in one for one in row[f"{name}.all_masks"])
    same = [row["validation/images.captions"] for row in rows if "validation/images.count" in row]
    assert [text.split(":")[0] for text in same[0]] == [text.split(":")[0] for text in same[1]]


def check_masks(piece):
    folder = piece.parent / "files" / "media" / "images" / "mask" / "validation"
    found = {int(i) for path in folder.rglob("*.png") for i in np.unique(Image.open(path))}
    assert {0, 1, 2, 3, 4} <= found <= {0, *label_classes("abcd")}
    boxes = piece.parent / "files" / "media" / "metadata" / "boxes2D" / "validation"
    content = [json.loads(path.read_text()) for path in boxes.rglob("*.json")]
    captions = Counter(box["box_caption"] for one in content for box in one["box_data"])
    assert {"Person", "Traffic light", "Car", "Traffic sign"} <= set(captions)


def check_tables(piece, rows):
    tables = {key for row in rows for key in row if key.endswith("._type")}
    assert {"validation/table._type", "classes/blocks_validation._type"} <= tables
    media = piece.parent / "files" / "media" / "table"
    check_label_errors(*(media / "validation").glob("label_errors_*.json"))
    (path,) = (media / "validation").glob("table_*.json")
    table = json.loads(path.read_text())
    rank = table["columns"].index("F1")
    scores = [row[rank] for row in table["data"]]
    assert len(scores) == 4 and scores == sorted(scores)
    shown = [row[table["columns"].index("prediction")] is not None for row in table["data"]]
    assert shown == [True, True, False, False]
    (path,) = (media / "classes").glob("*.json")
    table = json.loads(path.read_text())
    assert [row[:2] for row in table["data"]] == [
        ["Person", 4],
        ["Traffic light", 4],
        ["Car", 4],
        ["Traffic sign", 4],
    ]
    assert {"bbox/AP", "segm/AP50", "segm/AP low"} <= set(table["columns"])
    (path,) = (media / "slices").glob("*.json")
    table = json.loads(path.read_text())
    objects = dict((row[0], row[1]) for row in table["data"])
    assert objects["images with 2 to 4 objects"] == 16
    names = {f"slice/{what}/images with 2 to 4 objects" for what in ("AP", "recall")}
    assert [names <= row.keys() for row in rows] == [True, True]


def check_label_errors(path):
    """A model that has learned next to nothing never finds most objects."""
    table = json.loads(path.read_text())
    rows = [dict(zip(table["columns"], row, strict=True)) for row in table["data"]]
    assert {"annotated but never found"} <= {row["reason"] for row in rows}
    certainties = [row["certainty"] for row in rows]
    assert certainties == sorted(certainties, reverse=True)
    assert [row["doubted"] is not None for row in rows[:3]] == [True, True, False]


def check_artifacts(run_dir, piece):
    artifacts = [one for one in of_kind(piece, "artifact") if one.type != "run_table"]
    made = {one.name: one for one in artifacts}
    id_ = read_record(run_dir)["wandb_id"]
    models = [one for one in artifacts if one.name == f"model-{id_}"]
    model = models[-1]
    predictions = f"predictions-{id_}-blocks_validation"
    assert made.keys() == {"blocks_train", "blocks_validation", model.name, predictions}
    # A checkpoint that is the best and the last is sent once.
    names = [name for one in models for name in one.aliases if name != "latest"]
    assert sorted(names) == ["best", "last"]
    is_same = os.path.samefile(run_dir / "model_best.pth", run_dir / "model_final.pth")
    assert len(models) == (1 if is_same else 2)
    files = {one.path: one.size for one in model.manifest.contents}
    (weights,) = files.keys() - {"config.json", "classes.json"}
    sent = read(run_dir / "wandb" / "models" / weights)
    assert sent.keys() == {"model", "run"} and sent["run"]["classes"] == metadata_of(model)
    metadata = json.loads(model.metadata)
    assert metadata["classes"][2] == "Car" and "segm/AP" in metadata["metrics"]
    assert metadata["config"]["d2"]["SOLVER"]["MAX_ITER"] == 2
    assert made["blocks_train"].use_after_commit and not model.use_after_commit
    facts = json.loads(made["blocks_train"].metadata)
    assert facts["num_images"] == 4 and len(facts["sha256"]) == 64 and "json" not in facts
    kept = {one.path for one in made[predictions].manifest.contents}
    assert kept == {"coco_instances_results.json", "results.json"}
    # All files that wait to be sent are with the run.
    waiting = [file.local_path for one in made.values() for file in one.manifest.contents]
    assert all(os.path.abspath(path).startswith(str(run_dir)) for path in waiting)
    assert not any(map(os.path.isabs, waiting))


def check_system(piece):
    found = {item.key for one in of_kind(piece, "stats") for item in one.item}
    assert "memory_percent" in found  # the load takes a second sample, 15 seconds later
    assert of_kind(piece, "environment") == []  # host, folders, command line


def metadata_of(model):
    return json.loads(model.metadata)["classes"]


def test_a_data_set_with_its_files_is_sent_only_if_asked(keep):
    run_dir = keep("d2.SOLVER.MAX_ITER=1", "d2.DATASETS.TEST=[]", dataset="files", models=[])
    (piece,) = find_pieces(run_dir)
    (dataset,) = of_kind(piece, "artifact")
    paths = {one.path for one in dataset.manifest.contents}
    assert {"dataset.json", "train.json", "images/train/1.png"} <= paths
