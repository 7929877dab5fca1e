"""A prepared data folder and a finished run, both made by hand."""

import json
from types import SimpleNamespace

import numpy as np
import pytest
from PIL import Image

from oiv5_d2.conversion import coco_file, masks
from oiv5_d2.evaluation.analysis import analyse
from oiv5_d2.evaluation.diagnosis import diagnose
from oiv5_d2.evaluation.formats import read_predictions
from oiv5_d2.evaluation.truth import read_truth
from oiv5_d2.files import sha256
from oiv5_d2.reporting.truth import open_part, read_images
from oiv5_d2.runs.metrics import COCO
from oiv5_d2.runs.prepared import Prepared
from oiv5_d2.runs.results import Results, write_results

CLASSES = ("Person", "Car", "Traffic light")
LABELS = {
    "/m/01g317": "Person",
    "/m/03bt1vf": "Woman",
    "/m/0k4j": "Car",
    "/m/015qff": "Traffic light",
}
SIZE = (60, 90)  # (height, width) of every image


def annotate(id_, image_id, category_id, box, label, reason="", **attributes):
    """An ellipse in its box (xywh_abs)."""
    x, y, w, h = box
    rows, columns = np.ogrid[: SIZE[0], : SIZE[1]]
    offsets = (columns + 0.5 - x - w / 2) / w, (rows + 0.5 - y - h / 2) / h
    mask = offsets[0] ** 2 + offsets[1] ** 2 < 0.25
    return {
        "id": id_,
        "image_id": image_id,
        "category_id": category_id,
        "bbox": [float(v) for v in box],
        "area": int(mask.sum()),
        "iscrowd": int(bool(reason)),
        "segmentation": masks.encode(mask),
        "label": label,
        "ignore_reason": reason,
        **attributes,
    }


def objects_of(image_id, first_id):
    """One person and one car in every image, an oddity in some; the last one is empty."""
    if image_id == 6:
        return []
    person = annotate(first_id, image_id, 1, (5, 5, 20, 50), "/m/03bt1vf")
    car = annotate(first_id + 1, image_id, 2, (35, 20 + image_id, 40, 25), "/m/0k4j")
    oddity = {
        2: annotate(first_id + 2, image_id, 2, (70, 2, 15, 12), "/m/0k4j", "no mask"),
        4: annotate(first_id + 2, image_id, 3, (80, 2, 6, 14), "/m/015qff"),
        5: annotate(first_id + 2, image_id, 1, (28, 2, 50, 14), "/m/01g317", "group of"),
    }
    return [person, car, *([oddity[image_id]] if image_id in oddity else [])]


def write_part(data_dir, part, seed):
    rng = np.random.default_rng(seed)
    images, annotations = [], []
    (data_dir / "images" / part).mkdir(parents=True)
    for image_id in range(1, 7):
        name = f"{seed:02x}{image_id:014x}"
        pixels = np.full((*SIZE, 3), rng.integers(60, 200, 3), dtype=np.uint8)
        found = objects_of(image_id, 10 * image_id)
        for one in found:
            pixels[masks.decode(one["segmentation"])] = rng.integers(0, 255, 3)
        Image.fromarray(pixels).save(data_dir / "images" / part / f"{name}.jpg")
        images.append({"id": image_id, "file_name": f"{part}/{name}.jpg", "open_images_id": name})
        images[-1] |= {"height": SIZE[0], "width": SIZE[1], "author": "Ann Other"}
        annotations += found
    head = {"info": {}, "categories": [{"id": i, "name": n} for i, n in enumerate(CLASSES, 1)]}
    coco_file.write(
        data_dir / "coco" / f"{part}.json",
        head,
        map(coco_file.dumps, images),
        map(coco_file.dumps, annotations),
    )
    labels = {"classes": {"any": {"labels": {name: {"mid": mid} for mid, name in LABELS.items()}}}}
    (data_dir / "subset").mkdir(exist_ok=True)
    (data_dir / "subset" / f"{part}.json").write_text(json.dumps({"counts": labels}))
    return annotations


@pytest.fixture(scope="session")
def street(tmp_path_factory):
    """`project/data/street`: six images a part, three classes, a few oddities."""
    root = tmp_path_factory.mktemp("project")
    data_dir = root / "data" / "street"
    annotations = {part: write_part(data_dir, part, i) for i, part in enumerate(("train", "test"))}
    return SimpleNamespace(
        root=root,
        data_dir=data_dir,
        annotations=annotations,
        coco_path=lambda part: data_dir / "coco" / f"{part}.json",
        prepared=lambda part: Prepared(
            f"street_{part}", data_dir / "coco" / f"{part}.json", data_dir / "images"
        ),
    )


def describe_data(street, part):
    path = street.coco_path(part)
    counts = {"num_images": 6, "num_instances": 11, "num_ignored": 2}
    return {
        "json": str(path),
        "images": str(street.data_dir / "images"),
        "sha256": sha256(path),
    } | counts


def metrics(value, absent):
    per_class = {f"{m}-{c}": value for m in ("AP", "AP50") for c in CLASSES if c != absent}
    missing = {f"{m}-{absent}": float("nan") for m in ("AP", "AP50")}
    return dict.fromkeys(COCO.summary, value) | per_class | missing


def write_run(street, root):
    """Write what tools/train_net.py leaves of a finished run that found most of the truth."""
    run_dir = root / "outputs" / "street" / "2026-01-02_03-04-05"
    (run_dir / "wandb" / "offline-run-20260102_030405-abc12def").mkdir(parents=True)
    record = {
        "name": "street",
        "question": "Does it find people | cars?",
        "classes": list(CLASSES),
        "command": f"python tools/train_net.py +experiment=street data.dir={street.data_dir}",
        "git": {"commit": "0123456789abcdef0123456789abcdef01234567", "dirty": True},
        "packages": {"torch": "2.9", "detectron2": "0.6", "python": "3.11.7", "numpy": "2.4"},
        "hardware": {"gpus": [], "cpu": "Fast(R) Processor", "cores": 2},
        "seed": 7,
        "seconds": 5400.0,
        "iterations": 40,
        "data": {f"street_{part}": describe_data(street, part) for part in ("train", "test")},
        "results": {},
    }
    (run_dir / "run.json").write_text(json.dumps(record))
    (run_dir / "config.yaml").write_text(
        f"OUTPUT_DIR: {run_dir}\nMODEL:\n  WEIGHTS: /home/someone/weights.pkl\n  MASK_ON: true\n"
        "DATASETS:\n  TEST: [street_test]\n"
    )
    lines = [
        {"iteration": i, "total_loss": 3 - i / 20, "loss_cls": 1.0, "loss_mask": 0.7, "lr": 0.01}
        for i in (19, 39)
    ]
    lines += [{"iteration": 40, "segm/AP": 41.5, "segm/AP50": 77.25, "bbox/AP": float("nan")}]
    (run_dir / "metrics.json").write_text("".join(json.dumps(line) + "\n" for line in lines))
    evaluation_dir = run_dir / "evaluation" / "street_test"
    truth = [one for one in street.annotations["test"] if not one["iscrowd"]]
    found = [
        {key: one[key] for key in ("image_id", "category_id", "bbox", "segmentation")}
        | {"score": 0.9 - one["image_id"] / 10}
        for one in truth
    ]
    counts = {"Person": 5, "Car": 5, "Traffic light": 0}
    tasks = {"bbox": metrics(50.0, "Traffic light"), "segm": metrics(41.5, "Traffic light")}
    official = {"AP50": 70.0, "AP50-Person": 80.0, "AP50-Car": 60.0}
    tasks |= {f"open_images/{task}": official for task in ("bbox", "segm")}
    digest = sha256(street.coco_path("test"))
    evaluation_dir.mkdir(parents=True)
    (evaluation_dir / "coco_instances_results.json").write_text(json.dumps(found))
    results = Results("street_test", digest, 6, counts, tasks)
    results = results._replace(analysis=analyse_files(street, evaluation_dir))
    write_results(evaluation_dir / "results.json", results)
    return run_dir


def analyse_files(street, evaluation_dir):
    truth = read_truth(street.coco_path("test"))
    path = evaluation_dir / "coco_instances_results.json"
    return analyse(diagnose(truth, read_predictions(path, truth, {})[0], "segm"), {})


@pytest.fixture
def run_dir(street, tmp_path):
    """A finished run to do with as a test pleases."""
    return write_run(street, tmp_path)


@pytest.fixture(scope="session")
def kept_run_dir(street, tmp_path_factory):
    """The same, read only."""
    return write_run(street, tmp_path_factory.mktemp("kept"))


@pytest.fixture
def part(street):
    return open_part(street.prepared("train"))


@pytest.fixture
def images(part):
    return read_images(part.coco_path, [1, 2])
