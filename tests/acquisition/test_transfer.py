import os
from pathlib import Path

import pytest
from omegaconf import OmegaConf
from raising import refused
from real_servers import serve_by_rclone
from servers import (
    Fault,
    always,
    serve,
)

from oiv5_d2.acquisition.buckets import Bucket, Get
from oiv5_d2.acquisition.transfer import Transfer, check_address, folder_of
from oiv5_d2.problems import Kind, Problem, Remedy

# --- Addresses and settings ---


def test_a_folder_is_known_by_its_address(tmp_path):
    (tmp_path / "a b").mkdir()
    bucket = Bucket(f"file://{tmp_path}/a%20b", Transfer())
    assert bucket.folder == tmp_path / "a b"
    for location in ("http://a/b", "https://a", "s3://a", "S3://a", "HTTPS://a", "gs://a"):
        assert folder_of(location) is None
    for location in ("/a/b", "a/b", "file:///a", "s3/a", "http:/a", "."):
        assert folder_of(location)


@pytest.mark.parametrize("location", ["/nowhere/at/all", "file:///nowhere/at/all"])
def test_an_absent_folder_is_refused(location):
    with refused(Kind.ABSENT, key="data.source", about="/nowhere/at/all"):
        Bucket(location, Transfer())


@pytest.mark.parametrize(
    ("location", "shown"),
    [
        ("ftp://bucket/x", "ftp://bucket"),
        ("s3://", "s3://"),
        ("http://", "http://"),
        ("http://[", "http://["),
        ("http://a b/c", "http://a b"),
        ("https://me:hunter2@host/b", "https://host"),
        ("https://me:hunter2@host/b?x=1", "https://host"),
        ("https://me:hunter 2@host/b", "https://host"),
        ("https://me:hunter2@host:99999/b", "https://host:99999"),
        ("https://me:[hunter2@host/b", "https://host"),
        ("http://me:hunter?2@host/b", "http://..."),
        ("http://me:hunter/2@host/b", "http://..."),
        ("s3://me:hunter/2@bucket/b", "s3://..."),
        ("s3://me:hunter2@bucket/b", "s3://bucket"),
        ("https://host/b?X-Amz-Signature=hunter2", "https://host"),
        ("https://host/b#hunter2", "https://host"),
        ("s3://bucket/b?X-Amz-Signature=hunter2", "s3://bucket"),
    ],
)
def test_an_address_that_holds_a_secret_or_is_none_is_refused_without_showing_it(location, shown):
    with refused(Kind.SETTING, remedy=Remedy.CHANGE_SETTING) as caught:
        Bucket(location, Transfer())
    assert caught.value.subject == shown
    assert "hunter" not in str(caught.value)


def test_a_path_may_hold_an_at_sign():
    check_address("https://host/gh/me/release@v1")


@pytest.mark.parametrize(
    "settings",
    [
        {"connections": 0},
        {"client_options": {"tiemout": "3s"}},
        {"client_options": {"timeout": "three"}},
        {"retry_config": {"retry_timeout": "soon"}},
        {"store": {"regoin": "us-east-1"}},
        {"store": {"endpoint": None}},
    ],
)
def test_a_setting_that_the_library_does_not_know_is_refused(settings):
    with refused(Kind.SETTING) as caught:
        Bucket("s3://bucket", Transfer(**settings))
    assert next(iter(settings)) in caught.value.key


def test_the_settings_that_the_configuration_gives_are_ones_that_the_library_takes(bucket):
    path = Path(__file__).parents[2] / "configs" / "transfer" / "default.yaml"
    settings = OmegaConf.to_container(OmegaConf.load(path).transfer)
    transfer = OmegaConf.to_object(OmegaConf.merge(OmegaConf.structured(Transfer), settings))
    for location in ("https://host/bucket", "s3://bucket/prefix", "gs://bucket"):
        assert Bucket(location, transfer).location == location
    with serve(bucket) as server:
        assert Bucket(server.url, transfer).head("small/1").num_bytes == 5001


# --- Nothing of the user's is sent, and no stranger is trusted ---

KEY_ID, SECRET, TOKEN = "AKIDEXAMPLE", "wJalrXUtnFEMI/K7MDENG", "for/some+hours=="


@pytest.fixture
def tempting(monkeypatch):
    """An environment full of credentials, proxies and endpoints."""
    names = {"AWS_ACCESS_KEY_ID": KEY_ID, "AWS_SECRET_ACCESS_KEY": SECRET}
    names["AWS_SESSION_TOKEN"] = TOKEN
    names |= {"AWS_ENDPOINT_URL": "http://127.0.0.1:9", "AWS_REGION": "eu-west-9"}
    names |= {"AWS_ENDPOINT_URL_S3": "http://127.0.0.1:9"}
    names["AWS_VIRTUAL_HOSTED_STYLE_REQUEST"] = "true"
    for name in ("http_proxy", "https_proxy", "all_proxy", "HTTP_PROXY", "HTTPS_PROXY"):
        names[name] = "http://127.0.0.1:9"
    for name, value in names.items():
        monkeypatch.setenv(name, value)


@pytest.mark.usefixtures("tempting")
def test_credentials_proxies_and_endpoints_of_the_environment_are_left_alone(bucket, connect):
    with serve(bucket) as server:
        for host in ("127.0.0.1", "localhost"):
            url = server.url.replace("127.0.0.1", host)
            assert connect(url).head("small/1").num_bytes == 5001
            store = connect("s3://small", store={"endpoint": url})
            assert store.read(Get("1")) == (bucket / "small" / "1").read_bytes()
    assert not any(line.has_credentials for line in server.log)
    assert {line.agent for line in server.log} == {"oiv5_d2"}


def test_no_cookie_is_kept(bucket, connect):
    with serve(bucket, always(Fault(headers=(("Set-Cookie", "a=b"),)))) as server:
        for _ in range(2):
            connect(server.url, connections=1).read(Get("small/1"))
    assert not any(line.has_credentials for line in server.log)


def test_a_proxy_is_used_if_it_is_set(bucket, connect):
    with serve(bucket) as proxy, refused(Kind.ABSENT):
        options = {"proxy_url": proxy.url}
        connect("http://release.invalid/small", client_options=options).read(Get("1"))
    assert [line.path for line in proxy.log] == ["http://release.invalid/small/1"]


def test_a_certificate_that_is_not_trusted_is_refused(bucket, connect, certificate, tls):
    with serve(bucket, tls=tls) as server:
        with refused(Kind.UNREACHABLE, about="InvalidCertificate"):
            connect(server.url).read(Get("small/1"))
        assert server.log == []
        options = {"root_certificate": certificate[0].read_text()}
        store = connect(server.url, client_options=options)
        assert store.read(Get("small/1")) == (bucket / "small" / "1").read_bytes()


@pytest.mark.usefixtures("tempting")
def test_an_s3_bucket_is_signed_if_it_is_asked_for_and_its_secret_is_never_sent(bucket, connect):
    seen = []

    def note(request, chance):
        seen.append(request)

    store = {"skip_signature": False, "region": "eu-central-1"}
    with serve(bucket, note) as server:
        signed = connect("s3://small", store=store | {"endpoint": server.url})
        assert signed.read(Get("1")) == (bucket / "small" / "1").read_bytes()
    (probe, request) = seen
    assert "authorization" not in probe.headers and TOKEN not in str(probe.headers)
    assert f"Credential={KEY_ID}/" in request.headers["authorization"]
    assert "/eu-central-1/s3/" in request.headers["authorization"]
    assert request.headers["x-amz-security-token"] == TOKEN
    assert SECRET not in str(seen)
    assert SECRET not in repr(Transfer(store={"secret_access_key": SECRET}))


def test_who_wants_to_sign_needs_a_key(monkeypatch):
    for name in [name for name in os.environ if name.startswith("AWS_")]:
        monkeypatch.delenv(name)
    with refused(Kind.SETTING, key="transfer.store.skip_signature", about="AWS_ACCESS_KEY_ID"):
        Bucket("s3://bucket", Transfer(store={"skip_signature": False}))


@pytest.mark.usefixtures("tempting")
@pytest.mark.parametrize("status", [301, 302, 307, 308])
def test_a_redirect_of_signed_requests_is_refused_and_the_other_host_gets_nothing(
    bucket, connect, status
):
    with serve(bucket) as other:
        moved = Fault(status, headers=(("Location", f"{other.url}/small/1"),))
        with serve(bucket, always(moved)) as server:
            store = {"skip_signature": False, "endpoint": server.url}
            with refused(Kind.REFUSED, key="transfer.store", about=f"127.0.0.1:{other.port}"):
                connect("s3://small", store=store)
        assert other.log == []
        assert not any(line.has_credentials for line in server.log)


@pytest.mark.usefixtures("tempting")
def test_a_signature_never_goes_to_another_host(bucket, connect):
    """Even of a server that redirects only later."""
    with serve(bucket) as other, serve(bucket) as server:
        signed = connect("s3://small", store={"skip_signature": False, "endpoint": server.url})
        server.faults = always(Fault(302, headers=(("Location", f"{other.url}/small/1"),)))
        signed.read(Get("1"))
        assert server.log[-1].has_credentials
        assert [line.has_credentials for line in other.log] == [False]


def test_a_server_that_checks_signatures_gives_its_files(bucket, connect, monkeypatch):
    monkeypatch.setenv("AWS_ACCESS_KEY_ID", KEY_ID)
    monkeypatch.setenv("AWS_SECRET_ACCESS_KEY", SECRET)
    monkeypatch.delenv("AWS_SESSION_TOKEN", raising=False)
    with serve_by_rclone(bucket, KEY_ID, SECRET) as url:
        store = {"endpoint": url, "skip_signature": False}
        assert connect("s3://small", store=store).read(Get("1"))
        with pytest.raises(Problem):
            connect("s3://small", store={"endpoint": url}).read(Get("1"))
        monkeypatch.setenv("AWS_SECRET_ACCESS_KEY", "another")
        with refused(Kind.REFUSED):
            connect("s3://small", store=store).read(Get("1"))
