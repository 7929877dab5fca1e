import itertools
import os
import time

import pytest
from raising import refused
from real_servers import serve_by_nginx
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
    Get,
    Head,
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
    for start, stop in [(0, 1), (0, 70_000), (2_000_000, 3_000_000)]:
        assert any_bucket.read(Get("big.bin", start, stop, head.etag)) == data[start:stop]
    for start in (0, 1, 2_999_999):
        assert b"".join(any_bucket.stream(Get("big.bin", start, None, head.etag))) == data[start:]
    assert b"".join(any_bucket.stream(Get("empty"))) == b""
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
        lambda key: list(any_bucket.stream(Get(key))),
    ):
        with refused(Kind.ABSENT, about=f"{any_bucket.location}/nope"):
            ask("nope")
    for ask in (
        lambda: any_bucket.read(Get("small/1", 7, 900, '"another"')),
        lambda: list(any_bucket.stream(Get("small/1", 7, None, '"another"'))),
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
        pieces = store.stream(Get("big.bin"))
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


def test_what_is_damaged_in_the_bucket_is_known_after_some_rounds(bucket, connect):
    with serve(bucket, always(SHORTER)) as server:
        gets = [Get("small/1")]
        [answer] = connect(server.url).read_many(gets, ends_as_any_of(bucket))
    assert (answer.problem.kind, answer.problem.detail) == (Kind.DAMAGED, "it has no end")
    assert not answer.data
    assert len(server.log) == 5
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


def test_an_unsigned_bucket_follows_redirects_but_not_for_ever(bucket, connect):
    def moved(request, chance):
        is_there = request.path == "small/1"
        return None if is_there else Fault(301, headers=(("Location", "/small/1"),))

    with serve(bucket, moved) as server:
        data = (bucket / "small" / "1").read_bytes()
        store = connect(server.url)
        assert store.read(Get("old", 7, 90)) == data[7:90]
        assert b"".join(store.stream(Get("old", 5))) == data[5:]
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


def test_a_pipe_in_a_folder_is_refused_not_waited_for(connect, tmp_path):
    os.mkfifo(tmp_path / "pipe.jpg")
    with refused(Kind.ABSENT, about=tmp_path / "pipe.jpg"):
        connect(str(tmp_path)).read(Get("pipe.jpg"))
