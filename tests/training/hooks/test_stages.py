"""What each stage trains, how fast, and that a run in stages is a function of its steps."""

from itertools import pairwise

import pytest
import torch
from raising import refused

from oiv5_d2.problems import Kind
from oiv5_d2.training.hooks.stages import Stage, check_stages, read_stages, stage_at

HEADS = {"train": "heads", "until": 2, "rate": 0.5}
UPPER = {"train": "res4+", "until": 4}
ALL = {"train": "all", "rate": 0.1}
STAGES = (
    "trainer.stages=[{train:heads,until:2,rate:0.5},{train:res4+,until:4},{train:all,rate:0.1}]"
)


def test_a_stage_is_a_function_of_the_step():
    stages = read_stages([{**HEADS, "until": 0.25}, {**UPPER, "until": 0.75}, ALL])
    names = [stage_at(stages, step, 8).train for step in range(9)]
    assert names == ["heads"] * 2 + ["res4+"] * 4 + ["all"] * 3
    assert stage_at(read_stages([HEADS]), 100, 8) == Stage("heads", 2, 0.5)


def test_shares_and_steps_can_be_mixed():
    stages = read_stages([HEADS, {**UPPER, "until": 0.5}, ALL])
    assert [stage_at(stages, step, 10).train for step in (1, 2, 4, 5)] == [
        "heads", "res4+", "res4+", "all",
    ]  # fmt: skip


@pytest.mark.parametrize(
    ("entries", "about"),
    [
        ([{"train": "head"}], "heads"),
        ([{"trains": "heads"}], "trains"),
        ([{**HEADS, "until": 1.5}], "until"),
        ([{**HEADS, "until": 0}], "until"),
        ([{**HEADS, "rate": 0.0}], "rate"),
        ([{"train": "heads"}, ALL], "last"),
        ([UPPER, {**HEADS, "until": 4}, ALL], "after"),
    ],
)
def test_a_wrong_stage_is_refused(entries, about):
    with refused(Kind.SETTING, key="trainer.stages", about=about):
        read_stages(entries)


def test_random_weights_are_not_frozen():
    check_stages([ALL], is_pretrained=False)
    with refused(Kind.SETTING, key="d2.MODEL.WEIGHTS trainer.stages"):
        check_stages([HEADS, ALL], is_pretrained=False)


@pytest.fixture
def pretrained(start, tmp_path):
    """The weights of two steps, whose batch norm has seen some images."""
    start("d2.SOLVER.MAX_ITER=2", "d2.DATASETS.TEST=[]", name="pretrained")
    return tmp_path / "pretrained" / "model_final.pth"


@pytest.fixture
def staged(start, pretrained, tmp_path):
    def run(*words, **options):
        words = (f"d2.MODEL.WEIGHTS={pretrained}", "d2.SOLVER.CHECKPOINT_PERIOD=1", *words)
        return start(*words, STAGES, "trainer.keep_checkpoints=9", "d2.DATASETS.TEST=[]", **options)

    return run


def blocks_changed(before, after):
    """Return which blocks of the backbone, or `head`, have a parameter or statistic that moved."""
    return {
        name.split(".")[2] if name.startswith("backbone.bottom_up") else "head"
        for name in before
        if not torch.equal(before[name], after[name])
    }


def test_each_stage_moves_its_part_only(staged, pretrained, weights, tmp_path):
    staged("d2.SOLVER.MAX_ITER=6")
    paths = sorted((tmp_path / "run").glob("model_0*.pth"))
    assert len(paths) == 6
    states = [weights(path) for path in (pretrained, *paths)]
    changed = [blocks_changed(*pair) for pair in pairwise(states)]
    upper, all_blocks = {"head", "res4", "res5"}, {"head", "stem", "res2", "res3", "res4", "res5"}
    assert changed == [{"head"}] * 2 + [upper] * 2 + [all_blocks] * 2


def test_frozen_parameters_have_no_momentum(staged, tmp_path):
    staged("d2.SOLVER.MAX_ITER=6")
    states = [
        torch.load(tmp_path / "run" / f"model_{step:07d}.pth", weights_only=True)["trainer"]
        for step in (1, 3, 5)
    ]
    numbers = [len(state["_trainer"]["optimizer"]["state"]) for state in states]
    assert 0 < numbers[0] < numbers[1] < numbers[2]
    rates = [state["_trainer"]["optimizer"]["param_groups"][0]["lr"] for state in states]
    assert rates[0] > 0 and all(rate > 0 for rate in rates[1:2])
    bases = [state["hooks"]["LRScheduler"]["base_lrs"][0] for state in states]
    assert bases == pytest.approx([0.04, 0.08, 0.008])


@pytest.mark.parametrize("stop", [2, 3])
def test_a_run_resumed_in_any_stage_is_the_run_that_was_not_stopped(
    staged, weights, tmp_path, stop
):
    staged("d2.SOLVER.MAX_ITER=6", name="whole")
    staged("d2.SOLVER.MAX_ITER=6", name="cut")
    for path in (tmp_path / "cut").glob("model_*.pth"):
        if path.name not in [f"model_{step:07d}.pth" for step in range(stop)]:
            path.unlink()
    staged("d2.SOLVER.MAX_ITER=6", name="cut", resume=True)
    one, other = (weights(tmp_path / name / "model_final.pth") for name in ("whole", "cut"))
    assert all(torch.equal(one[name], other[name]) for name in one)


def test_other_stages_are_recorded_when_a_run_is_resumed(staged, start, pretrained, tmp_path):
    staged("d2.SOLVER.MAX_ITER=1")
    words = (f"d2.MODEL.WEIGHTS={pretrained}", "d2.DATASETS.TEST=[]")
    start(*words, "d2.SOLVER.MAX_ITER=2", "trainer.keep_checkpoints=9", resume=True)
    record = (tmp_path / "run" / "run.json").read_text()
    assert '"trainer.stages"' in record
