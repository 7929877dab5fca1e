"""The tool on a release that is served, by servers that keep to the rules and by others."""

import itertools
import random
import re
import shutil
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest
from forked import run_tool
from processes import wait_until
from real_servers import serve_by_nginx
from servers import Fault, port_without_server, serve, sometimes

from oiv5_d2.acquisition.buckets import Head
from oiv5_d2.acquisition.manifest import read_manifest
from oiv5_d2.acquisition.partial_zips import open_zip
from oiv5_d2.openimages import release
from oiv5_d2.synthetic import write_release

ROOT = Path(__file__).parents[2]
TOOL = ROOT / "tools" / "prepare_data.py"
BACKOFF = "backoff: {init_backoff: 10ms, max_backoff: 50ms}"
QUICK = ["transfer.retry_config={max_retries: 2, " + BACKOFF + "}", "workers=1"]
PATIENT = "transfer.retry_config={max_retries: 12, " + BACKOFF + "}"


def words_for(url, *words):
    where = ["data=folder", "data.name=folder", f"data.source={url}", "data.dir=data"]
    return [*where, "max_missing=0.5", *QUICK, *words]


def prepare_data(cwd, url, *words):
    """Run the tool to its end in a folder of its own."""
    return run_tool("prepare_data", *words_for(url, *words), cwd=cwd)


def made(data_dir):
    """Return what was made, by name; not the bookkeeping, nor where files came from and when."""
    skipped = {".stamps", "tables"}
    return {
        str(path.relative_to(data_dir)): content(path)
        for path in sorted(data_dir.rglob("*"))
        if path.is_file() and not skipped & set(path.parts)
    }


def content(path):
    if path.name != "manifest.csv":
        return path.read_bytes()
    return read_manifest(path).drop(columns=["Source", "Fetched"]).to_csv()


def images_asked_for(server):
    return [line.path for line in server.log if line.method == "GET" and line.path.endswith(".jpg")]


@pytest.fixture(scope="module")
def clean(tiny_release, tmp_path_factory):
    """The tiny release, prepared from its folder; not to be changed."""
    cwd = tmp_path_factory.mktemp("clean")
    done = prepare_data(cwd, tiny_release)
    assert done.returncode == 0, done.stderr
    return cwd / "data"


def test_a_served_release_gives_the_same_bytes_as_a_folder_and_is_fetched_once(
    clean, server, tmp_path
):
    done = prepare_data(tmp_path, server.url)
    assert done.returncode == 0, done.stderr
    assert made(tmp_path / "data") == made(clean)
    present = read_manifest(tmp_path / "data" / "manifest.csv").query("State == 'present'")
    assert present["Source"].str.startswith(server.url).all()
    assert len(set(images_asked_for(server))) == len(images_asked_for(server))
    num_asked = len(server.log)
    again = prepare_data(tmp_path, server.url)
    assert "Everything is done already" in again.stdout
    assert len(server.log) == num_asked
    assert not any(line.has_credentials for line in server.log)


def test_a_plan_asks_for_no_image_and_no_mask(server, tmp_path):
    done = prepare_data(tmp_path, server.url, "plan=true")
    assert done.returncode == 0, done.stderr
    assert images_asked_for(server) == []
    assert not (tmp_path / "data" / "images").exists()
    for said in ("To fetch", "at 100 Mbit/s", "at 1 Gbit/s", "needed", "free"):
        assert said in done.stdout
    lines = done.stdout.splitlines()
    assert all(sum(f" {split} " in line for line in lines) for split in release.SPLITS)
    # What it read of the tables serves the run that follows.
    num_before = len(server.log)
    prepare_data(tmp_path, server.url)
    later = server.log[num_before:]
    assert not [line for line in later if line.method == "GET" and line.path.endswith(".csv")]


def test_masks_of_rare_classes_cost_hardly_more_bytes_than_they_have(tmp_path, tmp_path_factory):
    root = tmp_path_factory.mktemp("larger") / "release"
    write_release(root, {"train": 60}, (192, 256), 0, lambda _: None)
    rare = ["data.classes=[Traffic light,Traffic sign]", "data.splits=[train]"]
    with serve(root) as server:
        done = prepare_data(tmp_path, server.url, *rare)
        assert done.returncode == 0, done.stderr
        came = sum(line.num_bytes for line in server.log if line.path.endswith(".zip"))
    rows = read_manifest(tmp_path / "data" / "manifest.csv").query("Kind == 'mask'")
    wanted = 0
    for digit, names in rows.groupby(rows["Path"].str[0])["Path"]:
        path = root / release.ANNOTATIONS_DIR / release.V5.mask_zip("train", digit).path
        zip_ = open_zip(path, Head(path.stat().st_size, ""), list(names))
        wanted += path.stat().st_size - zip_.archive.start_dir
        wanted += sum(entry.stop - entry.start for entry in zip_.entries.values())
        zip_.close()
    assert came <= 1.10 * wanted


def test_what_failed_is_asked_for_again_when_that_is_wanted(tiny_release, clean, tmp_path):
    locked = {"path": next(clean.glob("images/train/*.jpg")).name, "is_locked": True}

    def faults(request, chance):
        is_it = locked["is_locked"] and request.path.endswith(locked["path"])
        return Fault(403) if is_it else None

    with serve(tiny_release, faults) as server:
        done = prepare_data(tmp_path, server.url)
        assert done.returncode == 0, done.stderr
        rows = read_manifest(tmp_path / "data" / "manifest.csv").set_index("Path")
        assert rows.loc[locked["path"], "State"] == "failed"
        assert rows.loc[locked["path"], "Reason"] == "refused"
        assert "refused" in done.stdout and "retry_failed=true" in done.stdout
        locked["is_locked"] = False
        assert "Everything is done" in prepare_data(tmp_path, server.url).stdout
        num_before = len(server.log)
        done = prepare_data(tmp_path, server.url, "retry_failed=true")
        assert done.returncode == 0, done.stderr
        present = set(rows[rows["State"] == "present"].index)
        asked = {Path(line.path).name for line in server.log[num_before:]}
        assert locked["path"] in asked and not asked & present
    assert made(tmp_path / "data") == made(clean)


def test_a_server_that_is_not_there_is_named(tmp_path):
    with port_without_server() as port:
        done = prepare_data(tmp_path, f"http://127.0.0.1:{port}")
    assert done.returncode == 1
    line, _ = done.stderr.strip().splitlines()
    assert line.startswith(f"error: http://127.0.0.1:{port}/openimages/")
    assert {path.name for path in (tmp_path / "data").iterdir()} <= {".stamps", "tables"}


def test_ctrl_c_ends_it_in_one_line_and_what_came_stays(server, clean, tmp_path):
    num_images = itertools.count()

    def faults(request, chance):
        """Give three images and fall silent, so that the tool cannot end by itself."""
        is_image = request.path.endswith(".jpg") and request.method == "GET"
        is_held = is_image and next(num_images) >= 3
        return Fault(num_bytes=100, is_held=True) if is_held else None

    server.faults = faults
    command = [sys.executable, str(TOOL), *words_for(server.url)]
    # Whoever runs the tests in the background has Ctrl-C switched off, and so would the tool.
    process = subprocess.Popen(
        command, cwd=tmp_path, stderr=subprocess.PIPE, text=True, preexec_fn=listen_to_ctrl_c
    )
    try:
        wait_until(lambda: list((tmp_path / "data").glob("images/*/[!.]*")), process)
        process.send_signal(signal.SIGINT)
        said = process.communicate(timeout=60)[1]
    finally:
        process.kill()
    assert process.returncode == 130
    assert said.strip() == "stopped: the same command continues from here"
    server.faults = None
    assert prepare_data(tmp_path, server.url).returncode == 0
    assert made(tmp_path / "data") == made(clean)


def listen_to_ctrl_c():
    signal.signal(signal.SIGINT, signal.SIG_DFL)


def test_an_s3_bucket_serves_as_well(clean, tiny_release, tmp_path, monkeypatch):
    moto_server = pytest.importorskip("moto.server", reason="moto's S3 server is not installed")
    boto3 = pytest.importorskip("boto3")
    server = moto_server.ThreadedMotoServer(port=0, verbose=False)
    server.start()
    host, port = server.get_host_and_port()
    endpoint = f"http://{host}:{port}"
    try:
        keys = {"aws_access_key_id": "x", "aws_secret_access_key": "x"}
        client = boto3.client("s3", endpoint_url=endpoint, region_name="us-east-1", **keys)
        for bucket in (release.ANNOTATIONS_DIR, release.IMAGES_DIR):
            client.create_bucket(Bucket=bucket, ACL="public-read")
            for path in (tiny_release / bucket).rglob("*"):
                if path.is_file():
                    key = str(path.relative_to(tiny_release / bucket))
                    client.upload_file(str(path), bucket, key, {"ACL": "public-read"})
        buckets = ["data.annotations=s3://openimages", "data.images=s3://open-images-dataset"]
        done = prepare_data(tmp_path, "null", *buckets, f"+transfer.store.endpoint={endpoint}")
        assert done.returncode == 0, done.stderr
    finally:
        server.stop()
    assert made(tmp_path / "data") == made(clean)


def test_real_images_come_from_nginx_with_the_same_bytes_as_from_a_folder(street_mirror, tmp_path):
    for name in ("near", "far", "nginx"):
        (tmp_path / name).mkdir()
    assert prepare_data(tmp_path / "near", street_mirror).returncode == 0
    with serve_by_nginx(street_mirror, tmp_path / "nginx") as url:
        done = prepare_data(tmp_path / "far", url)
        assert done.returncode == 0, done.stderr
    assert made(tmp_path / "far" / "data") == made(tmp_path / "near" / "data")
    asked = (tmp_path / "nginx" / "access").read_text()
    rows = read_manifest(tmp_path / "far" / "data" / "manifest.csv").query("Kind == 'image'")
    wanted = {f"/{release.IMAGES_DIR}/{row.Split}/{row.Path}" for row in rows.itertuples()}
    images = re.findall('"GET ([^ ]*jpg) HTTP/1.1" 200', asked)
    assert sorted(images) == sorted(wanted)


@pytest.mark.slow
def test_ten_kills_under_a_server_that_errs_lose_nothing_and_fetch_nothing_twice(
    tmp_path, tmp_path_factory
):
    root = tmp_path_factory.mktemp("larger") / "release"
    write_release(root, {"train": 120, "validation": 30, "test": 30}, (96, 128), 0, lambda _: None)
    (tmp_path / "clean").mkdir()
    assert prepare_data(tmp_path / "clean", root).returncode == 0
    chance, num_killed = random.Random(0), 0
    with serve(root, sometimes(0.3), seed=3) as server:
        while num_killed < 10:
            limit = len(server.log) + chance.randrange(5, 120)
            num_killed += kill_when_asked(tmp_path, server, limit)
        done = prepare_data(tmp_path, server.url, PATIENT)
        assert done.returncode == 0, done.stderr
    assert made(tmp_path / "data") == made(tmp_path / "clean" / "data")
    assert not list((tmp_path / "data").rglob(".part-*"))


def kill_when_asked(cwd, server, num_requests):
    """Start the tool, kill it once the server was asked so often; nothing there is asked for."""
    data_dir = cwd / "data"
    there = {path.name for path in data_dir.glob("images/*/[!.]*")}
    num_before = len(server.log)
    command = [sys.executable, str(TOOL), *words_for(server.url, PATIENT)]
    process = subprocess.Popen(
        command, cwd=cwd, stdout=subprocess.DEVNULL, stderr=subprocess.PIPE, text=True
    )
    deadline = time.monotonic() + 300
    while process.poll() is None and len(server.log) < num_requests and time.monotonic() < deadline:
        time.sleep(0.001)
    was_running = process.poll() is None
    process.send_signal(signal.SIGKILL)
    said = process.communicate()[1]
    assert time.monotonic() < deadline, f"it neither ended nor asked {num_requests} times: {said}"
    assert process.returncode in (-signal.SIGKILL, 0), said
    later = {Path(line.path).name for line in server.log[num_before:] if line.method == "GET"}
    assert not later & there
    if not was_running:
        shutil.rmtree(data_dir)  # it came to its end: begin anew, to be killed again
    return was_running
