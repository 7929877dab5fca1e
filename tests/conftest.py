"""Data that many tests read: a tiny synthetic release, and real images where they are at hand."""

import logging
import os
import shutil
from collections.abc import Iterator
from pathlib import Path

import pytest
from desks import Desk, fill_with_oddities
from hypothesis import HealthCheck, settings
from servers import Server, serve

# One thread each, here and in what is started from here: the suite has a process for every core,
# and a tiny model's threads would spend four times as long waiting for one another as computing.
os.environ.setdefault("OMP_NUM_THREADS", "1")

from oiv5_d2.openimages import release

# The same examples in every run, so that a failure is due to a change and comes again when it is
# looked into (`--hypothesis-profile=default` draws others); and as long for each as it takes.
settings.register_profile(
    "steady", derandomize=True, deadline=None, suppress_health_check=[HealthCheck.too_slow]
)
settings.load_profile("steady")

STREET_MIRROR = Path(__file__).parents[2] / "shared" / "data" / "street_mirror"


@pytest.fixture(scope="session", autouse=True)
def cache(tmp_path_factory: pytest.TempPathFactory) -> Iterator[None]:
    """Keep nothing in the user's own cache."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("OIV5_D2_CACHE", str(tmp_path_factory.mktemp("cache")))
        yield


@pytest.fixture(scope="session")
def tiny_release(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A synthetic release of a dozen images in the real release's layout; read only."""
    from oiv5_d2.synthetic import write_release

    root = tmp_path_factory.mktemp("release")
    num_images = {"train": 8, "validation": 4, "test": 3}
    write_release(root, num_images, size=(96, 128), seed=0, advance=lambda _: None)
    return root


@pytest.fixture(scope="session")
def street_mirror() -> Path:
    """Real street photos with real masks, laid out as the release; the test is skipped without."""
    if not STREET_MIRROR.is_dir():
        pytest.skip("the real images are not at hand")
    return STREET_MIRROR


@pytest.fixture
def server(tiny_release: Path) -> Iterator[Server]:
    """A server of the tiny release that makes no mistakes, and a log of what it was asked."""
    with serve(tiny_release) as server:
        yield server


@pytest.fixture
def clean_catalog() -> Iterator[None]:
    """Take out of Detectron2's catalog what the test registers."""
    from oiv5_d2.training import compat  # noqa: F401

    from detectron2.data import DatasetCatalog, MetadataCatalog  # isort: skip

    before = set(DatasetCatalog.list())
    yield
    for name in set(DatasetCatalog.list()) - before:
        DatasetCatalog.remove(name)
        MetadataCatalog.remove(name)


@pytest.fixture(autouse=True)
def detectron2_is_heard() -> Iterator[None]:
    """Undo that Detectron2's trainer, where nobody listens, keeps its messages to itself."""
    logger = logging.getLogger("detectron2")
    handlers, propagates, level = list(logger.handlers), logger.propagate, logger.level
    yield
    logger.handlers, logger.propagate = handlers, propagates
    logger.setLevel(level)


@pytest.fixture
def desk(tmp_path):
    return Desk(tmp_path / "data")


@pytest.fixture
def odd_desk(desk):
    """A folder with one of everything; 0-based digits of an image's id say which case it is."""
    fill_with_oddities(desk)
    return desk


@pytest.fixture
def bucket_dir(tiny_release, tmp_path):
    """Return a copy of a release's annotations that may be changed."""
    shutil.copytree(tiny_release / release.ANNOTATIONS_DIR, tmp_path / "bucket")
    return tmp_path / "bucket"


@pytest.fixture
def tables_dir(tmp_path):
    return tmp_path / "tables"
