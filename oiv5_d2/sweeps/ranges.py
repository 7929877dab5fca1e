"""Ranges of settings in Hydra's own syntax, as Optuna knows them."""

import itertools
from collections.abc import Iterator, Mapping, Sequence
from typing import Any

from hydra.core.global_hydra import GlobalHydra
from hydra.core.override_parser.overrides_parser import OverridesParser
from hydra.core.override_parser.types import Glob, IntervalSweep, Override
from optuna.distributions import (
    BaseDistribution,
    CategoricalDistribution,
    FloatDistribution,
    IntDistribution,
)
from optuna.trial import Trial

from oiv5_d2.problems import wrong_setting

OF_A_SWEEP = ("sweep_dir", "jobs", "run_dir", "resume")  # no settings of a trial's
LOG = "log"  # the tag of an interval whose logarithm is sampled evenly


def split(words: Sequence[str]) -> tuple[list[str], dict[str, str]]:
    """Return the words that all trials have, and the ranges by setting; the last word counts.

    Args:
        words: of a command line; a setting keeps its ``+`` or ``++``.

    Raises:
        Problem: SETTING, a pattern that no file has.
    """
    found = {one.get_key_element(): one for one in _parse(words)}
    fixed = [one.input_line for key, one in found.items() if _is_fixed(key, one)]
    ranges = {key: _text(key, one) for key, one in found.items() if one.is_sweep_override()}
    return fixed, ranges


def distributions(ranges: Mapping[str, str]) -> dict[str, BaseDistribution]:
    """Return Optuna's distribution of each range: a number of an interval, or one of some words.

    Raises:
        Problem: SETTING, an interval that is empty, or that has no logarithm.
    """
    return {key: _distribution(key, text) for key, text in ranges.items()}


def combinations(ranges: Mapping[str, str]) -> Iterator[dict[str, str]]:
    """Yield all combinations, the last setting changing fastest.

    Raises:
        Problem: SETTING, an interval has no end of values.
    """
    values = []
    for key, text in ranges.items():
        distribution = _distribution(key, text)
        if not isinstance(distribution, CategoricalDistribution):
            detail = "an interval is for a search: +sweep=search, or hydra.sweeper.sampler.name=..."
            raise wrong_setting(key, text, detail)
        values.append(distribution.choices)
    for chosen in itertools.product(*values):
        yield dict(zip(ranges, map(str, chosen), strict=True))


def first(ranges: Mapping[str, str]) -> dict[str, Any]:
    """Return the first value of each range.

    Raises:
        Problem: as `distributions`.
    """
    found = distributions(ranges)
    return {
        key: one.choices[0] if isinstance(one, CategoricalDistribution) else one.low  # type: ignore[attr-defined]
        for key, one in found.items()
    }


def suggest(trial: Trial, space: Mapping[str, BaseDistribution]) -> dict[str, Any]:
    """Return the trial's values, asking the sampler for those that it does not have yet."""
    return {key: _suggest(trial, key, one) for key, one in space.items()}


def _suggest(trial: Trial, key: str, one: BaseDistribution) -> Any:
    if isinstance(one, FloatDistribution):
        return trial.suggest_float(key, one.low, one.high, log=one.log)
    if isinstance(one, IntDistribution):
        return trial.suggest_int(key, one.low, one.high, log=one.log)
    assert isinstance(one, CategoricalDistribution)
    return trial.suggest_categorical(key, one.choices)


def _distribution(key: str, text: str) -> BaseDistribution:
    (override,) = _parse([f"{key}={text}"])
    value = override.value()
    if not isinstance(value, IntervalSweep):
        return CategoricalDistribution(list(override.sweep_string_iterator()))
    low, high, log = value.start, value.end, LOG in value.tags
    try:
        if isinstance(low, int) and isinstance(high, int):
            return IntDistribution(low, high, log)
        return FloatDistribution(float(low or 0), float(high or 0), log)
    except ValueError as error:
        raise wrong_setting(key, text, str(error)) from error


def _text(key: str, override: Override) -> str:
    """Return a range as it was written; of a pattern, ``glob(r*)``, the files that it means now."""
    text: str = override.input_line.partition("=")[2]
    if not isinstance(override.value(), Glob):
        return text
    if names := list(override.sweep_string_iterator()):
        return ",".join(names)
    raise wrong_setting(key, text, "there is no such file")


def _is_fixed(key: str, override: Override) -> bool:
    return key not in OF_A_SWEEP and not override.is_sweep_override()


def _parse(words: Sequence[str]) -> list[Override]:
    hydra = GlobalHydra.instance()
    loader = hydra.config_loader() if hydra.is_initialized() else None  # knows a pattern's files
    found: list[Override] = OverridesParser.create(loader).parse_overrides(list(words))
    return found
