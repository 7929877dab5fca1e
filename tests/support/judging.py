"""Random truths and detections, with something of everything that a metric has a rule for."""

import json

import numpy as np

from oiv5_d2.conversion import masks
from oiv5_d2.evaluation.formats import read_predictions
from oiv5_d2.evaluation.truth import read_truth

CLASSES = ("Person", "Traffic light", "Car", "Traffic sign", "Man")
SIZE = 48, 64  # (height, width)
# What an annotation may be, and why it is ignored.
KINDS = {
    "object": "",
    "inside": "",
    "group": "group of",
    "no mask": "no mask",
    "depiction": "depiction",
    "unknown": "no mask",
    "empty": "empty mask",
    "nothing": "",
}
SHARES = [0.5, 0.06, 0.12, 0.12, 0.07, 0.05, 0.04, 0.04]


def random_case(seed, has_hierarchy=False):
    """A COCO file and COCO results; the same for a seed in every version of NumPy."""
    rng = np.random.RandomState(seed)
    classes = CLASSES if has_hierarchy else CLASSES[:-1]
    parents = {"Man": "Person"} if has_hierarchy else {}
    truth = {
        "images": [random_image(rng, i, len(classes)) for i in range(rng.randint(3, 9))],
        "categories": [
            {"id": i, "name": name, "supercategory": parents.get(name, "")}
            for i, name in enumerate(classes, 1)
        ],
        "annotations": [],
    }
    found = []
    for image in truth["images"]:
        objects = random_objects(rng, image["id"], len(classes))
        truth["annotations"] += objects
        found += random_detections(rng, image["id"], objects, len(classes))
    for number, one in enumerate(truth["annotations"], 1):
        one["id"] = number
    scores = rng.permutation(len(found)) / max(1, len(found))
    found = [one | {"score": float(score)} for one, score in zip(found, scores, strict=True)]
    return truth, [found[i] for i in rng.permutation(len(found))]


def random_image(rng, index, num_classes):
    verified = rng.randint(0, 3, num_classes)  # not, present, absent
    name = f"{index:016x}"
    return {
        "id": index + 1,
        "height": SIZE[0],
        "width": SIZE[1],
        "file_name": f"validation/{name}.jpg",
        "open_images_id": name,
        "positive_category_ids": (np.flatnonzero(verified == 1) + 1).tolist(),
        "negative_category_ids": (np.flatnonzero(verified == 2) + 1).tolist(),
    }


def random_objects(rng, image_id, num_classes):
    objects = []
    for _ in range(rng.randint(0, 6)):
        category, near = rng.randint(1, num_classes + 1), None
        if objects and rng.rand() < 0.5:
            near = objects[-1]["bbox"]
            category = objects[-1]["category_id"] if rng.rand() < 0.7 else category
        mask, box = random_blob(rng, near)
        kind = rng.choice(list(KINDS), p=SHARES)
        objects.append(annotate(image_id, int(category), mask, box, kind))
    return objects


def annotate(image_id, category, mask, box, kind="object"):
    """An annotation as the conversion writes it: ignored ones have their box as region."""
    if KINDS[kind]:
        x, y, w, h = map(int, box)
        mask = np.zeros(SIZE, dtype=bool)
        mask[y : y + h, x : x + w] = True
    elif kind == "nothing":
        mask = np.zeros(SIZE, dtype=bool)
    flags = {"group": {"is_group_of": 1}, "unknown": {"is_group_of": -1}}
    flags |= {"depiction": {"is_depiction": 1}, "inside": {"is_inside": 1}}
    plain = dict.fromkeys(("is_group_of", "is_depiction", "is_inside"), 0)
    return {
        "id": 0,
        "image_id": image_id,
        "category_id": category,
        "bbox": box,
        "area": int(mask.sum()),
        "iscrowd": int(bool(KINDS[kind])),
        "segmentation": masks.encode(mask),
        **(plain | flags.get(kind, {})),
        "ignore_reason": KINDS[kind],
    }


def random_detections(rng, image_id, objects, num_classes):
    found = []
    for _ in range(rng.randint(0, 14)):
        category, near = rng.randint(1, num_classes + 1), None
        if objects and rng.rand() < 0.75:
            target = objects[rng.randint(len(objects))]
            near = target["bbox"]
            category = target["category_id"] if rng.rand() < 0.8 else category
        mask, box = random_blob(rng, near)
        if rng.rand() < 0.06:
            mask[:] = False
        box = [side + shift for side, shift in zip(box, rng.normal(0, 1.5, 4), strict=True)]
        box[2:] = [max(1.0, side) for side in box[2:]]
        if rng.rand() < 0.03:
            box[2] = 0.0
        found.append(detect(image_id, int(category), mask, box))
    return found


def detect(image_id, category, mask, box, score=0.5):
    return {
        "image_id": image_id,
        "category_id": category,
        "bbox": [float(side) for side in box],
        "segmentation": masks.encode(mask),
        "score": score,
    }


def random_blob(rng, near=None):
    """A rectangle, often without its corner, anywhere or near another one; and its box."""
    height, width = SIZE
    if near is None:
        w, h = rng.randint(6, width // 2), rng.randint(6, height // 2)
        x, y = rng.randint(0, width - w), rng.randint(0, height - h)
    else:
        x, y, w, h = map(int, near)
        x = int(np.clip(x + rng.randint(-4, 5), 0, width - 3))
        y = int(np.clip(y + rng.randint(-4, 5), 0, height - 3))
        w = int(np.clip(w + rng.randint(-5, 6), 2, width - x))
        h = int(np.clip(h + rng.randint(-5, 6), 2, height - y))
    return block(x, y, w, h, cut=rng.rand() < 0.5), [float(v) for v in (x, y, w, h)]


def block(x, y, w, h, cut=False):
    mask = np.zeros(SIZE, dtype=bool)
    mask[y : y + h, x : x + w] = True
    if cut:
        mask[y : y + h // 3, x : x + w // 3] = False
    return mask


def write(folder, truth, found):
    """Write a case; return the paths of the truth and of the detections."""
    folder.mkdir(parents=True, exist_ok=True)
    paths = folder / "truth.json", folder / "found.json"
    for path, content in zip(paths, (truth, found), strict=True):
        path.write_text(json.dumps(content))
    return paths


def read(folder, truth, found):
    """Return a case as arrays."""
    truth_path, found_path = write(folder, truth, found)
    loaded = read_truth(truth_path)
    return loaded, read_predictions(found_path, loaded, {})[0]
