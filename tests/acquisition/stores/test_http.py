import itertools

import pytest
from servers import Fault, always, serve

from oiv5_d2.acquisition.stores import FolderStore, Get, HttpStore, StoreError, Transfer

SMALL = [f"small/{number}" for number in range(40)]


@pytest.fixture
def served(bucket):
    with serve(bucket) as server:
        yield server


def test_a_server_gives_what_the_folder_gives(served, bucket, connect):
    store, folder = connect(served.url), FolderStore(bucket)
    assert store.read("big.bin") == folder.read("big.bin")
    assert store.read("empty") == b""
    assert store.head("big.bin") == folder.head("big.bin")
    for start, stop in [(0, 1), (0, 70_000), (2_000_000, 3_000_000), (5, 5)]:
        data = folder.read("big.bin", start, stop)
        assert store.read("big.bin", start, stop) == data
    for start in (0, 1, 2_999_999):
        assert b"".join(store.stream("big.bin", start)) == folder.read("big.bin")[start:]
    assert b"".join(store.stream("empty")) == b""
    assert list(store.stream("big.bin", 3_000_000)) == []


def test_an_etag_of_the_same_file_is_good_for_all_verbs(served, bucket, connect):
    store = connect(served.url)
    etag = store.head("small/1").etag
    data = (bucket / "small/1").read_bytes()
    assert store.read("small/1", 7, 9, etag) == data[7:9]
    assert b"".join(store.stream("small/1", 7, etag)) == data[7:]
    [answer] = store.read_many([Get("small/1", 0, None, etag)])
    assert (answer.data, answer.etag) == (data, etag)


def test_many_files_come_over_few_connections_which_are_used_again(served, bucket, connect):
    store = connect(served.url, connections=4)
    for _ in range(2):
        answers = list(store.read_many(map(Get, SMALL)))
        assert sorted(answer.get.key for answer in answers) == sorted(SMALL)
        for answer in answers:
            assert answer.data == (bucket / answer.get.key).read_bytes()
            assert (answer.error, answer.num_tries) == (None, 1)
    assert served.num_connections <= 4
    assert len(served.log) == 2 * len(SMALL)


def test_parts_and_whole_files_share_connections_without_harm(served, bucket, connect):
    store = connect(served.url, connections=2)
    gets = [Get(key, *part) for key in SMALL for part in [(), (3, 9), (0, 5), (4990, None)]]
    for answer in store.read_many(gets):
        data = (bucket / answer.get.key).read_bytes()
        assert answer.data == data[answer.get.start : answer.get.stop]
    assert dict(store.head_many(SMALL)) == dict(FolderStore(bucket).head_many(SMALL))
    assert store.read("small/0") == (bucket / "small/0").read_bytes()


def test_requests_are_drawn_only_as_far_as_there_is_room(served, connect):
    num_drawn = 0

    def endless():
        nonlocal num_drawn
        for key in itertools.cycle(SMALL):
            num_drawn += 1
            yield Get(key)

    answers = connect(served.url, connections=5).read_many(endless())
    for num_answered, _ in enumerate(itertools.islice(answers, 100), start=1):
        assert num_drawn <= num_answered + 2 * 5
    answers.close()
    assert num_drawn <= 110


def test_of_long_parts_few_are_under_way_at_a_time(tmp_path, connect):
    num_bytes = 20 << 20
    with (tmp_path / "long").open("wb") as file:
        file.truncate(num_bytes)
    with serve(tmp_path) as server:
        store = connect(server.url, connections=16)
        gets = [Get("long", 0, num_bytes)] * 10
        assert sum(len(answer.data) for answer in store.read_many(gets)) == 10 * num_bytes
    assert server.num_connections == 4


def test_a_store_lives_on_after_an_iterator_was_dropped(served, bucket, connect):
    store = connect(served.url)
    for _ in store.read_many(map(Get, SMALL)):
        break
    next(store.stream("big.bin"))
    assert store.read("small/3") == (bucket / "small/3").read_bytes()


def test_a_store_can_be_asked_while_an_iterator_is_under_way(served, bucket, connect):
    store = connect(served.url)
    for answer in store.read_many(map(Get, SMALL)):
        assert store.head(answer.get.key).num_bytes == len(answer.data)
    pieces = store.stream("big.bin")
    data = next(pieces) + store.read("small/3")
    assert len(data) + sum(map(len, pieces)) == 3_000_000 + 5003


def test_an_absent_file_is_told_and_not_asked_for_again(served, connect):
    store = connect(served.url)
    for ask in (
        store.read,
        store.head,
        lambda key: store.read(key, 5, 9),
        lambda key: list(store.stream(key)),
    ):
        with pytest.raises(FileNotFoundError, match="/nope: there is no such file"):
            ask("nope")
    assert [line.status for line in served.log] == [404] * 4
    answers = {answer.get.key: answer for answer in store.read_many(map(Get, ["nope", *SMALL]))}
    assert isinstance(answers.pop("nope").error, FileNotFoundError)
    assert all(answer.error is None for answer in answers.values())
    assert isinstance(dict(store.head_many(["nope", "empty"]))["nope"], FileNotFoundError)


def test_odd_names_are_quoted_and_none_leads_out_of_the_bucket(tmp_path, connect):
    (tmp_path / "in").mkdir()
    (tmp_path / "secret").write_text("no")
    for name in ("a b%20?#é.jpg", ".hidden"):
        (tmp_path / "in" / name).write_text(name)
    with serve(tmp_path) as server:
        store = connect(f"{server.url}/in/")
        for name in ("a b%20?#é.jpg", ".hidden"):
            assert store.read(name).decode() == name
        with pytest.raises(StoreError, match="the name leads out of the bucket: refused"):
            store.read("../secret")
        with pytest.raises(StoreError, match="the name leads out"):
            list(store.stream("../secret"))
    assert len(server.log) == 2


def test_bodies_in_chunks_are_taken_when_they_are_whole(bucket, connect):
    chunked = Fault(is_chunked=True)
    with serve(bucket, always(chunked)) as server:
        store = connect(server.url)
        assert store.read("small/1") == (bucket / "small/1").read_bytes()
        assert b"".join(store.stream("big.bin")) == (bucket / "big.bin").read_bytes()
        assert len(server.log) == 2
        server.faults = always(chunked._replace(headers=(("Connection", "close"),)))
        assert store.read("small/1") == (bucket / "small/1").read_bytes()
        server.faults = always(chunked._replace(num_bytes=1000))
        with pytest.raises(StoreError, match="cut short at 1000 bytes, 3 tries"):
            store.read("small/1")


@pytest.mark.parametrize(
    ("url", "message"),
    [
        ("ftp://host/bucket", "'ftp://host' is no address of a bucket: give "),
        ("http://host/b\u00fccket", "is no address of a bucket"),
        ("http://host/a b", "is no address of a bucket"),
        ("http:///bucket", "is no address of a bucket"),
        ("http://host:99999/", "is no address of a bucket"),
        ("http://host/bucket?list", "is no address of a bucket"),
        (
            "http://me:secret@host/bucket",
            "the address of http://host holds a user's name or password",
        ),
    ],
)
def test_an_address_that_is_none_is_refused_in_one_line(url, message):
    with pytest.raises(ValueError, match=message) as caught:
        HttpStore(url, Transfer())
    assert "\n" not in str(caught.value)
    assert "secret" not in str(caught.value)
