from pathlib import Path

import pytest

from oiv5_d2.audit.findings import ERROR, NOTE, WARNING, refuse_errors

PATH = Path("data/audit.json")


def found(severity, part="", what="something"):
    return {"severity": severity, "part": part, "what": what, "remedy": "mend it"}


def test_more_errors_than_allowed_are_refused_with_some_of_them():
    findings = [found(ERROR, what=f"fault {number}") for number in range(4)]
    refuse_errors(findings, 4, PATH)
    with pytest.raises(ValueError) as caught:
        refuse_errors(findings, 3, PATH)
    assert str(caught.value) == (
        "errors that the audit found: 4, more than max_errors=3 allows: fault 0; fault 1; fault 2;"
        " .... All are in data/audit.json, each with its remedy: follow it, or raise max_errors"
    )
    with pytest.raises(ValueError, match=r"found: 1, .* allows: train: fault\. All"):
        refuse_errors([found(ERROR, "train", "fault")], 0, PATH)


def test_warnings_and_notes_are_no_errors():
    refuse_errors([found(WARNING), found(NOTE, "train")], 0, PATH)
