import copy
import gzip
import json

import numpy as np
import pytest
from PIL import Image
from pycocotools import mask as coco_mask
from raising import refused

from oiv5_d2.conversion import coco_file
from oiv5_d2.conversion.adopt import Given, adopt
from oiv5_d2.conversion.cuts import Cut
from oiv5_d2.problems import Kind, Remedy

pytestmark = pytest.mark.filterwarnings("ignore:__array__ implementation doesn't accept a copy")

SQUARE = [[1, 1, 4, 1, 4, 4, 1, 4]]
MASK = np.zeros((6, 8), np.uint8, order="F")
MASK[1:4, 1:4] = 1
RLE = coco_mask.encode(MASK)
RLE = {"size": [6, 8], "counts": RLE["counts"].decode()}
COUNTS = {"size": [6, 8], "counts": [7, 3, 3, 3, 3, 3, 26]}
COCO = {
    "images": [
        {"id": 1, "file_name": "a.jpg", "height": 6, "width": 8},
        {"id": 2, "file_name": "day 2/b.png", "height": 6, "width": 8},
    ],
    "categories": [{"id": 1, "name": "person"}, {"id": 2, "name": "car"}],
    "annotations": [
        {"id": 1, "image_id": 1, "category_id": 2, "bbox": [1, 1, 3, 3], "area": 9, "iscrowd": 0,
         "segmentation": RLE},
        {"id": 2, "image_id": 2, "category_id": 1, "bbox": [1, 1, 3, 3], "area": 9, "iscrowd": 1,
         "segmentation": COUNTS},
    ],
}  # fmt: skip


@pytest.fixture
def folder(tmp_path):
    for image in COCO["images"]:
        path = tmp_path / "mine" / image["file_name"]
        path.parent.mkdir(parents=True, exist_ok=True)
        Image.new("RGB", (8, 6)).save(path)
    return tmp_path / "mine"


def taken(folder, content, classes=("person", "car"), images_dir=None, cut=None):
    """Adopt a COCO file, given as an object or as bytes; return its images and annotations."""
    path, to = folder / "given.json", folder.parent / "new.json"
    path.write_bytes(content if isinstance(content, bytes) else json.dumps(content).encode())
    adopted = adopt(Given(path, images_dir, cut), list(classes), to)
    images, annotations = (list(coco_file.read_records(to, n)) for n in ("images", "annotations"))
    return adopted, images, annotations


def changed(**changes):
    """Return the file with some values of its first annotation changed; None removes one."""
    content = copy.deepcopy(COCO)
    first = content["annotations"][0]
    first |= changes
    content["annotations"][0] = {key: value for key, value in first.items() if value is not None}
    return content


def mapped(change):
    content = copy.deepcopy(COCO)
    change(content)
    return content


def test_a_coco_file_is_taken_with_its_images_where_they_are(folder):
    adopted, images, annotations = taken(folder, COCO)
    assert [image["file_name"] for image in images] == [
        str(folder / image["file_name"]) for image in COCO["images"]
    ]
    assert adopted.num_objects == {"person": 0, "car": 1} and adopted.num_ignored == 1
    assert annotations[0]["segmentation"] == RLE and annotations[0]["iscrowd"] == 0
    assert annotations[1]["segmentation"] == RLE and annotations[1]["ignore_reason"] == "crowd"


OUTLINES = {
    "polygons": SQUARE,
    "run lengths": RLE,
    "numbers": COUNTS,
    "an empty polygon": [[], *SQUARE],
    "a click and a line": [[2, 2], *SQUARE, [5, 5, 6, 6]],
    "one polygon, no list around it": SQUARE[0],
    "points": [[[1, 1], [4, 1], [4, 4], [1, 4]]],
    "points of one polygon": [[1, 1], [4, 1], [4, 4], [1, 4]],
    "floats": {"size": [6.0, 8.0], "counts": [float(count) for count in COUNTS["counts"]]},
    "a list of one": [COUNTS],
}


@pytest.mark.parametrize("segmentation", OUTLINES.values(), ids=OUTLINES)
def test_every_form_of_an_outline_is_taken(folder, segmentation):
    _, _, annotations = taken(folder, changed(segmentation=segmentation))
    assert annotations[0]["area"] == 9 and annotations[0]["bbox"] == [1.0, 1.0, 3.0, 3.0]
    assert coco_mask.decode(annotations[0]["segmentation"]).tolist() == MASK.tolist()


def without_crowd(content):
    for one in content["annotations"]:
        del one["iscrowd"]


def with_text_ids(content):
    for name in ("images", "annotations", "categories"):
        for one in content[name]:
            one["id"] = f"x{one['id']}"
    for one in content["annotations"]:
        one |= {"image_id": f"x{one['image_id']}", "category_id": f"x{one['category_id']}"}


def with_ids_from_0(content):
    for name in ("images", "annotations", "categories"):
        for one in content[name]:
            one["id"] -= 1
    for one in content["annotations"]:
        one |= {"image_id": one["image_id"] - 1, "category_id": one["category_id"] - 1}


def with_numbers_as_text(content):
    for one in (*content["images"], *content["categories"]):
        one["id"] = str(one["id"])


def with_a_group_of_the_same_name(content):
    content["categories"].insert(0, {"id": 0, "name": "car", "supercategory": "none"})


def with_flags_as_text(content):
    for one in content["annotations"]:
        one["iscrowd"] = str(one["iscrowd"])


def with_gaps(content):
    content["categories"][1]["id"] = content["annotations"][0]["category_id"] = 90


def without_sizes(content):
    for one in content["images"]:
        del one["height"], one["width"]


def with_an_address_alone(content):  # as LVIS has it
    content["images"][0]["coco_url"] = f"http://host/{content['images'][0].pop('file_name')}"


ODD = [without_crowd, with_text_ids, with_ids_from_0, with_numbers_as_text, with_gaps]
ODD += [with_an_address_alone, with_a_group_of_the_same_name, with_flags_as_text, without_sizes]


@pytest.mark.parametrize("change", ODD)
def test_what_tools_write_in_their_own_ways_is_taken(folder, change):
    _, images, annotations = taken(folder, mapped(change))
    assert [image["id"] for image in images] == [1, 2]
    assert [(image["height"], image["width"]) for image in images] == [(6, 8)] * 2
    ids = [(one["id"], one["image_id"], one["category_id"]) for one in annotations]
    assert ids == [(1, 1, 2), (2, 2, 1)]
    expected = 0 if change is without_crowd else 1
    assert annotations[1]["iscrowd"] == expected


@pytest.mark.parametrize("wrap", [gzip.compress, lambda data: b"\xef\xbb\xbf" + data])
def test_a_compressed_file_and_a_byte_order_mark_are_taken(folder, wrap):
    assert len(taken(folder, wrap(json.dumps(COCO).encode()))[2]) == 2


def test_ids_that_are_there_twice_become_places(folder):
    content = mapped(lambda content: content["annotations"][1].update(id=1))
    assert [one["id"] for one in taken(folder, content)[2]] == [1, 2]


def test_what_pandas_makes_of_numbers_is_taken(folder):
    _, _, annotations = taken(folder, changed(image_id=1.0, category_id=2.0, area=float("nan")))
    assert (annotations[0]["image_id"], annotations[0]["area"]) == (1, 9)


def test_classes_are_found_in_any_case_and_keep_the_names_asked_for(folder):
    adopted, _, annotations = taken(folder, COCO, classes=("Car", "PERSON"))
    assert adopted.num_objects == {"Car": 1, "PERSON": 0}
    assert [one["category_id"] for one in annotations] == [1, 2]
    with refused(Kind.SETTING, key="data.classes", about="Bus, Persons"):
        taken(folder, COCO, classes=("Bus", "Car", "Persons"))


def test_a_class_is_found_in_any_form_of_unicode(folder):
    content = mapped(lambda one: one["categories"][1].update(name="Fußga\u0308nger"))
    assert taken(folder, content, classes=("fußg\u00e4nger",))[0].num_objects == {"fußgänger": 1}


def test_a_box_larger_than_its_mask_stays(folder):
    assert taken(folder, changed(bbox=[0, 1, 7, 3]))[2][0]["bbox"] == [0, 1, 7, 3]
    assert taken(folder, changed(bbox=[1, 1, 0, 0]))[2][0]["bbox"] == [1, 1, 3, 3]


def test_an_outline_that_leaves_its_image_is_cut_with_its_box(folder):
    polygon, box = [[-3, -3, 2, -3, 2, 2, -3, 2]], [-3, -3, 5, 5]
    _, _, annotations = taken(folder, changed(segmentation=polygon, bbox=box))
    assert annotations[0]["bbox"] == [0, 0, 2, 2] and annotations[0]["area"] == 4


def test_what_is_to_be_ignored_is_a_crowd(folder):
    adopted, _, annotations = taken(folder, changed(ignore=1))
    assert annotations[0]["iscrowd"] == 1 and adopted.num_crowds == adopted.num_ignored == 2


@pytest.mark.parametrize("segmentation", [None, [], [[]], {"size": [6, 8], "counts": [48]}])
def test_an_object_without_a_mask_becomes_an_ignored_box(folder, segmentation):
    adopted, _, annotations = taken(folder, changed(segmentation=segmentation))
    assert annotations[0]["iscrowd"] == 1 and annotations[0]["ignore_reason"]
    assert coco_mask.decode(annotations[0]["segmentation"]).tolist() == MASK.tolist()
    assert adopted.num_ignored == 2


def test_other_classes_are_left_out_and_the_order_is_the_one_that_was_asked_for(folder):
    adopted, _, annotations = taken(folder, COCO, ["car"])
    assert [one["category_id"] for one in annotations] == [1]
    assert adopted.num_of_other_classes == 1
    with refused(Kind.SETTING, key="data.classes", about="cars"):
        taken(folder, COCO, ["cars"])


def test_images_are_found_in_a_folder_that_is_named(folder, tmp_path):
    elsewhere = tmp_path / "elsewhere"
    folder.rename(elsewhere)
    folder.mkdir()
    with refused(Kind.ABSENT, key="data.images", about="a.jpg"):
        taken(folder, COCO)
    assert len(taken(folder, COCO, images_dir=elsewhere)[1]) == 2


BAD = {
    "annotation 1": [
        changed(image_id=9),
        changed(category_id=9),
        changed(bbox=[1, 1, 3]),
        changed(bbox=[1, 1, float("nan"), 3]),
        changed(bbox=[4, 4, -3, -3]),
        changed(bbox=None, segmentation=[]),
        changed(segmentation=[[1, 1, 4, 4, 1]]),
        changed(segmentation=[[1, 1, 4, 1, 4, "x"]]),
        changed(segmentation=[[0.1, 0.1, 0.5, 0.1, 0.5, 0.6]]),  # fractions of the sides
        changed(segmentation=[], bbox=[0.1, 0.1, 0.3, 0.5]),
        changed(segmentation=[COUNTS, COUNTS]),
        changed(iscrowd="maybe"),
        changed(segmentation={"size": [8, 6], "counts": RLE["counts"]}),
        changed(segmentation={"size": [6, 8], "counts": "~~"}),
        changed(segmentation={"size": [6, 8], "counts": [40]}),
        changed(segmentation="mask.png"),
        changed(segmentation=[[1, 1, 4, 1, 2147483648, 4]]),  # would be drawn: gigabytes
        changed(category_id=[2]),
        changed(bbox=[3, 2, 6, 5], segmentation=[[3, 2, 6, 2, 6, 5, 3, 5]]),  # x0, y0, x1, y1
        changed(bbox=[7, 5, 1, 1]),  # not where its mask is
        changed(bbox=[4, 1, 8, 5], segmentation=[]),
        changed(bbox=[1, 1, 33, 3]),
        changed(segmentation={"size": [6, 8], "counts": [10**30]}),
    ],
    "panoptic": [mapped(lambda content: content["annotations"][0].update(segments_info=[]))],
    "the file": [json.dumps(COCO).replace('"iscrowd": 0', '"x": 1e999').encode()],
    "image 1": [
        mapped(lambda content: content["images"].append(content["images"][0])),
    ],
    "category": [
        mapped(lambda content: content["categories"].append(content["categories"][0])),
        mapped(lambda content: content["categories"][0].pop("name")),
        mapped(lambda content: content["categories"][0].update(name="car")),  # both have objects
    ],
    "images": [mapped(lambda content: content.pop("images")), [], {"images": {}}],
    "file_name": [mapped(lambda content: content["images"][0].pop("file_name"))],
    "JSON": [b"{", b"", b"\xff\xfe"],
}


@pytest.mark.parametrize(
    ("about", "content"), [(about, content) for about, some in BAD.items() for content in some]
)
def test_what_cannot_be_understood_is_refused_with_its_record(folder, about, content):
    with refused(Kind.DAMAGED, remedy=Remedy.FIX_SOURCE, about=about) as caught:
        taken(folder, content)
    assert caught.value.subject == str(folder / "given.json") and "\n" not in caught.value.detail
    assert not (folder.parent / "new.json").exists()


def test_a_file_of_an_ansi_code_page_is_told_so(folder):
    content = mapped(lambda content: content["images"][0].update(file_name="größe.jpg"))
    with refused(Kind.DAMAGED, remedy=Remedy.SAVE_AS_UTF8, about="0xf6"):
        taken(folder, json.dumps(content, ensure_ascii=False).encode("cp1252"))


def test_an_image_that_is_not_there_or_of_another_size_is_named(folder):
    Image.new("RGB", (6, 8)).save(folder / "a.jpg")
    with refused(Kind.DAMAGED, key="data.images", about="a.jpg"):
        taken(folder, COCO)


def test_the_file_and_its_images_are_only_read(folder):
    before = {path: (path.read_bytes(), path.stat().st_mtime_ns) for path in folder.rglob("*.*")}
    taken(folder, COCO)
    for path, (data, time) in before.items():
        assert path.read_bytes() == data and path.stat().st_mtime_ns == time


def test_labels_that_people_verified_follow_the_classes(folder):
    content = copy.deepcopy(COCO)
    content["images"][0] |= {"positive_category_ids": [2, 1], "negative_category_ids": ["1"]}
    _, images, _ = taken(folder, content, classes=["car"])
    assert images[0]["positive_category_ids"] == [1] and not images[0]["negative_category_ids"]
    assert "positive_category_ids" not in images[1]
    for wrong in ([3], 2, None):
        content["images"][0]["positive_category_ids"] = wrong
        with refused(Kind.DAMAGED):
            taken(folder, content)


SHARES = {"train": 0.5, "validation": 0.5}


@pytest.mark.parametrize("change", [lambda content: None, with_text_ids], ids=["numbers", "texts"])
def test_a_cut_gives_each_part_its_images_and_their_objects(folder, change):
    content = mapped(change)
    parts = [taken(folder, content, cut=Cut(part, SHARES, 0)) for part in SHARES]
    names = [[image["file_name"] for image in images] for _, images, _ in parts]
    assert sorted(map(len, names)) == [1, 1] and names[0] != names[1]
    for adopted, (image,), (annotation,) in parts:
        assert annotation["image_id"] == image["id"] and adopted.num_images == 1
    assert sum(adopted.num_objects["car"] for adopted, *_ in parts) == 1


def test_a_cut_depends_on_ids_and_seed_alone():
    ids = list(range(1, 101))
    first, second = (Cut(part, SHARES, 3).choose(ids) for part in SHARES)
    assert len(first) == 50 and first | second == set(ids) and not first & second
    assert Cut("train", SHARES, 3).choose(ids[::-1]) == first
    assert Cut("train", SHARES, 4).choose(ids) != first
    assert len(Cut("train", {"train": 0.3}, 3).choose(ids)) == 30


def test_a_cut_that_leaves_no_image_or_hides_no_error_is_refused(folder):
    with refused(Kind.EMPTY, key="data.shares"):
        taken(folder, COCO, cut=Cut("validation", {"train": 0.9, "validation": 0.1}, 0))
    for part in SHARES:
        with refused(Kind.DAMAGED):
            taken(folder, changed(image_id=99), cut=Cut(part, SHARES, 0))
