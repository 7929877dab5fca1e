"""How fast pictures come, against the ways that people used:  python tools/benchmark_fetch.py.

Everything is measured in one run, in turns, against one nginx on loopback: ratios can be compared
between machines, files a second can not. It is written to memory, so that the program is measured
and not the disk; `--to=/tmp` measures both. nginx has to be installed; wrk and the aws command are
measured where they are (`uv tool install awscli`).
"""

import argparse
import hashlib
import itertools
import os
import re
import shutil
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from pathlib import Path

from oiv5_d2.dataset.image_workers import fetch_images
from oiv5_d2.dataset.stores import Get, HttpStore, Transfer
from oiv5_d2.dataset.synthetic import write_release
from oiv5_d2.openimages import release
from oiv5_d2.openimages.files import write_whole

PORT = 8097
BUCKET = "open-images-dataset"
URL = f"http://127.0.0.1:{PORT}/{BUCKET}"
NUM_PROCESSES = len(os.sched_getaffinity(0))
NUM_THREADS = 20  # of the classic scripts
NUM_DRAWN = 48  # pictures that are drawn; the others are copies under other names
NGINX_CONF = """
{user}
worker_processes 1;
pid {dir}/nginx.pid;
error_log {dir}/error.log;
events {{ worker_connections 1024; }}
http {{
  access_log off; sendfile on; tcp_nopush on; keepalive_requests 10000000;
  client_body_temp_path {dir}/a; proxy_temp_path {dir}/b; fastcgi_temp_path {dir}/c;
  uwsgi_temp_path {dir}/d; scgi_temp_path {dir}/e;
  server {{ listen 127.0.0.1:{port}; root {dir}/www; }}
}}
"""
WRK_SCRIPT = """
local keys, at = {{}}, 0
for line in io.lines("{keys_path}") do keys[#keys + 1] = line end
request = function() at = at % #keys + 1; return wrk.format("GET", "/{bucket}/" .. keys[at]) end
"""


def main() -> None:
    """Measure and print."""
    arguments = read_arguments()
    if arguments.fetch_only:  # a process of its own, for its memory
        fetch(arguments.fetch_only.read_text().split(), arguments.to)
        print(peak_memory())
        return
    if not shutil.which("nginx"):
        sys.exit("error: nginx is not installed: apt install nginx-light")
    with tempfile.TemporaryDirectory(dir=arguments.to) as temporary:
        root = Path(temporary)
        keys = write_pictures(root, arguments.files * 10, arguments.size)
        some = keys[: arguments.files]
        num_bytes = sum((root / "www" / BUCKET / key).stat().st_size for key in some)
        print(f"{len(some):,} pictures of {num_bytes / len(some) / 1e3:.0f} kB on average")
        with serve(root):
            show_rates(root, some, num_bytes, arguments.rounds, arguments.aws_files)
            show_memory(root, some, keys)


def peak_memory() -> int:
    """Return the most memory that this process held, in kB."""
    status = Path("/proc/self/status").read_text()  # getrusage counts the parent's memory too
    return int(re.search(r"VmHWM:\s*(\d+) kB", status)[1])


def read_arguments() -> argparse.Namespace:
    """Return the command line's settings."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--files", type=int, default=2000, help="pictures a measurement")
    parser.add_argument("--size", type=int, nargs=2, default=(288, 384), help="height, width")
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--aws-files", type=int, default=40, help="pictures for the aws command")
    parser.add_argument(
        "--to", type=Path, default=Path("/dev/shm"), help="where to write; memory, if not said"
    )
    parser.add_argument("--fetch-only", type=Path, help=argparse.SUPPRESS)
    return parser.parse_args()


def write_pictures(root: Path, num_files: int, size: Sequence[int]) -> list[str]:
    """Draw some pictures and copy them under many names; return the keys."""
    height, width = size
    write_release(root / "drawn", {"train": NUM_DRAWN}, (height, width), 0, lambda _: None, 2)
    drawn = sorted((root / "drawn" / release.IMAGES_DIR / "train").iterdir())
    keys = []
    (root / "www" / BUCKET / "train").mkdir(parents=True)
    for number, path in zip(range(num_files), itertools.cycle(drawn), strict=False):
        key = f"train/{hashlib.sha256(str(number).encode()).hexdigest()[:16]}.jpg"
        os.link(path, root / "www" / BUCKET / key)
        keys.append(key)
    return keys


@contextmanager
def serve(root: Path) -> Iterator[None]:
    """Run nginx on a folder."""
    user = "user root;" if os.geteuid() == 0 else ""
    conf_path = root / "nginx.conf"
    conf_path.write_text(NGINX_CONF.format(dir=root, port=PORT, user=user))
    server = subprocess.Popen(["nginx", "-c", conf_path, "-g", "daemon off;"])
    try:
        time.sleep(0.5)
        yield
    finally:
        server.terminate()
        server.wait()


def show_rates(
    root: Path, keys: list[str], num_bytes: int, num_rounds: int, num_aws_files: int
) -> None:
    """Print files a second of each way, and ours against them."""
    ways: dict[str, Callable[[list[str], Path], int]] = {
        "ours: fetched, checked, written": fetch,
        "the same client, writing nothing": read,
        "hashing and writing, no network": hash_and_write,
        "boto3, 20 threads": fetch_with_boto3,
    }
    if shutil.which("wrk"):
        ways["wrk, writing nothing"] = load
    if shutil.which("aws"):
        ways["aws s3 cp, a process each, 20 at a time"] = fetch_with_aws
    rates: dict[str, list[float]] = {name: [] for name in ways}
    for number in range(num_rounds):
        for name, way in ways.items():
            some = keys[:num_aws_files] if way is fetch_with_aws else keys
            to_dir = root / f"to-{number}-{way.__name__}"
            to_dir.mkdir()
            begin = time.perf_counter()
            num_done = way(some, to_dir)
            rates[name].append(num_done / (time.perf_counter() - begin))
            shutil.rmtree(to_dir)
    ours = rates["ours: fetched, checked, written"]
    print(f"{'files/s, median':>58}  ours against it")
    for name, each in rates.items():
        ratio = statistics.median(a / b for a, b in zip(ours, each, strict=True))
        print(f"{name:42} {statistics.median(each):15,.0f}  {ratio:10.2f} x")
    mean = num_bytes / len(keys)
    limit = 1 / sum(1 / statistics.median(rates[name]) for name in list(ways)[1:3])
    rate = statistics.median(ours)
    print(
        f"ours: {rate * mean / 1e6:,.0f} MB/s, {rate / limit:.0%} of what one core can read, hash"
    )
    print("and write one after another")


def show_memory(root: Path, some: list[str], many: list[str]) -> None:
    """Print the peak of memory for some files and for ten times as many."""
    peaks = []
    for keys in (some, many):
        keys_path, to_dir = root / "keys.txt", root / "memory"
        keys_path.write_text("\n".join(keys))
        to_dir.mkdir()
        command = [sys.executable, __file__, "--fetch-only", keys_path, "--to", to_dir]
        done = subprocess.run(command, stdout=subprocess.PIPE, check=True, text=True)
        peaks.append(int(done.stdout) / 1024)
        shutil.rmtree(to_dir)
    print(
        f"peak memory: {peaks[0]:.0f} MB for {len(some):,} files, {peaks[1]:.0f} MB for"
        f" {len(many):,}: {peaks[1] / peaks[0]:.2f} x"
    )


def fetch(keys: list[str], to_dir: Path) -> int:
    """Fetch as ``prepare_data.py`` does."""
    store = HttpStore(URL, Transfer())
    outcomes = fetch_images(keys, store, to_dir, {}, False, lambda *news: None, NUM_PROCESSES)
    store.close()
    assert all(outcome.state == "present" for outcome in outcomes.values())
    return len(outcomes)


def read(keys: list[str], to_dir: Path) -> int:
    """Read and forget."""
    store = HttpStore(URL, Transfer())
    num_done = sum(answer.error is None for answer in store.read_many(map(Get, keys)))
    store.close()
    assert num_done == len(keys)
    return num_done


def hash_and_write(keys: list[str], to_dir: Path) -> int:
    """Do what is done with the bytes once they are there, and nothing else."""
    folder = to_dir.parent / "www" / BUCKET
    for key, data in [(Path(key).name, (folder / key).read_bytes()) for key in keys[:NUM_DRAWN]] * (
        len(keys) // NUM_DRAWN
    ):
        hashlib.sha256(data).hexdigest()
        write_whole(to_dir / key, data)
    return len(keys) // NUM_DRAWN * NUM_DRAWN


def load(keys: list[str], to_dir: Path) -> int:
    """Let wrk ask for three seconds."""
    keys_path, script_path = to_dir / "keys.txt", to_dir / "wrk.lua"
    keys_path.write_text("\n".join(keys))
    script_path.write_text(WRK_SCRIPT.format(keys_path=keys_path, bucket=BUCKET))
    command = ["wrk", "-t1", "-c32", "-d3s", "-s", script_path, f"http://127.0.0.1:{PORT}"]
    said = subprocess.run(command, stdout=subprocess.PIPE, check=True, text=True).stdout
    return int(said.split(" requests in ")[0].split()[-1])


def fetch_with_boto3(keys: list[str], to_dir: Path) -> int:
    """Fetch as the official downloader does: boto3 unsigned, in threads."""
    import boto3
    import botocore
    import botocore.config

    config = botocore.config.Config(
        signature_version=botocore.UNSIGNED,
        max_pool_connections=NUM_THREADS,
        s3={"addressing_style": "path"},
    )
    endpoint = f"http://127.0.0.1:{PORT}"
    client = boto3.client("s3", config=config, endpoint_url=endpoint, region_name="us-east-1")

    def fetch_one(key: str) -> None:
        path = to_dir / Path(key).name
        path.write_bytes(client.get_object(Bucket=BUCKET, Key=key)["Body"].read())

    with ThreadPoolExecutor(NUM_THREADS) as threads:
        return len(list(threads.map(fetch_one, keys)))


def fetch_with_aws(keys: list[str], to_dir: Path) -> int:
    """Fetch as the classic scripts do: one process a picture."""
    endpoint = ["--endpoint-url", f"http://127.0.0.1:{PORT}"]

    def fetch_one(key: str) -> None:
        words = ["aws", *endpoint, "s3", "cp", "--no-sign-request", f"s3://{BUCKET}/{key}", to_dir]
        subprocess.run(words, check=True, stdout=subprocess.DEVNULL)

    with ThreadPoolExecutor(NUM_THREADS) as threads:
        num_done = len(list(threads.map(fetch_one, keys)))
    assert len(list(to_dir.iterdir())) == num_done
    return num_done


if __name__ == "__main__":
    main()
