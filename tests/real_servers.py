"""Servers on loopback that other people wrote, where they are installed."""

import shutil
import socket
import subprocess
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

NGINX = Path("/usr/sbin/nginx")
NGINX_CONFIG = """
daemon off; master_process off; pid {folder}/pid; error_log {folder}/errors;
events {{ }}
http {{
  access_log {folder}/access; client_body_temp_path {folder}/body; proxy_temp_path {folder}/proxy;
  fastcgi_temp_path {folder}/fastcgi; uwsgi_temp_path {folder}/uwsgi;
  scgi_temp_path {folder}/scgi; keepalive_requests 10;
  server {{ listen 127.0.0.1:{port}; root {root}; }}
}}
"""


@contextmanager
def serve_by_nginx(root: Path, own_dir: Path) -> Iterator[str]:
    """Serve a folder; yield its address. The requests are logged to ``own_dir/access``."""
    if not NGINX.exists():
        pytest.skip("there is no nginx")
    port, config = _free_port(), own_dir / "nginx.conf"
    config.write_text(NGINX_CONFIG.format(folder=own_dir, port=port, root=root))
    with _running([NGINX, "-c", config, "-e", own_dir / "errors"], port):
        yield f"http://127.0.0.1:{port}"


@contextmanager
def serve_by_rclone(root: Path, key_id: str, secret: str) -> Iterator[str]:
    """Serve a folder of buckets as S3 to those who sign with a key; yield the endpoint."""
    rclone = shutil.which("rclone")
    if rclone is None:
        pytest.skip("there is no rclone")
    port = _free_port()
    command = [rclone, "--config=", "serve", "s3", root, f"--addr=127.0.0.1:{port}"]
    with _running([*command, f"--auth-key={key_id},{secret}"], port):
        yield f"http://127.0.0.1:{port}"


def _free_port() -> int:
    with socket.create_server(("127.0.0.1", 0)) as free:
        return free.getsockname()[1]


@contextmanager
def _running(command: list, port: int) -> Iterator[None]:
    process = subprocess.Popen(command, stderr=subprocess.DEVNULL)
    try:
        for _ in range(100):
            with socket.socket() as probe:
                if probe.connect_ex(("127.0.0.1", port)) == 0:
                    break
            time.sleep(0.05)
        yield
    finally:
        process.terminate()
        process.wait()
