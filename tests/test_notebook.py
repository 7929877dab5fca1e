"""docs/open_images.ipynb, run from top to bottom on a served synthetic release."""

import json
from pathlib import Path

import pytest
from servers import serve

ROOT = Path(__file__).parents[1]
NOTEBOOK = ROOT / "docs" / "open_images.ipynb"


def read_cells():
    return json.loads(NOTEBOOK.read_text(encoding="utf-8"))["cells"]


def test_it_is_committed_without_outputs():
    cells = [cell for cell in read_cells() if cell["cell_type"] == "code"]
    assert len(cells) > 5
    assert all(cell["outputs"] == [] and cell["execution_count"] is None for cell in cells)


def execute(**settings):
    """Run all cells with other settings; return what the cells showed, by their ids."""
    nbclient, nbformat = (pytest.importorskip(name) for name in ("nbclient", "nbformat"))
    notebook = nbformat.read(NOTEBOOK, as_version=4)
    (cell,) = (one for one in notebook.cells if one.id == "settings")
    cell.source += "".join(f"\n{name} = {value!r}" for name, value in settings.items())
    where = {"metadata": {"path": str(NOTEBOOK.parent)}}
    nbclient.NotebookClient(notebook, timeout=900, resources=where).execute()
    return {one.id: json.dumps(one.get("outputs", [])) for one in notebook.cells}


@pytest.mark.slow
@pytest.mark.filterwarnings("default")  # Jupyter's own
def test_it_trains_and_goes_on_after_a_time_out(tmp_path):
    from oiv5_d2.synthetic import write_release

    write_release(tmp_path / "release", {"train": 1, "validation": 60, "test": 1}, (96, 128))
    short = {"EXPERIMENT": "quickstart", "KEEP": str(tmp_path / "kept"), "PER_CLASS": 20}
    with serve(tmp_path / "release") as server:
        for num_steps in (3, 5):
            lengths = [f"d2.SOLVER.MAX_ITER={num_steps}", "d2.SOLVER.WARMUP_ITERS=1"]
            shown = execute(SOURCE=server.url, TRAINING=lengths, **short)
            record = json.loads((tmp_path / "kept" / "run" / "run.json").read_text())
            assert record["iterations"] == num_steps
    assert "srcdoc" in shown["report"]
    assert not any("\\u001b" in shown[cell] for cell in ("plan", "fetch", "train"))  # no bars
    assert all("image/jpeg" in shown[cell] for cell in ("look", "predict"))
