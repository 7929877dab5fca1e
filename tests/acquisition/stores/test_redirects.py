import pytest
from servers import Fault, always, serve

from oiv5_d2.acquisition.stores import Get, StoreError
from oiv5_d2.acquisition.stores.redirects import refused_redirect


def to(url, status=302):
    return Fault(status, headers=(("Location", url),))


@pytest.mark.parametrize(
    ("url", "target", "why"),
    [
        ("http://a/x", "http://a/y", ""),
        ("http://a/x", "https://a/x", ""),
        ("http://a:80/x", "https://a:443/x", ""),
        ("https://a/x", "http://a/x", "from https to plain http: refused"),
        ("https://a/x", "http://a:443/x", "from https to plain http: refused"),
        ("http://a/x", "http://a:8080/x", r"to another host \(a:8080\): refused"),
        ("http://a/x", "http://b/x", r"to another host \(b\): refused, set transfer.follow"),
        ("http://a/x", "http://A/x", ""),
        ("http://a/x", "ftp://a/x", r"to something else than HTTP \(ftp\): refused"),
        ("http://a/x", "file:///etc/passwd", r"to something else than HTTP \(file\): refused"),
        ("http://a/x", "http://me:secret@a/x", "to an address with a user's name: refused"),
    ],
)
def test_only_redirects_to_the_same_host_are_followed(url, target, why):
    told = refused_redirect(url, target, 0, follow=False)
    if not why:
        assert told == ""
        return
    with pytest.raises(ValueError, match=why):
        raise ValueError(told)
    assert "secret" not in told


def test_where_it_is_set_other_hosts_and_plain_http_will_do_but_no_other_protocol():
    assert refused_redirect("https://a/x", "http://b:99/x", 4, follow=True) == ""
    assert "refused" in refused_redirect("https://a/x", "file:///x", 0, follow=True)
    assert "refused" in refused_redirect("https://a/x", "https://me@b/x", 0, follow=True)
    assert "more than 5 times" in refused_redirect("https://a/x", "https://a/x", 5, follow=True)


def test_who_signs_is_told_what_to_set_instead():
    told = refused_redirect("https://a/x", "https://b/x", 0, follow=False, is_signed=True)
    assert told.endswith("refused, set transfer.s3_endpoint and s3_region")
    told = refused_redirect("https://a/x", "http://a/x", 0, follow=False, is_signed=True)
    assert told.endswith("refused, set transfer.s3_endpoint")


def test_a_redirect_on_the_same_host_is_followed_by_all_verbs(bucket, connect):
    data = (bucket / "small" / "1").read_bytes()

    def moved(request, chance):
        return None if request.path == "small/1" else to("/small/1", 301)

    with serve(bucket, moved) as server:
        store = connect(server.url, tries=1)
        assert store.read("old") == data
        assert store.head("old").num_bytes == len(data)
        assert store.read("old", 7, 90) == data[7:90]
        assert b"".join(store.stream("old", 5)) == data[5:]
        assert {answer.num_tries for answer in store.read_many([Get("old"), Get("a")])} == {1}
    assert len(server.log) == 12


def test_redirects_in_a_circle_end(bucket, connect):
    with serve(bucket, always(to("/round"))) as server:
        store = connect(server.url)
        with pytest.raises(StoreError, match=r"^redirects more than 5 times$"):
            store.read("small/1")
        with pytest.raises(StoreError, match=r"^redirects more than 5 times$"):
            list(store.stream("small/1"))
    assert len(server.log) == 12


def test_another_host_is_not_asked_unless_it_is_set(bucket, connect):
    with serve(bucket) as other, serve(bucket, always(to(f"{other.url}/small/1"))) as server:
        with pytest.raises(
            StoreError, match=rf"^redirects to another host \(127.0.0.1:{other.port}\)"
        ):
            connect(server.url).read("small/1")
        with pytest.raises(StoreError, match="redirects to another host"):
            list(connect(server.url).stream("small/1"))
        assert other.log == []
        store = connect(server.url, follow_redirects=True)
        assert store.read("small/1") == (bucket / "small" / "1").read_bytes()
        assert len(other.log) == 1


def test_https_is_not_left_for_plain_http_unless_it_is_set(bucket, connect, certificate, tls):
    ca_file = str(certificate[0])
    with serve(bucket) as plain, serve(bucket, tls=tls) as server:
        server.faults = always(to(f"{plain.url}/small/1"))
        with pytest.raises(StoreError, match=r"^redirects from https to plain http: refused"):
            connect(server.url, ca_file=ca_file).read("small/1")
        assert plain.log == []
        store = connect(server.url, ca_file=ca_file, follow_redirects=True)
        assert store.read("small/1") == (bucket / "small" / "1").read_bytes()


def test_a_redirect_to_a_file_or_to_nowhere_is_no_answer(bucket, connect):
    with serve(bucket, always(to("file:///etc/passwd"))) as server:
        for follow in (False, True):
            with pytest.raises(StoreError, match=r"something else than HTTP \(file\): refused"):
                connect(server.url, follow_redirects=follow).read("small/1")
        server.faults = always(to("/\u00fc"))
        with pytest.raises(StoreError, match="redirects more than 5 times"):
            connect(server.url).read("small/1")
        for nowhere in ("http://[/", "http://a:99999/"):
            server.faults = always(to(nowhere))
            with pytest.raises(StoreError, match=r"address that is none: refused|302 Found"):
                connect(server.url).read("small/1")
        server.faults = always(Fault(302))
        with pytest.raises(StoreError, match=r"^the server says 302 Found$"):
            connect(server.url).read("small/1")
