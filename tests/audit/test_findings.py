from pathlib import Path

from raising import refused

from oiv5_d2.audit.findings import ERROR, NOTE, WARNING, refuse_errors
from oiv5_d2.problems import Kind, Remedy

PATH = Path("data/audit.json")


def found(severity, part="", what="something"):
    return {"severity": severity, "kind": "any", "part": part, "what": what, "remedy": "fix it"}


def test_more_errors_than_allowed_are_refused_with_some_of_them():
    findings = [found(ERROR, what=f"fault {number}") for number in range(4)]
    refuse_errors(findings, 4, PATH)
    with refused(Kind.TOO_MANY, key="max_errors", remedy=Remedy.FOLLOW_FINDINGS) as caught:
        refuse_errors(findings, 3, PATH)
    assert "fault 2" in caught.value.detail and "fault 3" not in caught.value.detail
    with refused(Kind.TOO_MANY, about="train: fault"):
        refuse_errors([found(ERROR, "train", "fault")], 0, PATH)


def test_warnings_and_notes_are_no_errors():
    refuse_errors([found(WARNING), found(NOTE, "train")], 0, PATH)
