from raising import refused

from oiv5_d2.keys import check_known, leaves, near
from oiv5_d2.problems import Kind


def test_nothing_near_suggests_nothing():
    assert near("zzz", {"data.name"}) == ""


def test_the_same_name_elsewhere_is_suggested():
    assert "d2.SOLVER.BASE_LR?" in near("SOLVER.base_lr", {"d2.SOLVER.BASE_LR", "d2.SEED"})


def test_leaves_are_dotted_and_empty_ones_stay():
    assert dict(leaves({"a": {"b": 1, "c": {}}, "d": [2]})) == {"a.b": 1, "a.c": {}, "d": [2]}


def test_an_unknown_key_is_refused():
    check_known(["a.b"], {"a.b", "a.c"})
    with refused(Kind.SETTING, key="a.bb", about="a.b"):
        check_known(["a.b", "a.bb"], {"a.b", "a.c"})
