"""Nothing of the user's is read or sent, and no stranger is trusted."""

import pytest
from servers import Fault, always, serve

from oiv5_d2.acquisition.stores import StoreError


@pytest.fixture
def tempting_home(tmp_path, monkeypatch):
    """A home and an environment full of credentials and proxies."""
    (tmp_path / ".aws").mkdir()
    (tmp_path / ".aws" / "credentials").write_text(
        "[default]\naws_access_key_id = A\naws_secret_access_key = B\n"
    )
    for name in (".netrc", "_netrc"):
        (tmp_path / name).write_text("machine 127.0.0.1 login me password secret\n")
        (tmp_path / name).chmod(0o600)
    (tmp_path / ".curlrc").write_text('user = "me:secret"\nproxy = "http://127.0.0.1:9"\n')
    monkeypatch.setenv("HOME", str(tmp_path))
    monkeypatch.setenv("CURL_HOME", str(tmp_path))
    monkeypatch.setenv("NETRC", str(tmp_path / ".netrc"))
    for name in ("AWS_ACCESS_KEY_ID", "AWS_SECRET_ACCESS_KEY", "AWS_SESSION_TOKEN"):
        monkeypatch.setenv(name, "secret")
    for name in ("http_proxy", "https_proxy", "all_proxy", "HTTPS_PROXY", "ALL_PROXY"):
        monkeypatch.setenv(name, "http://127.0.0.1:9")


@pytest.mark.usefixtures("tempting_home")
def test_credentials_and_proxies_of_the_environment_are_left_alone(bucket, connect):
    with serve(bucket) as server:
        store = connect(server.url, tries=1)
        assert store.read("small/1") == (bucket / "small" / "1").read_bytes()
        assert store.head("small/1").num_bytes == 5001
        assert len(b"".join(store.stream("small/1", 5))) == 4996
    assert not any(line.has_credentials for line in server.log)
    assert {line.agent.split("/")[0] for line in server.log} == {"oiv5_d2"}


def test_no_cookie_is_kept(bucket, connect):
    with serve(bucket, always(Fault(headers=(("Set-Cookie", "a=b"),)))) as server:
        store = connect(server.url, connections=1)
        for _ in range(2):
            store.read("small/1")
    assert not any(line.has_credentials for line in server.log)


def test_a_proxy_is_used_where_it_is_set(bucket, connect):
    with serve(bucket) as proxy, pytest.raises(FileNotFoundError):
        connect("http://release.invalid/small", proxy=proxy.url, tries=1).read("1")
    assert [line.path for line in proxy.log] == ["http://release.invalid/small/1"]


def test_a_certificate_that_nobody_vouches_for_is_refused(bucket, connect, certificate, tls):
    with serve(bucket, tls=tls) as server:
        with pytest.raises(StoreError, match=r"^the server's certificate is not trusted: "):
            connect(server.url).read("small/1")
        assert server.log == []
        store = connect(server.url, ca_file=str(certificate[0]))
        assert store.read("small/1") == (bucket / "small" / "1").read_bytes()
        with pytest.raises(StoreError, match=r"/nowhere.pem"):
            connect(server.url, ca_file="/nowhere.pem").read("small/1")
