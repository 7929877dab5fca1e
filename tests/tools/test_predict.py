from functools import partial
from pathlib import Path

import numpy as np
import pytest
from PIL import Image
from tiny_runs import tiny_weights, write_run


@pytest.fixture
def predict(run_tool, tmp_path):
    """Run the tool on a tiny run; return its output, or its error line."""
    write_run(tmp_path / "run", tiny_weights(), ["Person", "Car", "Sign"], {})
    noise = np.random.default_rng(0).integers(0, 255, (48, 80, 3), dtype=np.uint8)
    Image.fromarray(noise).save(tmp_path / "street.jpg")

    return partial(run_tool, "predict", f"run={tmp_path / 'run'}")


def test_the_steps_of_an_image_are_drawn_beside_the_run_and_nothing_else(predict, tmp_path):
    out = predict(f"input={tmp_path / 'street.jpg'}", "inside=true", "threshold=0")
    path = Path(out.splitlines()[-1])
    assert path == tmp_path / "run" / "inside" / "street.jpg" and path.is_file()
    assert not (tmp_path / "run" / "predictions").exists()


@pytest.mark.parametrize(
    ("words", "facts"),
    [
        (["input=0", "inside=true"], ["inside", "input"]),
        (["input=nowhere", "inside=true"], ["nowhere", "input"]),
        (["input=0", "threshold=2"], ["threshold=2"]),
    ],
)
def test_a_mistake_is_a_line_or_two(predict, words, facts):
    error = predict(*words)
    assert error.startswith("error: ") and error.count("\n") == 1 + ("\n  " in error)
    for fact in facts:
        assert fact in error
