"""nginx on loopback, where it is installed."""

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
    with socket.create_server(("127.0.0.1", 0)) as free:
        port = free.getsockname()[1]
    config = own_dir / "nginx.conf"
    config.write_text(NGINX_CONFIG.format(folder=own_dir, port=port, root=root))
    process = subprocess.Popen([NGINX, "-c", config, "-e", own_dir / "errors"])
    try:
        for _ in range(100):
            with socket.socket() as probe:
                if probe.connect_ex(("127.0.0.1", port)) == 0:
                    break
            time.sleep(0.05)
        yield f"http://127.0.0.1:{port}"
    finally:
        process.terminate()
        process.wait()
