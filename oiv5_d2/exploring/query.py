"""What is searched for: the words of an address, checked."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from oiv5_d2.evaluation.errors import MISSED
from oiv5_d2.exploring.found import OUTCOMES
from oiv5_d2.exploring.layers import FLAGS

TRUTH = "truth"
RUNS = ("a", "b")
SIZES = {"small": (0.0, 32.0), "medium": (32.0, 96.0), "large": (96.0, float("inf"))}
FOUND = "found"
ORDERS = ("file", "most objects", "smallest", "largest")
PAGE = 60  # images of a page


class WrongQuery(ValueError):
    """A word of an address that says nothing."""


@dataclass(frozen=True)
class Query:
    """What images are asked for; annotations and detections are called objects here.

    An image is found if one and the same object of it has all that is asked of objects.

    Attributes:
        words: each is in the image's file name or id, or in a class, child, attribute, reason or
            finding of an object.
        part: of the data; "" for all.
        layer: whose objects: the truth's, or those of run a or b.
        classes: names, of which an object has one; empty for all.
        child: name of the label; "" for all.
        flags: attributes that an object has, all of them.
        reason: why it is ignored; "" for any or none.
        span: least and largest side of the square of its area, in pixels.
        finding: of the audit; "" for any or none.
        outcome: one of `OUTCOMES`, of a detection; "" for any.
        by: whether each run found or missed an annotation; "" for either.
        score: the least of a detection, and of one that finds an annotation.
        order: one of `ORDERS`.
        page: from 0.
    """

    words: tuple[str, ...] = ()
    part: str = ""
    layer: str = TRUTH
    classes: frozenset[str] = frozenset()
    child: str = ""
    flags: frozenset[str] = frozenset()
    reason: str = ""
    span: tuple[float, float] = (0.0, float("inf"))
    finding: str = ""
    outcome: str = ""
    by: tuple[str, ...] = ("", "")
    score: float = 0.5
    order: str = ORDERS[0]
    page: int = 0


def read_query(said: Mapping[str, Sequence[str]]) -> Query:
    """Return the query of an address.

    Args:
        said: values by key, as `urllib.parse.parse_qs` returns them.

    Raises:
        WrongQuery: a value has no meaning.
    """
    one = {key: values[-1] for key, values in said.items()}
    return Query(
        words=tuple(one.get("q", "").lower().split()),
        part=one.get("part", ""),
        layer=_one_of(one, "layer", (TRUTH, *RUNS)),
        classes=frozenset(said.get("class", ())),
        child=one.get("child", ""),
        flags=frozenset(_check(flag, FLAGS.values()) for flag in said.get("flag", ())),
        reason=one.get("reason", ""),
        span=_read_span(one.get("size", "")),
        finding=one.get("finding", ""),
        outcome=_one_of(one, "outcome", ("", *OUTCOMES)),
        by=tuple(_one_of(one, run, ("", FOUND, MISSED)) for run in RUNS),
        score=_number(one.get("score", "0.5")),
        order=_one_of(one, "order", ORDERS),
        page=max(0, int(_number(one.get("page", "1"))) - 1),
    )


def _read_span(text: str) -> tuple[float, float]:
    """Return the ends of a size: a name, or ``8-20`` in pixels, where an end may be absent."""
    if text in SIZES:
        return SIZES[text]
    low, dash, high = text.partition("-")
    if text and not dash:
        raise WrongQuery(f"size={text}: small, medium, large, or pixels such as 8-20")
    return _number(low or "0"), _number(high or "inf")


def _number(text: str) -> float:
    try:
        value = float(text)
    except ValueError:
        raise WrongQuery(f"{text!r} is not a number") from None
    if value != value:
        raise WrongQuery("nan is not a number")
    return value


def _one_of(one: Mapping[str, str], key: str, known: Sequence[str]) -> str:
    return _check(one.get(key, known[0]), known)


def _check(value: str, known: Any) -> str:
    if value not in known:
        raise WrongQuery(f"{value!r} is not one of {', '.join(filter(None, known))}")
    return value
