import pytest
from servers import serve

from oiv5_d2.dataset.stores import (
    FolderStore,
    HttpStore,
    Transfer,
    is_remote,
    open_source,
    open_store,
)


def test_a_folder_an_address_and_a_bucket_are_told_apart(tmp_path):
    folder = open_store(str(tmp_path), Transfer())
    assert isinstance(folder, FolderStore)
    assert folder.location == str(tmp_path)
    (tmp_path / "a b").mkdir()
    assert open_store(f"file://{tmp_path}/a%20b", Transfer()).location == f"{tmp_path}/a b"
    web = open_store("https://host/bucket/", Transfer())
    assert isinstance(web, HttpStore)
    assert web.location == "https://host/bucket"
    s3 = open_store("s3://open-images-dataset/", Transfer())
    assert s3.location == "https://s3.amazonaws.com/open-images-dataset"
    mirror = Transfer(s3_endpoint="http://127.0.0.1:9000/")
    assert open_store("s3://a/b", mirror).location == "http://127.0.0.1:9000/a/b"


def test_what_is_asked_over_a_network_is_known():
    for location in ("http://a/b", "https://a", "s3://a", "S3://a", "HTTPS://a"):
        assert is_remote(location)
    for location in ("/a/b", "a/b", "file:///a", "s3/a", "http:/a", "."):
        assert not is_remote(location)


@pytest.mark.parametrize(
    ("location", "error", "message"),
    [
        ("/nowhere/at/all", FileNotFoundError, "/nowhere/at/all: there is no such folder"),
        ("file:///nowhere/at/all", FileNotFoundError, "/nowhere/at/all: there is no such folder"),
        ("gs://bucket/x", ValueError, "'gs://bucket/x': there is no way to read gs://"),
        ("s3://", ValueError, "'s3://' names no bucket: give s3://bucket/prefix"),
        ("http://", ValueError, "'http://' is no address of a bucket"),
        ("http://[", ValueError, r"'http://\[' is no address of a bucket"),
        ("http://me:secret@a/b", ValueError, "never sent: give it without"),
    ],
)
def test_a_location_that_is_none_is_refused_in_one_line(location, error, message):
    with pytest.raises(error, match=message) as caught:
        open_store(location, Transfer())
    assert "\n" not in str(caught.value)


def test_a_release_may_lie_half_in_a_folder_and_half_on_a_server(tmp_path):
    with serve(tmp_path) as server:
        source = open_source(str(tmp_path), server.url, Transfer())
    assert source.annotations.location == str(tmp_path)
    assert source.images.location == server.url
