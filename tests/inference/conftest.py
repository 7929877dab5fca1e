import numpy as np
import pytest
from PIL import Image
from tiny_runs import tiny_weights, write_run

CLASSES = ["Person", "Car", "Traffic light"]


@pytest.fixture(scope="session")
def run_dir(tmp_path_factory):
    """A finished run; its model finds things at random."""
    run_dir = tmp_path_factory.mktemp("outputs") / "tiny"
    write_run(run_dir, tiny_weights(), CLASSES, {})
    return run_dir


@pytest.fixture
def images_dir(tmp_path):
    """Five images of noise, one of them a folder below."""
    rng = np.random.default_rng(0)
    for name in ("a.jpg", "b.png", "c.JPG", "d.jpeg", "more/a.jpg"):
        path = tmp_path / "photos" / name
        path.parent.mkdir(parents=True, exist_ok=True)
        Image.fromarray(rng.integers(0, 255, (48, 80, 3), dtype=np.uint8)).save(path)
    return tmp_path / "photos"
