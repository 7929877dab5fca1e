import pytest
from hydra import initialize_config_dir
from optuna.distributions import CategoricalDistribution, FloatDistribution, IntDistribution
from raising import refused

from oiv5_d2.console.errors import CONFIG_DIR
from oiv5_d2.problems import Kind
from oiv5_d2.sweeps.ranges import combinations, distributions, split


def test_words_are_split_into_common_ones_and_ranges_of_which_the_last_counts():
    words = ["a=1,2", "+experiment=quickstart", "b=interval(0,1)", "a=3", "jobs=2", "sweep_dir=x"]
    fixed, ranges = split([*words, "+c=choice(x,y)", "d=[1,2]"])
    assert fixed == ["a=3", "+experiment=quickstart", "d=[1,2]"]
    assert ranges == {"b": "interval(0,1)", "+c": "choice(x,y)"}


def test_a_pattern_means_the_files_of_its_group():
    with initialize_config_dir(str(CONFIG_DIR), version_base="1.3"):
        fixed, ranges = split(["a=3", "model=glob(mask_rcnn_r*)", "+experiment=glob(quick*)"])
        with refused(Kind.SETTING, key="solver"):
            split(["solver=glob(slow*)"])
    assert fixed == ["a=3"]
    assert ranges == {
        "model": "mask_rcnn_r101_fpn,mask_rcnn_r18_fpn,mask_rcnn_r50_fpn",
        "+experiment": "quickstart",
    }


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("interval(1,5)", FloatDistribution(1.0, 5.0)),
        ("int(interval(1,5))", IntDistribution(1, 5)),
        ("tag(log,interval(0.001,1))", FloatDistribution(0.001, 1.0, log=True)),
        ("choice(r50,r101)", CategoricalDistribution(["r50", "r101"])),
        ("range(1,4)", CategoricalDistribution(["1", "2", "3"])),
        ("[1,2],[3]", CategoricalDistribution(["[1,2]", "[3]"])),
    ],
)
def test_hydras_ranges_become_optunas(text, expected):
    assert distributions({"a": text}) == {"a": expected}


@pytest.mark.parametrize("text", ["interval(5,1)", "tag(log,interval(0,1))"])
def test_an_interval_without_values_is_refused(text):
    with refused(Kind.SETTING) as problem:
        distributions({"a": text})
    assert problem.value.key == "a"


def test_all_combinations_come_with_the_last_setting_changing_fastest():
    found = list(combinations({"a": "1,2", "b": "x,y"}))
    assert [tuple(one.values()) for one in found] == [
        ("1", "x"),
        ("1", "y"),
        ("2", "x"),
        ("2", "y"),
    ]


def test_an_interval_has_no_combinations():
    with refused(Kind.SETTING):
        list(combinations({"a": "1,2", "b": "interval(0,1)"}))
