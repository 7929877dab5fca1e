import pytest

from oiv5_d2.acquisition.manifest import (
    MANIFEST_COLUMNS,
    KnownImages,
    read_manifest,
    write_manifest,
)
from oiv5_d2.acquisition.outcomes import Known, Outcome

WHEN = "2019-05-08T10:00:00+00:00"
ROWS = [
    ("image", "train", Outcome("a.jpg", "present", "", 7, "a0", "bucket/train/a.jpg", WHEN)),
    ("image", "train", Outcome("b.jpg", "missing", "it is not there", source="bucket/train/b.jpg")),
    ("image", "train", Outcome("d.jpg", "failed", 'said "no", twice', source="bucket/train/d.jpg")),
    ("image", "validation", Outcome("c.jpg", "present", "", 9, "c0", "ürl/c.jpg", WHEN)),
    ("mask", "train", Outcome("a_1.png", "present", "", 5, "a1", "bucket/a.zip", WHEN)),
    ("mask", "train", Outcome("b_1.png", "corrupt", "damaged", source="bucket/b.zip")),
]


def write(path, rows=ROWS):
    with write_manifest(path) as manifest:
        for row in rows:
            manifest.add(*row)
    return manifest


def test_what_is_written_is_read(tmp_path):
    manifest = write(tmp_path / "manifest.csv")
    rows = read_manifest(tmp_path / "manifest.csv")
    assert rows.columns.tolist() == MANIFEST_COLUMNS
    found = list(rows.itertuples(index=False, name=None))
    assert found == [(kind, split, *outcome) for kind, split, outcome in ROWS]
    assert manifest.num_bytes == rows["Bytes"].sum() == 21
    states = rows["State"].value_counts().to_dict()
    assert {state: manifest.num_in(state) for state in states} == states


def test_a_manifest_is_there_whole_or_not_at_all(tmp_path):
    path = tmp_path / "manifest.csv"
    write(path)
    before = path.read_bytes()
    with pytest.raises(KeyboardInterrupt), write_manifest(path) as manifest:
        manifest.add(*ROWS[0])
        raise KeyboardInterrupt
    assert path.read_bytes() == before
    assert list(tmp_path.iterdir()) == [path]


def test_pictures_that_were_checked_are_known(tmp_path):
    write(tmp_path / "manifest.csv")
    keys = ["train/a.jpg", "train/aa.jpg", "train/b.jpg", "validation/c.jpg", "validation/z.jpg"]
    known = KnownImages(tmp_path / "manifest.csv")
    found = {key: known.look_up(key) for key in keys}
    assert {key: one for key, one in found.items() if one} == {
        "train/a.jpg": Known(7, "a0", "bucket/train/a.jpg", WHEN),
        "validation/c.jpg": Known(9, "c0", "ürl/c.jpg", WHEN),
    }


@pytest.mark.parametrize(
    "content",
    [
        None,
        "",
        "Kind,Split,Path,State,Reason,Bytes,SHA256,Source,Fetched\n"
        "image,train,a.jpg,present,,7,a0,,\n",
        "Kind,Split,Path,State,Reason,Bytes,BLAKE3,Source,Fetched\n"
        "image,train,a.jpg,present,,7.0,a0,,\n",
        "Kind,Split,Path,State,Reason,Bytes,BLAKE3,Source,Fetched\nimage,train,a.jpg,present\n",
        "Kind,Split,Path,State,Reason,Bytes,BLAKE3,Source,Fetched\n"
        "image,train,a.jpg,present,,7,1.5E+60,,\n",
        "Kind;Split;Path;State;Reason;Bytes;BLAKE3;Source;Fetched\n"
        "image;train;a.jpg;present;;7;a0;;\n",
        "Split,Path,State,Reason,Bytes,BLAKE3,Source,Fetched\ntrain,a.jpg,present,,7,a0,,\n",
        "Split,BLAKE3\ntrain,a0\n",
    ],
)
def test_nothing_is_known_without_a_sound_manifest(tmp_path, content):
    path = tmp_path / "manifest.csv"
    if content is not None:
        path.write_text(content)
    assert KnownImages(path).look_up("train/a.jpg") is None


@pytest.mark.parametrize(
    "edit",
    [
        lambda text: text.encode("utf-8-sig"),
        lambda text: text.replace("it is not", "n\xf6t").encode("cp1252"),
        lambda text: text.replace("\n", "\r\n").encode(),
        lambda text: (text + 'image,train,"' + "x" * 200_000).encode(),
    ],
)
def test_pictures_stay_known_where_an_editor_changed_the_rest(tmp_path, edit):
    path = tmp_path / "manifest.csv"
    write(path)
    path.write_bytes(edit(path.read_text(encoding="utf-8")))
    known = KnownImages(path)
    assert known.look_up("train/a.jpg") == Known(7, "a0", "bucket/train/a.jpg", WHEN)
    # Its source is not ASCII: in another encoding it can't be read.
    found = known.look_up("validation/c.jpg")
    assert found in (Known(9, "c0", "ürl/c.jpg", WHEN), None)
    assert (found is None) == (b"\xfcrl" in path.read_bytes())
    assert known.look_up("validation/z.jpg") is None
