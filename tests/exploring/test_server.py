import io
import json
import shutil
import socket
import threading
from contextlib import closing
from http.client import HTTPConnection

import numpy as np
import pytest
from PIL import Image

from oiv5_d2.conversion.packing import find_shards, pack
from oiv5_d2.exploring.album import open_album
from oiv5_d2.exploring.page import render
from oiv5_d2.exploring.server import HOST, Site, open_server
from oiv5_d2.exploring.sources import find_parts
from oiv5_d2.jobs import unseen


@pytest.fixture(scope="module")
def server(album):
    with open_server(Site(album, render(album)), 0) as server:
        thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.01})
        thread.start()
        yield server
        server.shutdown()
        thread.join()


def ask(server, path, method="GET", host=None):
    with closing(HTTPConnection(HOST, server.server_address[1], timeout=10)) as connection:
        headers = {} if host is None else {"Host": host}
        connection.request(method, path, headers=headers)
        response = connection.getresponse()
        return response, response.read()


def test_the_page_may_ask_nobody_else(server):
    response, body = ask(server, "/")
    assert response.status == 200 and b"<title>blocks</title>" in body
    policy = response.headers["Content-Security-Policy"]
    assert "default-src 'none'" in policy and "connect-src 'self'" in policy
    assert response.headers["Cross-Origin-Resource-Policy"] == "same-origin"


def test_searches_and_annotations_are_json(server):
    response, body = ask(server, "/search?q=woman")
    assert response.headers["Content-Type"] == "application/json"
    assert [one["number"] for one in json.loads(body)["images"]] == [0]
    about = json.loads(ask(server, "/annotations/2?large")[1])
    assert about["layers"]["truth"][0]["reason"] == "group of"


@pytest.mark.parametrize("place", ["images", "thumbnails"])
def test_images_are_sent_by_number(server, place):
    response, body = ask(server, f"/{place}/1")
    assert response.headers["Content-Type"] == "image/jpeg"
    with Image.open(io.BytesIO(body)) as image:
        assert image.size == (80, 60)
        assert abs(np.asarray(image).mean() - 80) < 2


@pytest.mark.parametrize(
    "path",
    [
        "/images/5",
        "/images/-1",
        "/images/../coco/train.json",
        "/images/%2e%2e/%2e%2e/etc/passwd",
        "/thumbnails/train/0000000000000000.jpg",
        "//etc/passwd",
        "/audit.json",
        "/annotations/",
        "/annotations/" + "9" * 5000,
    ],
)
def test_nothing_else_is_there(server, path):
    response, body = ask(server, path)
    assert response.status == 404 and "error" in json.loads(body)


def test_a_query_without_meaning_says_why(server):
    response, body = ask(server, "/search?size=many")
    assert response.status == 400 and "many" in json.loads(body)["error"]


@pytest.mark.parametrize(
    ("host", "status"),
    [("evil.example:8000", 403), ("127.0.0.1.evil.example", 403), ("", 403), ("localhost", 200)],
)
def test_only_this_machine_is_served_by_its_own_name(server, host, status):
    response, body = ask(server, "/search", host=host)
    assert response.status == status
    assert (b"images" in body) == (status == 200)


@pytest.mark.parametrize(("method", "status"), [("HEAD", 200), ("POST", 501), ("PUT", 501)])
def test_nothing_can_be_written(server, method, status):
    assert ask(server, "/", method)[0].status == status


def test_an_image_that_is_gone_or_none_is_not_found(album, blocks):
    site = Site(album, "")
    path = blocks.data_dir / "images" / "train" / "3333333333333333.jpg"
    kept = path.read_bytes()
    try:
        path.write_text("root:x:0:0")
        assert site.answer("/images/3").status == site.answer("/thumbnails/3").status == 404
        path.unlink()
        assert site.answer("/images/3").status == site.answer("/thumbnails/3").status == 404
    finally:
        path.write_bytes(kept)


def test_a_port_in_use_gives_the_next_one(album):
    site = Site(album, "")
    with socket.socket() as taken:
        taken.bind((HOST, 0))
        taken.listen()
        port = taken.getsockname()[1]
        with open_server(site, port) as server:
            assert port < server.server_address[1] < port + 50
            assert server.url == f"http://127.0.0.1:{server.server_address[1]}/"


def test_packed_images_are_shown_without_their_files_and_damaged_ones_are_not(
    album, blocks, tmp_path
):
    shutil.copytree(blocks.data_dir / "coco", tmp_path / "blocks/coco")
    path = tmp_path / "blocks/coco/train.json"
    pack(path, blocks.data_dir / "images", 1)
    datasets = find_parts("blocks", tmp_path / "blocks", ["train"])
    packed = Site(open_album("blocks", datasets, [], tmp_path / "cache", unseen), "")
    loose = Site(album, "")
    for place in ("/images/0", "/thumbnails/3"):
        assert packed.answer(place) == loose.answer(place)
    shard = find_shards(path)[2]
    shard.write_bytes(shard.read_bytes().replace(b"\xff\xd8", b"\xff\xd9"))
    assert packed.answer("/images/2").status == 404
