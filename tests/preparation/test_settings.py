"""What a user asks for, checked before anything is done."""

import pytest
from hydra import compose, initialize_config_dir
from raising import refused

from oiv5_d2.console.errors import CONFIG_DIR
from oiv5_d2.openimages.release import V5
from oiv5_d2.preparation.settings import read_request
from oiv5_d2.problems import Kind, Remedy

NAMES = [path.stem for path in sorted((CONFIG_DIR / "data").glob("*.yaml"))]


def ask(*words):
    with initialize_config_dir(str(CONFIG_DIR), version_base="1.3"):
        return read_request(compose("prepare", list(words)))


@pytest.mark.parametrize("name", [name for name in NAMES if name not in ("open_images", "coco")])
def test_every_data_set_composes_and_is_typed(name, tiny_release):
    words = [f"data={name}", *([f"data.source={tiny_release}"] if name == "folder" else [])]
    request = ask(*words)
    assert request.data.name == name
    assert request.data.choice.splits == ("train", "validation", "test")
    assert request.data.published is V5
    assert request.train_parts == ["train"]


def test_ready_coco_files_are_parts(tmp_path):
    (tmp_path / "a.json").touch()
    words = ["data=coco", "data.name=mine", "data.classes=[car]"]
    with refused(Kind.SETTING, key="data.train"):
        ask(*words)
    words += [f"data.{part}={tmp_path / 'a.json'}" for part in ("train", "validation")]
    request = ask(*words)
    assert request.data.parts == ["train", "validation"] == [*request.data.coco]
    with refused(Kind.ABSENT, key="data.test"):
        ask(*words, "data.test=gone.json")


ONE_FILE = ["data=coco", "data.name=mine", "data.classes=[car]"]
CUT = "data.shares={train: 0.8, held_out: 0.2}"


def test_one_coco_file_is_cut_into_parts(tmp_path):
    (tmp_path / "a.json").touch()
    words = [*ONE_FILE, f"data.train={tmp_path / 'a.json'}"]
    with refused(Kind.SETTING, key="data.validation"):
        ask(*words)
    request = ask(*words, CUT)
    assert request.data.coco == dict.fromkeys(["train", "held_out"], tmp_path / "a.json")
    assert request.data.parts == ["train", "held_out"] and request.train_parts == ["train"]
    with refused(Kind.SETTING, key="data.test data.shares"):
        ask(*words, CUT, "data.test=b.json")
    for shares in ("{train: 0.8, held_out: 0.3}", "{train: 0}"):
        with refused(Kind.SETTING, key="data.shares"):
            ask(*words, f"data.shares={shares}")


@pytest.mark.parametrize(
    ("word", "key"),
    [
        ("data.limit.per_class=3", "data.limit"),
        ("data.exclude=[IsOccluded]", "data.exclude"),
        ("data.splits=[train]", "data.splits"),
        ("data.only_masked=false", "data.only_masked"),
    ],
)
def test_what_chooses_from_a_release_is_refused_beside_a_coco_file(tmp_path, word, key):
    (tmp_path / "a.json").touch()
    files = [f"data.{part}={tmp_path / 'a.json'}" for part in ("train", "validation")]
    with refused(Kind.SETTING, key=key):
        ask(*ONE_FILE, *files, word)


@pytest.mark.parametrize("name", ["", "a/b", "..", "a b"])
def test_a_name_that_is_no_folder_s_is_refused(name, tiny_release):
    with refused(Kind.SETTING, key="data.name"):
        ask("data=folder", f"data.source={tiny_release}", f"data.name='{name}'")


def test_a_data_set_without_source_or_name_says_so():
    with refused(Kind.SETTING, key="data.source"):
        ask("data=folder")
    with refused(Kind.SETTING, key="data.source"):
        ask("data=open_images", "data.name=x")


@pytest.mark.parametrize(
    ("words", "key"),
    [
        (["data.seed=two"], "data.seed"),
        (["data.classes=Car"], "data.classes"),
        (["workers=many"], "workers"),
        (["workers=0"], "workers"),
        (["max_missing=1.5"], "max_missing"),
        (["max_errors=-1"], "max_errors"),
        (["verify_sample=-1"], "verify_sample"),
        (["data.synthetic.size=[3]"], "data.synthetic.size"),
        (["data.release=V9"], "data.release"),
        (["data.limit.unit=inches"], "data.limit.unit"),
        (["data.limit.per_class=0"], "data.limit.per_class"),
        (["data.splits=[train,val]"], "data.splits"),
        (["data.splits=[]"], "data.splits"),
        (["data.shares={a: 0.5}"], "data.shares"),
        (["data.exclude=[IsGreen]"], "data.exclude"),
        (["data.require=[IsGroupOf]"], "data.require"),
        (["data.id_prefixes=[g]"], "data.id_prefixes"),
        (["data.min_predicted_iou=2"], "data.min_predicted_iou"),
        (["data.images=s3://elsewhere"], "data.images"),
        (["data=folder", "data.source=https://user:secret@example.org"], None),
    ],
)
def test_a_setting_without_meaning_is_refused(words, key):
    with refused(Kind.SETTING, key=key) as caught:
        request = ask("data=mini", *words)
        assert request.data.published
    assert "secret" not in str(caught.value)


def test_a_file_or_folder_that_does_not_exist_is_named(tiny_release, tmp_path):
    with refused(Kind.ABSENT, key="data.image_ids", about=tmp_path / "list.txt"):
        ask("data=mini", f"data.image_ids={tmp_path / 'list.txt'}")
    with refused(Kind.ABSENT, key="data.source", about=tmp_path / "nowhere"):
        ask("data=folder", f"data.source={tmp_path / 'nowhere'}")
    for place in (tiny_release / "openimages", tiny_release.parent):
        with refused(Kind.ABSENT, about=f"data.source={tiny_release}"):
            ask("data=folder", f"data.source={place}")
    (tmp_path / "mine" / "photos").mkdir(parents=True)
    with refused(Kind.ABSENT, remedy=Remedy.LAY_OUT_SOURCE, about="has photos"):
        ask("data=folder", f"data.source={tmp_path / 'mine'}")


def test_only_a_synthetic_release_of_ours_is_drawn(tiny_release, tmp_path):
    assert ask("data=mini").data.is_drawn
    elsewhere = ask("data=mini", f"data.source={tiny_release}", f"data.dir={tmp_path}")
    assert not elsewhere.data.is_drawn


def test_parts_are_splits_or_shares(tiny_release):
    shares = "data.shares={fit: 0.7, check: 0.3}"
    request = ask("data=mini", "data.splits=[validation]", shares)
    assert request.data.parts == ["fit", "check"]
