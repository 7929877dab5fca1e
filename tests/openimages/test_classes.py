import gzip
import json

import pytest
from raising import refused

from oiv5_d2.openimages.classes import read_classes, roll_up
from oiv5_d2.openimages.release import ANNOTATIONS_DIR, V5
from oiv5_d2.problems import Kind, Remedy

NAMES = {
    "/m/01g317": "Person",
    "/m/04yx4": "Man",
    "/m/03bt1vf": "Woman",
    "/m/05r655": "Girl",
    "/m/0283dt1": "Human mouth",
    "/m/01mqdt": "Traffic sign",
    "/m/02pv19": "Stop sign",
    "/m/07yv9": "Vehicle",
    "/m/0k4j": "Car",
    "/m/0h2r6": "Van",
    "/m/01bjv": "Bus",
    "/m/09j2d": "Clothing",
    "/m/0gt2p": "Sports equipment",
    "/m/0zvk5": "Helmet",
}


def node(name, kinds=(), parts=()):
    mid = next(mid for mid, known in NAMES.items() if known == name)
    tree = {"LabelName": mid}
    if kinds:
        tree["Subcategory"] = list(kinds)
    if parts:
        tree["Part"] = list(parts)
    return tree


TREE = {
    "LabelName": "/m/0bl9f",
    "Subcategory": [
        node(
            "Person",
            kinds=[node("Man"), node("Woman", kinds=[node("Girl")])],
            parts=[node("Human mouth"), node("Clothing", kinds=[node("Helmet")])],
        ),
        node("Vehicle", kinds=[node("Car", kinds=[node("Van")]), node("Bus")]),
        node("Traffic sign", kinds=[node("Stop sign")]),
        node("Sports equipment", kinds=[node("Helmet")]),
    ],
}


@pytest.fixture
def csv_path(tmp_path):
    path = tmp_path / "classes.csv"
    path.write_text("".join(f"{mid},{name}\n" for mid, name in NAMES.items()))
    return path


@pytest.fixture
def tree_path(tmp_path):
    path = tmp_path / "tree.json"
    path.write_text(json.dumps(TREE))
    return path


@pytest.fixture
def classes(csv_path, tree_path):
    return read_classes(csv_path, tree_path)


def rolled_up(wanted, classes, **options):
    owners = roll_up(wanted, classes, **options)
    return {classes.name(mid): classes.name(owner) for mid, owner in owners.items()}


def test_a_class_is_known_by_its_name_and_by_its_mid(classes):
    assert classes.mid("Traffic sign") == classes.mid("/m/01mqdt") == "/m/01mqdt"
    assert classes.name("/m/01mqdt") == "Traffic sign"
    assert classes.name("/m/unnamed") == "/m/unnamed"


@pytest.mark.parametrize("header", ["LabelName,DisplayName\n", "\ufeffLabelName,DisplayName\r\n"])
def test_the_class_table_is_read_with_a_header_too(csv_path, tree_path, classes, header):
    csv_path.write_text(header + csv_path.read_text(), encoding="utf-8")
    assert read_classes(csv_path, tree_path) == classes


@pytest.mark.parametrize(
    "wrap",
    [
        lambda text: gzip.compress(text.encode()),
        lambda text: text.encode("utf-16"),
        lambda text: text.replace(",", ";").encode(),
        lambda text: text.replace("\n", "\n\n").rstrip("\n").encode(),
        lambda text: "".join(f'"{row}"\r\n' for row in text.replace(",", '","').split()).encode(),
    ],
)
def test_a_class_table_of_another_form_is_read(tmp_path, tree_path, wrap):
    rows = [(mid, name) for mid, name in NAMES.items() if " " not in name]
    (tmp_path / "classes.csv").write_bytes(wrap("".join(f"{mid},{name}\n" for mid, name in rows)))
    assert list(read_classes(tmp_path / "classes.csv", tree_path).names.items()) == rows


def test_a_name_with_a_comma_is_one_name(tmp_path, tree_path):
    path = tmp_path / "classes.csv"
    path.write_text('/m/0,"Light, traffic"\n')
    assert read_classes(path, tree_path).name("/m/0") == "Light, traffic"


@pytest.mark.parametrize("wrong", ["trafic sign", "Traffic signs"])
def test_an_unknown_class_is_refused_with_the_nearest_name(classes, wrong):
    with refused(Kind.SETTING, key="data.classes", about="Traffic sign"):
        classes.mid(wrong)


def test_case_does_not_matter_and_all_unknown_classes_are_told_at_once(classes):
    assert classes.mid("TRAFFIC SIGN") == classes.mid("Traffic sign")
    with refused(Kind.SETTING, key="data.classes", about="Trafic sign, Peson"):
        classes.find(["Trafic sign", "Car", "Peson"])


def test_an_unknown_class_near_to_none_is_refused(classes):
    with refused(Kind.SETTING, key="data.classes", about="qqqqq"):
        classes.mid("qqqqq")


@pytest.mark.parametrize(
    ("text", "line"),
    [("/m/0,A\n/m/1\n", 2), ("/m/0,A\n/m/0,B\n", 2), ("0,A\n", 1), ("/m/0,\n", 1), ('/m/0,"A', 1)],
)
def test_a_damaged_class_table_is_refused_with_the_line(tmp_path, tree_path, text, line):
    path = tmp_path / "classes.csv"
    path.write_text(text)
    with refused(Kind.DAMAGED, remedy=Remedy.FETCH_AGAIN, about=f"{path} line {line}: "):
        read_classes(path, tree_path)


def test_an_empty_class_table_is_refused(tmp_path, tree_path):
    (tmp_path / "classes.csv").touch()
    with refused(Kind.DAMAGED, about="classes.csv"):
        read_classes(tmp_path / "classes.csv", tree_path)


@pytest.mark.parametrize(
    "text", ["", "{", "[1]", '{"Subcategory": [{}]}', '"x"', '{"LabelName": 1}', "[" * 9999]
)
def test_a_damaged_tree_is_refused(tmp_path, csv_path, text):
    path = tmp_path / "tree.json"
    path.write_text(text)
    with refused(Kind.DAMAGED, remedy=Remedy.FETCH_AGAIN, about=path):
        read_classes(csv_path, path)


def test_children_are_kinds_at_any_depth_and_never_parts(classes):
    assert classes.children("/m/01g317") == {"/m/04yx4", "/m/03bt1vf", "/m/05r655"}
    assert classes.children("/m/0zvk5") == frozenset()


def test_a_class_below_a_part_is_still_a_kind_of_that_part(classes):
    assert classes.children("/m/09j2d") == {"/m/0zvk5"}


def test_ancestors_are_found_through_every_place_of_a_class(classes):
    assert classes.ancestors("/m/0zvk5") == {"/m/09j2d", "/m/0gt2p", "/m/0bl9f"}
    assert classes.ancestors("/m/0bl9f") == frozenset()


def test_children_are_rolled_up_and_siblings_are_not(classes):
    assert rolled_up(["Car", "Traffic sign"], classes) == {
        "Car": "Car",
        "Van": "Car",
        "Traffic sign": "Traffic sign",
        "Stop sign": "Traffic sign",
    }


@pytest.mark.parametrize("wanted", [["Person", "Woman"], ["Woman", "Person"]])
def test_an_object_goes_to_the_most_specific_wanted_class(classes, wanted):
    assert rolled_up(wanted, classes) == {
        "Person": "Person",
        "Man": "Person",
        "Woman": "Woman",
        "Girl": "Woman",
    }


def test_a_child_of_two_unrelated_wanted_classes_goes_to_the_first(classes):
    wanted = ["Sports equipment", "Clothing"]
    assert rolled_up(wanted, classes)["Helmet"] == "Sports equipment"
    assert rolled_up(wanted[::-1], classes)["Helmet"] == "Clothing"


def test_without_roll_up_only_the_wanted_labels_count(classes):
    assert rolled_up(["Person"], classes, children=False) == {"Person": "Person"}


@pytest.mark.parametrize("wanted", [["Car", "/m/0k4j"], ["Car", "Car"]])
def test_a_class_wanted_twice_is_refused(classes, wanted):
    with refused(Kind.SETTING, key="data.classes", about="Car"):
        roll_up(wanted, classes)


def test_no_class_at_all_is_refused(classes):
    with refused(Kind.SETTING, key="data.classes"):
        roll_up([], classes)


def test_the_real_tree_gives_the_known_families(street_mirror):
    annotations_dir = street_mirror / ANNOTATIONS_DIR
    paths = (annotations_dir / file.path for file in (V5.class_csv, V5.hierarchy))
    classes = read_classes(*paths)
    wanted = ["Person", "Car", "Traffic sign", "Traffic light"]
    families = {}
    for name, owner in rolled_up(wanted, classes).items():
        families.setdefault(owner, set()).add(name)
    assert families == {
        "Person": {"Person", "Man", "Woman", "Boy", "Girl"},
        "Car": {"Car", "Van", "Limousine"},
        "Traffic sign": {"Traffic sign", "Stop sign"},
        "Traffic light": {"Traffic light"},
    }
