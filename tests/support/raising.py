"""Asserts about a `Problem`: its kind, the setting and the remedy, never its wording."""

from collections.abc import Iterator
from contextlib import contextmanager

import pytest

from oiv5_d2.problems import Kind, Problem, Remedy


@contextmanager
def refused(
    kind: Kind, *, key: str | None = None, remedy: Remedy | None = None, about: object = None
) -> Iterator[pytest.ExceptionInfo[Problem]]:
    """Expect a problem of this kind; `about` has to be part of its subject or its facts."""
    with pytest.raises(Problem) as caught:
        yield caught
    problem = caught.value
    assert problem.kind is kind, problem
    assert key is None or problem.key == key, problem.key
    assert remedy is None or problem.remedy is remedy, problem.remedy
    assert about is None or str(about) in f"{problem.subject} {problem.detail}", problem
