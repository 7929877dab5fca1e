"""A bucket of random bytes, and how to open it without long waits between retries."""

import random
import shutil
import ssl
import subprocess

import pytest

from oiv5_d2.acquisition.buckets import Bucket
from oiv5_d2.acquisition.transfer import Transfer

HASTY = {
    "client_options": {"timeout": "10s", "connect_timeout": "5s"},
    "retry_config": {
        "max_retries": 2,
        "retry_timeout": "20s",
        "backoff": {"init_backoff": "5ms", "max_backoff": "20ms", "base": 2},
    },
}


@pytest.fixture(scope="session")
def bucket(tmp_path_factory):
    """A folder with ``big.bin`` (3 MB), ``empty``, and ``small/0`` to ``small/39`` (5 kB each)."""
    root = tmp_path_factory.mktemp("bucket")
    chance = random.Random(0)
    (root / "big.bin").write_bytes(chance.randbytes(3_000_000))
    (root / "empty").touch()
    (root / "small").mkdir()
    for number in range(40):
        (root / "small" / str(number)).write_bytes(chance.randbytes(5000 + number))
    return root


@pytest.fixture
def connect():
    """Open a bucket at an address; other settings go to `Transfer`."""

    def open_bucket(url, **settings):
        return Bucket(url, Transfer(**(HASTY | settings)))

    return open_bucket


@pytest.fixture(scope="session")
def certificate(tmp_path_factory):
    """A server's certificate for 127.0.0.1 that is not trusted, and its key."""
    if shutil.which("openssl") is None:
        pytest.skip("there is no openssl to make a certificate with")
    folder = tmp_path_factory.mktemp("certificate")
    paths = folder / "certificate.pem", folder / "key.pem"
    command = "openssl req -x509 -nodes -days 2 -newkey ec -pkeyopt ec_paramgen_curve:prime256v1"
    command += " -subj /CN=127.0.0.1 -addext subjectAltName=IP:127.0.0.1"
    command += " -addext basicConstraints=critical,CA:FALSE"
    subprocess.run(
        [*command.split(), "-out", paths[0], "-keyout", paths[1]], check=True, capture_output=True
    )
    return paths


@pytest.fixture(scope="session")
def tls(certificate):
    """What a server needs to speak HTTPS."""
    context = ssl.create_default_context(ssl.Purpose.CLIENT_AUTH)
    context.load_cert_chain(*certificate)
    return context
