import socket
from pathlib import Path

import pytest

from oiv5_d2.runs.privacy import public


@pytest.mark.parametrize(
    ("text", "shown"),
    [
        ("segm/AP", "segm/AP"),
        ("outputs/r101/2026", "outputs/r101/2026"),
        ("https://example.org/a/b", "https://example.org/a/b"),
        ("s3://bucket/key", "s3://bucket/key"),
        ("file:///home/jo/mirror", "…/mirror"),
        ("/home/jo/data/coco/train.json", "…/train.json"),
        (
            "python tools/train_net.py run_dir=/scratch/jo/a resume=true",
            "python tools/train_net.py run_dir=…/a resume=true",
        ),
        ("https://jo:word@example.org/a", "https://example.org/a"),
        ("https://example.org/a?sig=abc&x=1", "https://example.org/a?(hidden)"),
        ("1/2 of a/b", "1/2 of a/b"),
    ],
)
def test_what_is_shown_of_a_text(text, shown):
    assert public(text) == shown


def test_a_path_below_the_working_directory_is_relative():
    assert public([str(Path.cwd() / "data" / "mini"), Path.cwd()]) == ["data/mini", "."]


def test_secrets_are_hidden_by_name_and_by_value(monkeypatch):
    monkeypatch.setenv("WANDB_API_KEY", "0123456789abcdef")
    before = {"api_key": "x", "token": None, "text": "key 0123456789abcdef", "METRIC_KEYS": ["a"]}
    after = {"api_key": "(hidden)", "token": None, "text": "key (hidden)", "METRIC_KEYS": ["a"]}
    assert public(before) == after
    assert public(before, is_machine_told=True) == after


def test_the_host_is_shown_only_if_asked():
    words = {"rdzv_endpoint": "node7:29500", "who": socket.gethostname(), "local_addr": "localhost"}
    assert public(words) == {
        "rdzv_endpoint": "(hidden)",
        "who": "(host)",
        "local_addr": "localhost",
    }
    assert public(words, is_machine_told=True) == words
