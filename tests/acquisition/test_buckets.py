import itertools
import os
import time
from pathlib import Path

import pytest
from omegaconf import OmegaConf
from raising import refused
from real_servers import serve_by_nginx, serve_by_rclone
from servers import (
    CUT,
    LONGER,
    NO_ANSWER,
    NO_RANGES,
    OVERLOADED,
    PASSING,
    RESET,
    SHORTER,
    WRONG_PART,
    Fault,
    always,
    first,
    port_without_server,
    serve,
    sometimes,
)

from oiv5_d2.acquisition.buckets import (
    Answer,
    Bucket,
    Get,
    Head,
    Transfer,
    check_address,
    folder_of,
    open_source,
)
from oiv5_d2.problems import Kind, Problem, Remedy

SMALL = [f"small/{number}" for number in range(40)]


# --- What a bucket gives ---


@pytest.fixture(params=["folder", "http", "s3"])
def any_bucket(request, bucket, connect):
    """The same files in a folder, over HTTP, and as a bucket of S3."""
    if request.param == "folder":
        yield connect(str(bucket))
        return
    with serve(bucket.parent if request.param == "s3" else bucket) as server:
        if request.param == "http":
            yield connect(server.url)
        else:
            yield connect(f"s3://{bucket.name}", store={"endpoint": server.url})


def test_every_kind_of_bucket_gives_the_same_bytes(any_bucket, bucket):
    data = (bucket / "big.bin").read_bytes()
    head = any_bucket.head("big.bin")
    assert head.num_bytes == len(data) and head.etag
    assert any_bucket.read(Get("big.bin")) == data
    assert any_bucket.read(Get("empty")) == b""
    for start, stop in [(0, 1), (0, 70_000), (2_000_000, 3_000_000), (5, 5)]:
        assert any_bucket.read(Get("big.bin", start, stop, head.etag)) == data[start:stop]
    for start in (0, 1, 2_999_999):
        assert b"".join(any_bucket.stream("big.bin", start, head.etag)) == data[start:]
    assert b"".join(any_bucket.stream("empty")) == b""
    heads = dict(any_bucket.head_many(["small/1", "nope"]))
    assert heads["small/1"] == any_bucket.head("small/1")
    assert heads["nope"].kind is Kind.ABSENT


def test_many_files_and_parts_come_each_once(any_bucket, bucket):
    parts = [(), (3, 9), (0, 5), (4990, None)]
    gets = [Get(key, *part) for key in SMALL for part in parts]
    answers = list(any_bucket.read_many([*gets, Get("nope")]))
    assert sorted(map(str, (answer.get for answer in answers))) == sorted(
        map(str, [*gets, Get("nope")])
    )
    for get, data, problem in answers:
        if get.key == "nope":
            assert problem.kind is Kind.ABSENT
        else:
            assert data == (bucket / get.key).read_bytes()[get.start : get.stop]


def test_an_absent_file_and_another_one_are_told_apart(any_bucket, bucket):
    for ask in (
        any_bucket.head,
        lambda key: any_bucket.read(Get(key)),
        lambda key: any_bucket.read(Get(key, 5, 9)),
        lambda key: list(any_bucket.stream(key)),
    ):
        with refused(Kind.ABSENT, about=f"{any_bucket.location}/nope"):
            ask("nope")
    for ask in (
        lambda: any_bucket.read(Get("small/1", 7, 900, '"another"')),
        lambda: list(any_bucket.stream("small/1", 7, '"another"')),
    ):
        with refused(Kind.CHANGED, remedy=Remedy.RUN_AGAIN):
            ask()


def test_a_key_cannot_lead_out_of_the_bucket(any_bucket):
    with refused(Kind.UNSUPPORTED):
        any_bucket.read(Get("../secret"))


def test_bytes_beyond_the_end_are_a_problem(any_bucket):
    for start, stop in [(4000, 6000), (0, 6000), (9000, 9001)]:
        with pytest.raises(Problem):
            any_bucket.read(Get("small/1", start, stop))


def test_a_file_in_a_folder_that_cannot_be_read_is_refused(tmp_path, connect):
    (tmp_path / "a").symlink_to("a")
    with refused(Kind.REFUSED, about=tmp_path / "a"):
        connect(str(tmp_path)).read(Get("a"))


def test_many_files_come_over_few_connections_which_are_used_again(bucket, connect):
    with serve(bucket) as server:
        store = connect(server.url, connections=4)
        for _ in range(2):
            assert len(list(store.read_many(map(Get, SMALL)))) == len(SMALL)
        assert server.num_connections < 20  # the library opens some too many at first
        assert len(server.log) == 2 * len(SMALL)


def test_requests_are_drawn_only_as_far_as_there_is_room(bucket, connect):
    num_drawn = 0

    def endless():
        nonlocal num_drawn
        for key in itertools.cycle(SMALL):
            num_drawn += 1
            yield Get(key)

    with serve(bucket) as server:
        answers = connect(server.url, connections=5).read_many(endless())
        for num_answered, _ in enumerate(itertools.islice(answers, 100), start=1):
            assert num_drawn <= num_answered + 2 * 5
        answers.close()
    assert num_drawn <= 110


def test_a_bucket_can_be_asked_while_an_iterator_is_under_way(bucket, connect):
    with serve(bucket) as server:
        store = connect(server.url)
        for answer in store.read_many(map(Get, SMALL)):
            assert store.head(answer.get.key).num_bytes == len(answer.data)
        for _ in store.read_many(map(Get, SMALL)):
            break
        pieces = store.stream("big.bin")
        data = next(pieces) + store.read(Get("small/3"))
        assert len(data) + sum(map(len, pieces)) == 3_000_000 + 5003


# --- Servers that err ---


@pytest.mark.parametrize(
    ("fault", "kind", "num_asked"),
    [
        (Fault(403), Kind.REFUSED, 1),
        (Fault(401), Kind.REFUSED, 1),
        (Fault(404), Kind.ABSENT, 1),
        (Fault(429), Kind.UNREACHABLE, 3),
        (Fault(500), Kind.UNREACHABLE, 3),
        (OVERLOADED, Kind.UNREACHABLE, 3),
        (RESET, Kind.UNREACHABLE, None),
        (CUT, Kind.UNREACHABLE, 3),
        (NO_ANSWER, Kind.UNREACHABLE, 3),
        (LONGER, Kind.UNREACHABLE, None),
        (Fault(garbage=b"hello\r\n\r\n"), Kind.UNREACHABLE, None),
        (Fault(is_unframed=True), Kind.UNREACHABLE, None),
    ],
)
def test_what_a_server_refuses_has_its_kind(bucket, connect, fault, kind, num_asked):
    with serve(bucket, always(fault)) as server:
        with refused(kind, about=f"{server.url}/small/1") as caught:
            connect(server.url).read(Get("small/1"))
    assert "\n" not in str(caught.value)
    assert num_asked in (None, len(server.log))


@pytest.mark.parametrize(
    ("fault", "kind"),
    [
        (SHORTER, Kind.UNREACHABLE),
        (WRONG_PART, Kind.UNREACHABLE),
        (NO_RANGES, Kind.UNSUPPORTED),
        (Fault(etag="other"), Kind.CHANGED),
        (Fault(headers=(("ETag", '"other"'),)), Kind.CHANGED),
    ],
)
def test_a_part_that_is_not_the_wanted_one_is_refused(bucket, connect, fault, kind):
    with serve(bucket) as server:
        store = connect(server.url)
        etag = store.head("small/1").etag
        server.faults = always(fault)
        with refused(kind):
            store.read(Get("small/1", 10, 3010, etag))


def test_a_weak_etag_is_compared_though_it_cannot_be_asked_for(bucket, connect):
    with serve(bucket, always(Fault(headers=(("ETag", 'W/"2"'),)))) as server:
        store = connect(server.url)
        assert store.read(Get("small/1", 0, 9, 'W/"2"'))
        with refused(Kind.CHANGED):
            store.read(Get("small/1", 0, 9, 'W/"1"'))


def ends_as_any_of(bucket):
    """Return a check that knows a file which a server announced as shorter than it is."""
    ends = {(bucket / key).read_bytes()[-9:] for key in SMALL}

    def check(data):
        if data[-9:] not in ends:
            raise ValueError("it has no end")

    return check


@pytest.mark.parametrize("fault", [fault for fault in PASSING if fault is not NO_RANGES])
def test_what_passes_is_retried(bucket, connect, fault):
    with serve(bucket, first(2, fault)) as server:
        [answer] = connect(server.url).read_many([Get("small/1")], ends_as_any_of(bucket))
    assert answer == Answer(Get("small/1"), (bucket / "small/1").read_bytes())


def test_what_is_damaged_in_the_bucket_is_known_after_three_rounds(bucket, connect):
    with serve(bucket, always(SHORTER)) as server:
        gets = [Get("small/1")]
        [answer] = connect(server.url).read_many(gets, ends_as_any_of(bucket))
    assert (answer.problem.kind, answer.problem.detail) == (Kind.DAMAGED, "it has no end")
    assert not answer.data
    assert len(server.log) == 3
    (folder_answer,) = connect(str(bucket)).read_many([Get("big.bin")], ends_as_any_of(bucket))
    assert folder_answer.problem.kind is Kind.DAMAGED


def test_a_third_of_faults_loses_nothing_and_gives_nothing_wrong(bucket, connect):
    faults = tuple(fault for fault in PASSING if fault is not NO_RANGES)
    with serve(bucket, sometimes(0.33, faults), seed=4) as server:
        store = connect(server.url, connections=8)
        gets = (Get(key, start) for key in SMALL for start in (0, 1, 100))
        answers = list(store.read_many(gets, ends_as_any_of(bucket)))
    assert len(answers) == 3 * len(SMALL)
    wrong = [answer for answer in answers if answer.problem]
    assert len(wrong) <= 3  # 0.33 to the power of three rounds of lies about the length
    for get, data, problem in answers:
        assert problem or data == (bucket / get.key).read_bytes()[get.start :]


def test_a_body_that_goes_on_after_its_end_harms_no_other_file(bucket, connect):
    with serve(bucket, first(1, Fault(extra_body=100))) as server:
        store = connect(server.url, connections=2)
        for answer in store.read_many(map(Get, SMALL)):
            assert answer.data == (bucket / answer.get.key).read_bytes()


def test_a_server_that_is_gone_is_not_asked_for_every_file(connect):
    with port_without_server() as port:
        store = connect(f"http://127.0.0.1:{port}", connections=2)
        begin = time.monotonic()
        answers = list(store.read_many(Get(str(number)) for number in range(5000)))
        assert time.monotonic() - begin < 10
    assert len(answers) == 5000
    assert {answer.problem.kind for answer in answers} == {Kind.UNREACHABLE}


def test_the_cause_of_a_failed_connection_is_told_without_what_varies(connect):
    with port_without_server() as port:
        facts = set()
        for _ in range(2):
            with refused(Kind.UNREACHABLE) as caught:
                connect(f"http://127.0.0.1:{port}").read(Get("a"))
            facts.add(caught.value.detail)
    (fact,) = facts
    assert os.strerror(111) in fact


def test_a_stalled_file_is_given_up(bucket, connect):
    with serve(bucket, always(Fault(pause_seconds=30))) as server:
        options = {"client_options": {"timeout": "300ms"}, "retry_config": {"max_retries": 0}}
        with refused(Kind.UNREACHABLE):
            connect(server.url, **options).read(Get("small/1"))


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


def test_a_release_may_lie_half_in_a_folder_and_half_on_a_server(tmp_path):
    with serve(tmp_path) as server:
        source = open_source(str(tmp_path), server.url, Transfer())
    assert source.annotations.folder == tmp_path
    assert (source.images.folder, source.images.location) == (None, server.url)


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


def test_an_unsigned_bucket_follows_redirects_but_not_for_ever(bucket, connect):
    def moved(request, chance):
        is_there = request.path == "small/1"
        return None if is_there else Fault(301, headers=(("Location", "/small/1"),))

    with serve(bucket, moved) as server:
        data = (bucket / "small" / "1").read_bytes()
        store = connect(server.url)
        assert store.read(Get("old", 7, 90)) == data[7:90]
        assert b"".join(store.stream("old", 5)) == data[5:]
        server.faults = always(Fault(302, headers=(("Location", "/round"),)))
        with refused(Kind.UNREACHABLE):
            store.read(Get("small/1"))
        server.faults = always(Fault(302, headers=(("Location", "file:///etc/passwd"),)))
        with refused(Kind.UNREACHABLE):
            store.read(Get("small/1"))


# --- Servers that other people wrote ---


def gives_the_right_bytes(store, bucket):
    data = (bucket / "small" / "1").read_bytes()
    assert store.head("1") == Head(len(data), store.head("1").etag)
    assert store.read(Get("1", 5, 9, store.head("1").etag)) == data[5:9]
    answers = list(store.read_many(Get(str(number)) for number in range(40)))
    for answer in answers:
        assert answer.data == (bucket / "small" / answer.get.key).read_bytes(), answer
    assert len(answers) == 40
    with refused(Kind.ABSENT):
        store.read(Get("nope"))
    with refused(Kind.CHANGED):
        store.read(Get("1", 0, 9, '"another"'))


def test_nginx_gives_the_right_bytes(bucket, connect, tmp_path):
    with serve_by_nginx(bucket, tmp_path) as url:
        gives_the_right_bytes(connect(f"{url}/small"), bucket)


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


def test_a_bucket_of_s3_is_read_as_anybody_may_read_it(bucket, connect, monkeypatch):
    server_module = pytest.importorskip("moto.server")
    boto3 = pytest.importorskip("boto3")
    for name in ("AWS_ACCESS_KEY_ID", "AWS_SECRET_ACCESS_KEY"):
        monkeypatch.setenv(name, "none")
    server = server_module.ThreadedMotoServer("127.0.0.1", 0, verbose=False)
    server.start()
    try:
        url = "http://{}:{}".format(*server.get_host_and_port())
        client = boto3.client("s3", endpoint_url=url, region_name="us-east-1")
        client.create_bucket(Bucket="release", ACL="public-read")
        for path in (bucket / "small").iterdir():
            body = path.read_bytes()
            client.put_object(Bucket="release", Key=f"v5/{path.name}", Body=body, ACL="public-read")
        client.close()
        gives_the_right_bytes(connect("s3://release/v5", store={"endpoint": url}), bucket)
    finally:
        server.stop()
