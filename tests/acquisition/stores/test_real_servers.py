"""Servers that other people wrote: nginx, and moto's S3."""

import pytest
from real_servers import serve_by_nginx

from oiv5_d2.acquisition.stores import ChangedError, Get, StoreError, Transfer, open_store


@pytest.fixture
def s3(bucket, monkeypatch):
    """Return the address of an S3 that has all of the bucket under ``release/v5``."""
    server_module = pytest.importorskip("moto.server")
    boto3 = pytest.importorskip("boto3")
    for name in ("AWS_ACCESS_KEY_ID", "AWS_SECRET_ACCESS_KEY"):
        monkeypatch.setenv(name, "none")
    server = server_module.ThreadedMotoServer("127.0.0.1", 0, verbose=False)
    server.start()
    host, port = server.get_host_and_port()
    client = boto3.client("s3", endpoint_url=f"http://{host}:{port}", region_name="us-east-1")
    client.create_bucket(Bucket="release", ACL="public-read")
    for path in bucket.rglob("*"):
        if path.is_file():
            key = f"v5/{path.relative_to(bucket)}"
            client.put_object(Bucket="release", Key=key, Body=path.read_bytes(), ACL="public-read")
    yield f"http://{host}:{port}"
    client.close()
    server.stop()


def check(store, bucket, keys):
    data = (bucket / "big.bin").read_bytes()
    head = store.head("big.bin")
    assert head.num_bytes == len(data)
    assert head.etag
    assert store.read("big.bin", 1_000_000, 1_000_010, head.etag) == data[1_000_000:1_000_010]
    assert b"".join(store.stream("big.bin", 5, head.etag)) == data[5:]
    assert store.read("empty") == b""
    gets = [Get(key, *part) for key in keys for part in [(), (0, 9), (5, 9), (4000, None)]]
    answers = list(store.read_many([*gets, Get("nope")]))
    assert len(answers) == len(gets) + 1
    for answer in answers:
        if answer.get.key == "nope":
            assert isinstance(answer.error, FileNotFoundError)
            continue
        whole = (bucket / answer.get.key).read_bytes()
        assert answer.data == whole[answer.get.start : answer.get.stop], answer
    with pytest.raises(ChangedError, match="another one than before"):
        store.read("big.bin", 0, 9, '"another"')
    with pytest.raises(StoreError, match="before 3000001"):
        store.read("big.bin", 2_999_999, 3_000_001)


def test_nginx_gives_the_right_bytes(bucket, connect, tmp_path):
    keys = [f"small/{number}" for number in range(40)]
    with serve_by_nginx(bucket, tmp_path) as url:
        check(connect(url, connections=4), bucket, keys)
    # Read once nginx has ended: a line is written after the answer that it tells of.
    assert len((tmp_path / "access").read_text().splitlines()) == 4 * len(keys) + 7


def test_an_s3_bucket_is_read_as_anybody_may_read_it(bucket, s3):
    transfer = Transfer(s3_endpoint=s3, tries=2, pause_seconds=0.01)
    store = open_store("s3://release/v5", transfer)
    check(store, bucket, [f"small/{number}" for number in range(5)])
    store.close()
