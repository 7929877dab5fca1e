import pytest

from oiv5_d2.sweeps.settings import Plan
from oiv5_d2.sweeps.study import Ledger


@pytest.fixture
def make_plan():
    """Make the plan of a grid over two rates, or with other parts."""

    def make(**parts):
        grid = {"words": ("+experiment=x",), "ranges": {"d2.SOLVER.BASE_LR": "0.1,0.2"}}
        none = {"sampler": None, "pruner": None, "storage": None}
        return Plan(**{**grid, "metric": "segm/AP", "study": "sweep", **none, **parts})

    return make


@pytest.fixture
def ledger(tmp_path, make_plan):
    """Open the study of a plan, as a worker that starts now; what it takes is let go at the end."""
    held = []

    class Noted(Ledger):
        def take(self, num_trials):
            taken = super().take(num_trials)
            held.extend(filter(None, [taken]))
            return taken

    yield lambda **parts: Noted(tmp_path, make_plan(**parts))
    for taken in held:
        taken.let_go()
