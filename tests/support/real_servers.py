"""Servers on loopback that other people wrote, where they are installed."""

import shutil
import socket
import subprocess
import tempfile
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

import psutil
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
    config = own_dir / "nginx.conf"

    def command_at(port: int) -> list:
        config.write_text(NGINX_CONFIG.format(folder=own_dir, port=port, root=root))
        return [NGINX, "-c", config, "-e", own_dir / "errors"]

    with _running(command_at) as port:
        yield f"http://127.0.0.1:{port}"


@contextmanager
def serve_by_rclone(root: Path, key_id: str, secret: str) -> Iterator[str]:
    """Serve a folder of buckets as S3 to those who sign with a key; yield the endpoint."""
    rclone = shutil.which("rclone")
    serves = rclone and subprocess.run([rclone, "serve", "s3", "--help"], capture_output=True)
    if not serves or b"--auth-key" not in serves.stdout:
        pytest.skip("there is no rclone that serves S3")
    command = [rclone, "--config=", "serve", "s3", root, f"--auth-key={key_id},{secret}"]
    with _running(lambda port: [*command, f"--addr=127.0.0.1:{port}"]) as port:
        yield f"http://127.0.0.1:{port}"


@contextmanager
def _running(command_at: Callable[[int], list]) -> Iterator[int]:
    """Start a server on a free port, or on another one if that was taken meanwhile; yield it."""
    with tempfile.TemporaryFile("w+") as said:
        for _ in range(3):
            with socket.create_server(("127.0.0.1", 0)) as free:
                port = free.getsockname()[1]
            process = subprocess.Popen(command_at(port), stdout=said, stderr=said)
            try:
                if _comes_up(process, port):
                    yield port
                    return
            finally:
                process.terminate()
                process.wait()
        said.seek(0)
        pytest.fail(f"{process.args} does not serve: {said.read()}")


def _comes_up(process: subprocess.Popen, port: int) -> bool:
    """Wait until the process itself listens; somebody else's server may have the port."""
    deadline = time.monotonic() + 60
    while process.poll() is None and time.monotonic() < deadline:
        with suppress(psutil.Error):  # it has just ended
            sockets = psutil.Process(process.pid).net_connections("tcp")
            if any(s.status == psutil.CONN_LISTEN and s.laddr.port == port for s in sockets):
                return True
        time.sleep(0.05)
    return False
