import logging
import re
import warnings

import pytest
from termcolor import colored

from oiv5_d2.training.logs import describe_environment, logged

LINE = re.compile(r"\d{4}-\d\d-\d\d \d\d:\d\d:\d\d (DEBUG|INFO|WARNING) [\w.]+: .*")
NAMES = ("oiv5_d2.training.run", "detectron2.engine", "fvcore.common")


def say(level, text):
    for name in NAMES:
        logging.getLogger(name).log(level, text)


def test_all_loggers_write_lines_of_one_format_without_colours(tmp_path):
    with logged(tmp_path):
        say(logging.INFO, colored("loss", "red", force_color=True) + " 0.5")
    lines = (tmp_path / "log.txt").read_text().splitlines()
    assert len(lines) == len(NAMES)
    assert all(LINE.fullmatch(line) and line.endswith(": loss 0.5") for line in lines)


def test_details_are_ours_only_and_end_with_the_run(tmp_path):
    with logged(tmp_path):
        say(logging.DEBUG, "inside")
    say(logging.WARNING, "outside")
    assert [line.split()[3] for line in (tmp_path / "log.txt").read_text().splitlines()] == [
        f"{NAMES[0]}:"
    ]


def test_a_resumed_run_continues_its_log(tmp_path):
    for text in ("first", "second"):
        with logged(tmp_path), logged(tmp_path):
            logging.getLogger(NAMES[0]).info(text)
    said = [line.split()[-1] for line in (tmp_path / "log.txt").read_text().splitlines()]
    assert said == ["first", "second"]


def test_other_processes_have_a_log_of_their_own_with_their_warnings(tmp_path):
    with logged(tmp_path, rank=1):
        warnings.simplefilter("always")
        warnings.warn("an old name", DeprecationWarning, stacklevel=1)
    (path,) = tmp_path.iterdir()
    assert path.name == "log.rank1.txt" and "an old name" in path.read_text()


def test_what_ended_a_run_is_in_its_log(tmp_path):
    with pytest.raises(ZeroDivisionError), logged(tmp_path):
        _ = 1 / 0
    text = (tmp_path / "log.txt").read_text()
    assert "Traceback" in text and "ZeroDivisionError" in text


def test_the_environment_names_the_libraries_and_nothing_is_printed(capfd):
    assert "torchvision" in describe_environment()
    assert capfd.readouterr() == ("", "")
