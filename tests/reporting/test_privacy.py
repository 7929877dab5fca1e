from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from oiv5_d2.reporting.privacy import shorten_all, shorten_paths

ROOT = Path("/home/someone/project")
NAMES = st.text("abcdefghij-_.0123456789", min_size=1, max_size=8).filter(lambda s: set(s) != {"."})


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("/home/someone/project/data/mini", "data/mini"),
        ("/home/someone/project", "."),
        ("/home/someone/else/w.pth", "w.pth"),
        ("data.dir=/mnt/x/mini other=/mnt/y", "data.dir=mini other=y"),
        ("d2.DATASETS.TRAIN=[/a/b,/c/d]", "d2.DATASETS.TRAIN=[b,d]"),
        ("'/a/b c'", "'b c'"),
        ("detectron2://COCO/model.pkl", "detectron2://COCO/model.pkl"),
        ("https://host/a/b", "https://host/a/b"),
        ("data/mini and I/O", "data/mini and I/O"),
        ("0.5 / 0.95", "0.5 / 0.95"),
    ],
)
def test_paths_become_relative_and_the_rest_stays(text, expected):
    assert shorten_paths(text, ROOT) == expected


@given(st.lists(NAMES, min_size=2, max_size=5), st.sampled_from(["{}", "a={}", "[{},1]", "x '{}'"]))
def test_no_folder_of_an_absolute_path_is_left(parts, around):
    path = "/" + "/".join(f"dir{part}" for part in parts)
    shortened = shorten_paths(around.format(path), ROOT)
    assert shortened == around.format(f"dir{parts[-1]}")


def test_everything_nested_is_done_and_other_values_stay():
    value = {"a": ["/x/y", 1, None], "b": {"c": ("/x/z", True)}}
    assert shorten_all(value, ROOT) == {"a": ["y", 1, None], "b": {"c": ["z", True]}}
