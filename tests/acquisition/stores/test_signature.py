"""Requests that are signed, for buckets that not everybody may read."""

import hashlib
import hmac
import re

import pytest
from real_servers import serve_by_rclone
from servers import Fault, first, serve

from oiv5_d2.acquisition.stores import Get, StoreError, Transfer, open_store
from oiv5_d2.acquisition.stores.signature import Signature

KEY_ID, SECRET, TOKEN = "AKIDEXAMPLE", "wJalrXUtnFEMI/K7MDENG", "for/some+hours=="


@pytest.fixture
def key(monkeypatch):
    """A key in the environment."""
    monkeypatch.setenv("AWS_ACCESS_KEY_ID", KEY_ID)
    monkeypatch.setenv("AWS_SECRET_ACCESS_KEY", SECRET)
    monkeypatch.delenv("AWS_SESSION_TOKEN", raising=False)


def is_signed(request, region):
    """Work a request's signature out as AWS Signature Version 4 says, and compare."""
    told = re.fullmatch(
        r"AWS4-HMAC-SHA256 Credential=([^/]+)/(\d+)/([^/]+)/s3/aws4_request, ?"
        r"SignedHeaders=([^,]+), ?Signature=([0-9a-f]{64})",
        request.headers.get("authorization", ""),
    )
    if told is None:
        return False
    key_id, day, told_region, names, signature = told.groups()
    headers = "".join(f"{name}:{request.headers[name]}\n" for name in names.split(";"))
    payload = request.headers["x-amz-content-sha256"]
    canonical = f"{request.method}\n/{request.path}\n\n{headers}\n{names}\n{payload}"
    scope = f"{day}/{region}/s3/aws4_request"
    digest = hashlib.sha256(canonical.encode()).hexdigest()
    text = f"AWS4-HMAC-SHA256\n{request.headers['x-amz-date']}\n{scope}\n{digest}"
    signing = f"AWS4{SECRET}".encode()
    for word in (*scope.split("/"), text):
        signing = hmac.digest(signing, word.encode(), "sha256")
    return (key_id, told_region, signing.hex()) == (KEY_ID, region, signature)


def open_signed(url, **settings):
    transfer = Transfer(s3_endpoint=url, sign_s3=True, tries=3, pause_seconds=0.01, **settings)
    return open_store("s3://small", transfer)


@pytest.mark.usefixtures("key")
@pytest.mark.parametrize("token", ["", TOKEN])
def test_every_request_is_signed_as_s3_wants_it(bucket, monkeypatch, token):
    if token:
        monkeypatch.setenv("AWS_SESSION_TOKEN", token)
    seen = []

    def note(request, chance):
        seen.append(request)
        return first(1, Fault(503))(request, chance)

    with serve(bucket, note) as server:
        store = open_signed(server.url, s3_region="eu-central-1")
        etag = store.head("1").etag
        assert store.read("1") == (bucket / "small" / "1").read_bytes()
        assert store.read("1", 5, 9, etag) == (bucket / "small" / "1").read_bytes()[5:9]
        assert b"".join(store.stream("2")) == (bucket / "small" / "2").read_bytes()
        assert all(answer.error is None for answer in store.read_many([Get("3"), Get("4")]))
        store.close()
    assert len(seen) == 4 + 3 * 2  # each file once for nothing
    for request in seen:
        assert is_signed(request, "eu-central-1"), request
        assert request.headers.get("x-amz-security-token", "") == token
        assert SECRET not in str(request.headers)


@pytest.mark.usefixtures("key")
def test_only_buckets_are_signed_for_and_only_where_it_is_asked(bucket):
    with serve(bucket) as server:
        for location, transfer in [
            (server.url, Transfer(sign_s3=True)),
            ("s3://small", Transfer(s3_endpoint=server.url)),
        ]:
            store = open_store(location, transfer)
            store.read("small/1" if location == server.url else "1")
            store.close()
    assert len(server.log) == 2 and not any(line.has_credentials for line in server.log)


@pytest.mark.usefixtures("key")
@pytest.mark.parametrize("name", ["AWS_ACCESS_KEY_ID", "AWS_SECRET_ACCESS_KEY"])
def test_a_key_that_is_not_there_is_named(monkeypatch, name):
    monkeypatch.delenv(name)
    with pytest.raises(ValueError, match=f"^transfer.sign_s3: {name} is not set"):
        open_signed("http://127.0.0.1:9")


def test_what_is_signed_is_not_redirected_to_others():
    with pytest.raises(ValueError, match=r"^transfer.follow_redirects=true: not with"):
        Transfer(sign_s3=True, follow_redirects=True)


def test_a_secret_is_not_shown():
    assert SECRET not in repr(Signature("us-east-1", KEY_ID, SECRET, TOKEN))
    assert TOKEN not in repr(Signature("us-east-1", KEY_ID, SECRET, TOKEN))


@pytest.mark.usefixtures("key")
def test_a_server_that_checks_signatures_gives_its_files(bucket, monkeypatch):
    with serve_by_rclone(bucket, KEY_ID, SECRET) as url:
        store = open_signed(url)
        data = (bucket / "small" / "1").read_bytes()
        assert store.read("1") == data
        assert store.read("1", 5, 9, store.head("1").etag) == data[5:9]
        monkeypatch.setenv("AWS_SECRET_ACCESS_KEY", "another")
        with pytest.raises(StoreError, match="403 Forbidden"):
            open_signed(url).read("1")
        with pytest.raises(StoreError, match="the server says 400"):
            open_store("s3://small", Transfer(s3_endpoint=url)).read("1")
