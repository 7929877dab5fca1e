"""What a store says and does when a server errs."""

import itertools
import random
import time
from email.utils import formatdate

import pytest
from servers import (
    BUSY,
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

from oiv5_d2.acquisition.stores import (
    ChangedError,
    DamagedError,
    Get,
    HttpStore,
    NoRangesError,
    StoreError,
    Transfer,
    UnreachableError,
)

SMALL = [f"small/{number}" for number in range(40)]
INTERIM = Fault(garbage=b"HTTP/1.1 103 Early Hints\r\nLink: </a>\r\n\r\n")


@pytest.mark.parametrize(
    ("fault", "message", "num_asked"),
    [
        (Fault(403), "the server says 403 Forbidden", 1),
        (Fault(401), "the server says 401 Unauthorized", 1),
        (Fault(501), "the server says 501 Not Implemented", 1),
        (Fault(299), "the server says 299, not 200, 3 tries", 3),
        (Fault(304), "the server says 304 Not Modified", 1),
        (Fault(429), "the server says 429 Too Many Requests, 3 tries", 3),
        (Fault(500), "the server says 500 Internal Server Error, 3 tries", 3),
        (OVERLOADED, "the server says 503 Service Unavailable, 3 tries", 3),
        (Fault(599), "the server says 599, 3 tries", 3),
        (RESET, "(cut short at [0-9]+ of 5001 bytes|was cut before an answer), 3 tries", 3),
        (CUT, "cut short at 1000 of 5001 bytes, 3 tries", 3),
        (NO_ANSWER, "the connection was cut before an answer, 3 tries", 3),
        (LONGER, "cut short at 5001 of 5008 bytes, 3 tries", 3),
        (Fault(garbage=b"hello\r\n\r\n"), "the server does not speak HTTP, 3 tries", 3),
        (Fault(is_unframed=True), "the server does not say how long the file is", 2),
    ],
)
def test_a_whole_file_is_refused_with_the_reason(bucket, connect, fault, message, num_asked):
    with serve(bucket, always(fault)) as server:
        store = connect(server.url)
        with pytest.raises(StoreError, match=f"^(the connection )?{message}$"):
            store.read("small/1")
    assert len(server.log) == num_asked


def test_a_whole_file_that_comes_too_slowly_is_refused(bucket, connect):
    with serve(bucket, always(Fault(pause_seconds=0.05))) as server:
        store = connect(server.url, request_seconds=1.0, tries=2)
        with pytest.raises(StoreError, match=r"^not whole within 1 s, 2 tries$"):
            store.read("small/1")


@pytest.mark.parametrize(
    ("fault", "message", "num_asked"),
    [
        (Fault(403), "the server says 403 Forbidden", 1),
        (CUT, "cut short at 1000 of 3000 bytes, 3 tries", 3),
        (LONGER, "cut short at 3000 of 3007 bytes, 3 tries", 3),
        (SHORTER, "the server sends 2993 bytes in place of 3000, 3 tries", 3),
        (NO_RANGES, "the server ignores ranges, 3 tries", 3),
        (WRONG_PART, "the server sends bytes 11-3010, not the wanted ones, 3 tries", 3),
        (Fault(etag="other"), "the file is another one than before", 1),
        (
            Fault(headers=(("Content-Range", "bytes 10"),)),
            r"the server sends a part without its place \('bytes 10'\), 3 tries",
            3,
        ),
    ],
)
def test_a_part_is_refused_with_the_reason(bucket, connect, fault, message, num_asked):
    with serve(bucket) as server:
        store = connect(server.url)
        etag = store.head("small/1").etag
        server.log.clear()
        server.faults = always(fault)
        with pytest.raises(StoreError, match=f"^{message}$") as caught:
            store.read("small/1", 10, 3010, etag)
    assert isinstance(caught.value, ChangedError) == bool(fault.etag)
    assert len(server.log) == num_asked


def test_a_server_without_ranges_gives_the_beginning_of_a_file_that_is_not_much_longer(
    bucket, connect
):
    with serve(bucket, always(NO_RANGES)) as server:
        store = connect(server.url)
        assert store.read("small/1", 0, 9) == (bucket / "small/1").read_bytes()[:9]
        with pytest.raises(StoreError, match="the server ignores ranges, 3 tries"):
            store.read("big.bin", 0, 9)
        with pytest.raises(StoreError, match="the file ends at byte 5001, before 6000"):
            store.read("small/1", 0, 6000)


def test_a_part_that_is_sent_as_if_it_were_all_will_do_if_its_place_is_told(bucket, connect):
    data = (bucket / "big.bin").read_bytes()
    chance = random.Random(0)

    def cut_at_first(request, _):
        return Fault(
            part_status=200, num_bytes=chance.randrange(900_000) if chance.random() < 0.5 else None
        )

    with serve(bucket, always(Fault(part_status=200))) as server:
        store = connect(server.url)
        assert store.read("big.bin", 2_000_000, 2_000_010) == data[2_000_000:2_000_010]
        server.faults = cut_at_first
        assert b"".join(store.stream("big.bin", 7)) == data[7:]
    with serve(bucket, always(WRONG_PART._replace(part_status=200))) as server:
        with pytest.raises(StoreError, match="not the wanted ones"):
            connect(server.url).read("big.bin", 5, 9)


def test_a_server_that_gave_parts_before_may_ignore_ranges_for_a_while(bucket, connect):
    data = (bucket / "small/1").read_bytes()
    with serve(bucket, first(5, NO_RANGES)) as server:
        with pytest.raises(NoRangesError, match="ignores ranges, 3 tries"):
            connect(server.url, tries=9).read("small/1", 5, 9)
    with serve(bucket) as server:
        store = connect(server.url, tries=9)
        store.read("small/2", 5, 9)
        server.faults = first(5, NO_RANGES)
        assert store.read("small/1", 5, 9) == data[5:9]
        server.faults = first(14, NO_RANGES)
        assert b"".join(store.stream("small/1", 9)) == data[9:]


def test_a_server_without_ranges_is_found_out_once(bucket, connect):
    with serve(bucket, always(NO_RANGES)) as server:
        store = connect(server.url)
        with pytest.raises(NoRangesError, match=r"ignores ranges, 3 tries$"):
            store.read("small/1", 5, 9)
        with pytest.raises(NoRangesError, match=r"ignores ranges$"):
            store.read("small/2", 5, 9)
        assert len(server.log) == 3 + 1
        server.faults = None
        store.read("small/3", 5, 9)  # it has ranges after all
        server.faults = first(2, NO_RANGES)
        assert len(store.read("small/4", 5, 9)) == 4


def test_a_long_file_is_not_fetched_because_a_range_was_ignored(tmp_path, connect):
    """It is refused at its headers: little more than what fits into the network's buffers comes."""
    with (tmp_path / "long").open("wb") as file:
        file.truncate(200_000_000)
    with serve(tmp_path, always(NO_RANGES)) as server:
        with pytest.raises(StoreError, match="the server ignores ranges, 3 tries"):
            connect(server.url).read("long", 100, 200)
    assert sum(line.num_bytes for line in server.log) < 50_000_000


@pytest.mark.parametrize("is_chunked", [False, True])
def test_a_body_that_is_too_long_is_refused_while_it_arrives(tmp_path, connect, is_chunked):
    with (tmp_path / "long").open("wb") as file:
        file.truncate(100_000_000)
    with serve(tmp_path, always(Fault(is_chunked=is_chunked))) as server:
        store = connect(server.url, max_file_bytes=1_000_000)
        with pytest.raises(StoreError, match=r"longer than transfer.max_file_bytes allows$"):
            store.read("long")
    assert [line.num_bytes < 50_000_000 for line in server.log] == [True]


@pytest.mark.parametrize(
    ("fault", "stop", "message"),
    [
        (Fault(ignores_range=True, is_chunked=True), 6000,
         "the file ends at byte 5001, before 6000"),
        (Fault(ignores_range=True, is_unframed=True, num_bytes=1000), 3000,
         "cut short at 1000 bytes, 3 tries"),
    ],
)  # fmt: skip
def test_a_beginning_without_a_length_is_never_too_short(bucket, connect, fault, stop, message):
    with serve(bucket, always(fault)) as server:
        with pytest.raises(StoreError, match=f"^{message}$"):
            connect(server.url).read("small/1", 0, stop)
        data = (bucket / "small/1").read_bytes()
        assert connect(server.url).read("small/1", 0, 900) == data[:900]


def test_bytes_past_the_end_are_told(bucket, connect):
    with serve(bucket) as server:
        store = connect(server.url)
        for start, stop in [(4000, 6000), (0, 6000), (5002, 6000), (9000, 9001)]:
            with pytest.raises(StoreError, match=f"the file ends at byte 5001, before {stop}$"):
                store.read("small/1", start, stop)
        with pytest.raises(ChangedError):
            store.read("small/1", 9000, 9001, store.head("small/1").etag)
    assert len(server.log) == 6


def test_a_body_that_goes_on_after_its_end_harms_no_other_file(bucket, connect):
    with serve(bucket, first(1, Fault(extra_body=100))) as server:
        store = connect(server.url, connections=2, tries=30)
        for answer in store.read_many(map(Get, SMALL)):
            assert answer.data == (bucket / answer.get.key).read_bytes()


@pytest.mark.parametrize("fault", PASSING)
def test_what_passes_is_tried_again(bucket, connect, fault):
    data = (bucket / "small/1").read_bytes()
    with serve(bucket, first(2, fault)) as server:
        store = connect(server.url)
        [answer] = store.read_many([Get("small/1", 10, 3010)])
        assert (answer.data, answer.error, answer.num_tries) == (data[10:3010], None, 3)


def ends_as_any_of(bucket):
    """Return a check by which a file is known that a server announced as shorter than it is."""
    ends = {(bucket / key).read_bytes()[-9:] for key in SMALL}

    def check(data):
        if data[-9:] not in ends:
            raise ValueError("it has no end")

    return check


def test_what_came_damaged_is_asked_for_again(bucket, connect):
    with serve(bucket, first(2, SHORTER)) as server:
        [answer] = connect(server.url).read_many([Get("small/1")], ends_as_any_of(bucket))
    assert (answer.error, answer.num_tries) == (None, 3)
    assert answer.data == (bucket / "small/1").read_bytes()


def test_what_is_damaged_in_the_store_is_told_after_some_tries(bucket, connect):
    with serve(bucket, always(SHORTER)) as server:
        store = connect(server.url, tries=9)
        [answer] = store.read_many([Get("small/1")], ends_as_any_of(bucket))
    assert isinstance(answer.error, DamagedError) and not answer.data
    assert str(answer.error) == "it has no end, 4 tries"
    assert len(server.log) == 4


def test_a_head_is_tried_again_and_needs_a_length(bucket, connect):
    with serve(bucket, first(2, OVERLOADED)) as server:
        assert connect(server.url).head("small/1").num_bytes == 5001
        server.faults = always(Fault(403))
        with pytest.raises(StoreError, match=r"^the server says 403 Forbidden$"):
            connect(server.url).head("small/1")
        server.faults = always(Fault(is_unframed=True))
        with pytest.raises(StoreError, match="does not say how long the file is"):
            connect(server.url).head("small/1")


@pytest.mark.parametrize("wish", ["1", "date"])
def test_a_server_is_asked_again_when_it_says_so_and_others_go_on_meanwhile(bucket, connect, wish):
    """The first file is refused until all others were asked for."""
    times, others = [], set()

    def only_one(request, chance):
        if request.path != "small/0":
            others.add(request.path)
            return None
        times.append(time.monotonic())
        later = formatdate(time.time() + 2, usegmt=True) if wish == "date" else wish
        is_free = len(others) == len(SMALL) - 1
        return None if is_free else Fault(429, headers=(("Retry-After", later),))

    with serve(bucket, only_one) as server:
        store = connect(server.url, connections=2, tries=9)
        answers = list(store.read_many(map(Get, SMALL)))
    assert len(answers) == len(SMALL)
    assert [answer.error for answer in answers] == [None] * len(SMALL)
    assert len(times) > 1
    assert all(after - before > 0.9 for before, after in itertools.pairwise(times))


def test_what_is_tried_again_is_told_to_whoever_watches(bucket):
    transfer = Transfer(pause_seconds=0.01)
    with serve(bucket, first(2, OVERLOADED)) as server:
        store = HttpStore(server.url, transfer, seed=0)
        assert str(transfer.trouble) == ""
        store.read("small/0")
        assert (
            str(transfer.trouble)
            == "2 tries again, the last: the server says 503 Service Unavailable"
        )
        server.faults = always(Fault(404))
        with pytest.raises(FileNotFoundError):
            store.read("small/1")
        assert transfer.trouble.num_retries == 2  # what is final is none
        store.close()


def test_a_stream_without_etags_does_not_go_on_in_another_file(bucket, connect):
    def changes(request, chance):
        return dated(MAY) if request.num_before else dated(JANUARY, num_bytes=300_000)

    with serve(bucket, changes) as server:
        with pytest.raises(ChangedError, match=r"^the file is another one than before$"):
            list(connect(server.url).stream("big.bin"))


def test_a_stream_goes_on_where_it_was_cut(bucket, connect):
    chance = random.Random(1)

    def cut_somewhere(request, _):
        if request.num_before > 6:
            return None
        return Fault(num_bytes=chance.randrange(600_000), is_reset=chance.random() < 0.5)

    with serve(bucket, cut_somewhere) as server:
        store = connect(server.url, tries=8)
        assert b"".join(store.stream("big.bin", 17)) == (bucket / "big.bin").read_bytes()[17:]
    assert len(server.log) > 3
    starts = [int(line.range.removeprefix("bytes=").rstrip("-")) for line in server.log]
    assert starts == sorted(starts)


def test_a_stream_that_gets_on_may_be_cut_often_one_that_does_not_may_not(bucket, connect):
    with serve(bucket, always(Fault(num_bytes=300_000))) as server:
        store = connect(server.url, tries=2)
        assert b"".join(store.stream("big.bin")) == (bucket / "big.bin").read_bytes()
        assert len(server.log) == 10
        server.faults = always(Fault(num_bytes=100))
        with pytest.raises(StoreError, match="cut short at 100 of 2999900 bytes, 2 tries"):
            list(store.stream("big.bin"))


@pytest.mark.parametrize(
    ("fault", "error", "message"),
    [
        (Fault(403), StoreError, "^the server says 403 Forbidden$"),
        (Fault(404), FileNotFoundError, "there is no such file"),
        (OVERLOADED, StoreError, "503 Service Unavailable, 3 tries"),
        (NO_RANGES, StoreError, "the server ignores ranges, 3 tries"),
        (Fault(etag="other"), ChangedError, "^the file is another one than before$"),
        (Fault(pause_seconds=30), StoreError, "stalled at 0 bytes, 3 tries"),
    ],
)
def test_a_stream_that_can_not_go_on_says_why(bucket, connect, fault, error, message):
    with serve(bucket, always(Fault(num_bytes=500_000))) as server:
        stalled_seconds = 1.0 if fault.pause_seconds else 20.0
        store = connect(server.url, tries=3, stalled_seconds=stalled_seconds)
        pieces = store.stream("big.bin")
        next(pieces)
        server.faults = always(fault)
        with pytest.raises(error, match=message):
            list(pieces)


def test_a_file_that_changes_its_length_on_the_way_is_told_without_an_etag(tmp_path, connect):
    (tmp_path / "file").write_bytes(bytes(1_000_000))
    with serve(tmp_path, always(Fault(num_bytes=300_000, headers=(("ETag", ""),)))) as server:
        pieces = connect(server.url).stream("file")
        next(pieces)
        with (tmp_path / "file").open("ab") as file:
            file.write(b"more")
        with pytest.raises(ChangedError, match="another one than before"):
            list(pieces)


def test_a_server_that_has_other_etags_by_now_has_other_files(bucket, connect):
    with serve(bucket) as server:
        etag = connect(server.url).head("small/1").etag
        server.etag_salt = "-2"
        refuses_another_file(connect(server.url), etag)


def refuses_another_file(store, etag):
    """See that neither a part nor a stream of what became another file is given."""
    for ask in (
        lambda: store.read("small/1", 7, 900, etag),
        lambda: list(store.stream("small/1", 7, etag)),
    ):
        with pytest.raises(ChangedError, match=r"^the file is another one than before$"):
            ask()


def test_an_etag_is_compared_where_the_server_does_not(bucket, connect):
    """A weak one can not be asked for, and a server may not know how to be asked."""
    weak = Fault(headers=(("ETag", 'W/"2"'),))
    with serve(bucket, always(weak)) as server:
        store = connect(server.url)
        assert store.read("small/1", 0, 9, 'W/"2"')
        with pytest.raises(ChangedError):
            store.read("small/1", 0, 9, 'W/"1"')


JANUARY, MAY = "Mon, 01 Jan 2024 00:00:00 GMT", "Wed, 01 May 2024 00:00:00 GMT"


def dated(date, **others):
    """Return how a server answers that gives no ETags."""
    return Fault(headers=(("ETag", ""), ("Last-Modified", date)), **others)


def test_without_etags_the_time_of_change_tells_another_file(bucket, connect):
    with serve(bucket, always(dated(JANUARY))) as server:
        store = connect(server.url)
        assert store.head("small/1").etag == JANUARY
        data = store.read("small/1", 7, 900, JANUARY)
        assert data == (bucket / "small/1").read_bytes()[7:900]
        server.faults = always(dated(MAY))
        refuses_another_file(store, JANUARY)


def test_the_time_of_change_is_asked_for_where_there_is_no_etag(bucket, connect):
    asked = []

    def note(request, chance):
        asked.append((request.headers.get("if-unmodified-since"), request.headers.get("if-match")))
        return dated(JANUARY)

    with serve(bucket, note) as server:
        connect(server.url).read("small/1", 7, 900, JANUARY)
        with pytest.raises(ChangedError):
            connect(server.url).read("small/1", 7, 900, '"an etag"')
    assert asked == [(JANUARY, None), (None, '"an etag"')]


def test_a_stalled_file_is_given_up(bucket, connect):
    with serve(bucket, always(Fault(pause_seconds=30))) as server:
        with pytest.raises(StoreError, match=r"^stalled at 0 bytes$"):
            connect(server.url, tries=1, stalled_seconds=1.0).read("small/1")


def test_a_server_that_is_gone_fails_what_is_left_at_once(connect):
    num_drawn = 0

    def many():
        nonlocal num_drawn
        for num_drawn in range(1000):
            yield Get(str(num_drawn))

    with port_without_server() as port:
        store = connect(f"http://127.0.0.1:{port}", connections=2)
        answers = list(store.read_many(many()))
        with pytest.raises(StoreError, match=r"^the server can not be reached, 3 tries$"):
            list(store.stream("a"))
    assert len(answers) == 1000
    assert {str(answer.error) for answer in answers} == {"the server can not be reached, 3 tries"}
    assert sum(answer.num_tries for answer in answers) < 20


def test_a_server_that_is_serving_one_request_is_not_gone_for_the_others(bucket, connect):
    slow = Fault(pause_seconds=0.0002)  # after each byte

    def only_one(request, chance):
        return slow if request.path == "small/0" else NO_ANSWER

    with serve(bucket, only_one) as server:
        store = connect(server.url, tries=2, connections=4, stalled_seconds=30.0)
        errors = {answer.get.key: answer.error for answer in store.read_many(map(Get, SMALL))}
        assert errors.pop("small/0") is None
        assert {str(error) for error in errors.values()} == {
            "the connection was cut before an answer, 2 tries"
        }
        assert len(server.log) == 1 + 2 * len(errors)


def test_an_interim_reply_before_a_cut_is_no_answer(bucket, connect):
    with serve(bucket, first(1, INTERIM)) as server:
        assert len(connect(server.url).read("small/1")) == 5001


@pytest.mark.parametrize(
    ("fault", "is_answer"),
    [(NO_ANSWER, False), (INTERIM, False), (Fault(403), True), (OVERLOADED, True), (CUT, True)],
)
def test_a_refusal_is_an_answer_and_silence_is_none(bucket, connect, fault, is_answer):
    with serve(bucket, always(fault)) as server, pytest.raises(StoreError) as caught:
        connect(server.url).read("small/1")
    assert isinstance(caught.value, UnreachableError) != is_answer


def test_a_host_that_is_not_known_is_told(connect):
    # One letter longer than a name's part may be: no network is asked, and none can answer.
    host = "n" * 64 + ".invalid"
    with pytest.raises(StoreError, match=r"^the server's name is not known, 2 tries$"):
        connect(f"http://{host}/bucket", tries=2).read("a")


def test_after_the_deadline_everything_fails_at_once(bucket, connect):
    with serve(bucket, always(Fault(pause_seconds=30))) as server:
        store = connect(server.url, deadline_seconds=0.3, connections=2)
        begin = time.monotonic()
        answers = list(store.read_many(map(Get, SMALL)))
        with pytest.raises(StoreError, match=r"^the deadline of 0\.3 s passed$"):
            list(store.stream("big.bin"))
        with pytest.raises(StoreError, match="the deadline"):
            store.head("big.bin")
        assert time.monotonic() - begin < 10.0
    assert {str(answer.error) for answer in answers} == {"the deadline of 0.3 s passed"}
    assert sorted(answer.get.key for answer in answers) == sorted(SMALL)


def test_a_stream_that_flows_ends_at_the_deadline_too(bucket, connect):
    with serve(bucket) as server:
        store = connect(server.url, deadline_seconds=1.0, max_bytes_per_second=500_000)
        arrived = 0
        with pytest.raises(StoreError, match=r"^the deadline of 1 s passed$"):
            for piece in store.stream("big.bin"):
                arrived += len(piece)
        assert 0 < arrived < 3_000_000


def test_the_deadline_ends_the_pauses_too(bucket, connect):
    with serve(bucket, always(Fault(503, headers=(("Retry-After", "100"),)))) as server:
        begin = time.monotonic()
        for ask in (lambda store: store.read("empty"), lambda store: list(store.stream("empty"))):
            with pytest.raises(StoreError, match=r"the deadline of 0.2 s passed"):
                ask(connect(server.url, deadline_seconds=0.2))
        assert time.monotonic() - begin < 10.0


def test_a_third_of_faults_loses_nothing_and_brings_nothing_wrong(bucket, connect):
    with serve(bucket, sometimes(0.33), seed=4) as server:
        store = connect(server.url, tries=12, connections=8)
        gets = (Get(key, start) for key in SMALL for start in (0, 1, 100))
        answers = list(store.read_many(gets, ends_as_any_of(bucket)))
        assert len(answers) == 3 * len(SMALL)
        for answer in answers:
            assert answer.error is None
            assert answer.data == (bucket / answer.get.key).read_bytes()[answer.get.start :]
        # What ends where an answer said is a stream's end: `Download` knows how long it has to be.
        server.faults = sometimes(0.33, tuple(fault for fault in PASSING if fault is not SHORTER))
        assert b"".join(store.stream("big.bin")) == (bucket / "big.bin").read_bytes()
    assert BUSY.status in {line.status for line in server.log}
