import pytest
from servers import serve

from oiv5_d2.acquisition.stores import (
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
        ("gs://bucket/x", ValueError, "'gs://bucket' is no address of a bucket"),
        ("s3://", ValueError, "'s3://' is no address .* s3://bucket/prefix"),
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


@pytest.mark.parametrize(
    ("location", "shown"),
    [
        ("https://me:hunter2@host/b", "of https://host holds"),
        ("https://me:hunter2@host/b?x=1", "of https://host holds"),
        ("https://me:hunter 2@host/b", "of https://host holds"),
        ("https://me:hunter2@host:99999/b", "of https://host:99999 holds"),
        ("https://me:[hunter2@host/b", "of https://host holds"),
        ("http://me:hunter?2@host/b", "'http://...' is no"),
        ("http://me:hunter/2@host/b", "'http://...' is no"),
        ("s3://me:hunter/2@bucket/b", "'s3://...' is no"),
        ("s3://me:hunter2@bucket/b", "of s3://bucket holds"),
        ("gs://me:hunter2@bucket/x", "of gs://bucket holds"),
        ("https://host/b?X-Amz-Signature=hunter2", "'https://host' is no"),
        ("https://host/b#hunter2", "'https://host' is no"),
        ("s3://bucket/b?X-Amz-Signature=hunter2", "'s3://bucket' is no"),
    ],
)
def test_of_an_address_that_is_refused_no_secret_is_shown(location, shown):
    with pytest.raises(ValueError) as caught:
        open_store(location, Transfer())
    assert shown in str(caught.value)
    assert "hunter" not in str(caught.value)


def test_a_password_of_the_s3_endpoint_is_not_shown_either():
    with pytest.raises(ValueError, match="of http://host holds a user's name") as caught:
        open_store("s3://bucket", Transfer(s3_endpoint="http://me:hunter2@host"))
    assert "hunter" not in str(caught.value)


def test_a_path_may_have_what_a_user_s_name_ends_with():
    location = "https://host/gh/me/release@v1"
    assert open_store(location, Transfer()).location == location
