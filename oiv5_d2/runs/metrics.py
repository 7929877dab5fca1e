"""The metrics of an evaluation by name: all that tables, records, sweeps and W&B know of them.

What computes a metric is the module of `oiv5_d2.evaluation` that is called like its key.
"""

import math
import re
from collections.abc import Collection, Mapping, Sequence
from typing import Any, NamedTuple

from oiv5_d2.keys import near
from oiv5_d2.problems import wrong_setting

TASKS = ("bbox", "segm")
# Averages of a run's weights, as their results are called: ema/segm/AP.
EMA, MEAN = "ema", "averaged"  # the moving average; the mean of the last checkpoints
AVERAGES = (EMA, MEAN)
TEST = "test"  # the best weights, on the data set that is for the end
VALIDATION, TOTAL_LOSS = "validation", "total_loss"  # losses on the images that are evaluated


class Metric(NamedTuple):
    """What one metric measures, as numbers from 0 to 100 of which more is better.

    Attributes:
        key: in ``results.json``; its module is ``oiv5_d2.evaluation.<key>``.
        summary: names of its numbers over all classes, in their order.
        per_class: of these, what each class has as well, such as ``AP50-Car``.
        headline: the one that tables show with its interval.
        mark: before its names in a table.
    """

    key: str
    summary: tuple[str, ...]
    per_class: tuple[str, ...]
    headline: str
    mark: str = ""

    def task(self, task: str) -> str:
        """Return what its results of ``bbox`` or ``segm`` are called; COCO's have no prefix."""
        return task if self is COCO else f"{self.key}/{task}"

    def names(self, classes: Sequence[str]) -> tuple[str, ...]:
        """Return the names of all its numbers."""
        return *self.summary, *(f"{name}-{one}" for name in self.per_class for one in classes)


COCO = Metric("coco", ("AP", "AP50", "AP75", "APs", "APm", "APl"), ("AP", "AP50"), "AP")
OPEN_IMAGES = Metric("open_images", ("AP50",), ("AP50",), "AP50", mark="OI ")
METRICS = [COCO, OPEN_IMAGES]


def check_metric(
    name: str,
    classes: Sequence[str],
    has_masks: bool,
    averages: Collection[str] = (),
    has_losses: bool = False,
) -> str:
    """Return the number that a run compares; without masks ``segm/AP`` is ``bbox/AP``.

    Args:
        name: ``<task>/<name>``, such as ``segm/AP`` or ``bbox/AP50-Car``; of averaged weights
            ``ema/segm/AP``; the validation loss is ``validation/total_loss``.
        classes: display names.
        has_masks: False for a model of boxes only.
        averages: of weights, those of `AVERAGES` that each evaluation has.
        has_losses: True if each evaluation has the validation loss.

    Raises:
        Problem: SETTING, no evaluation of these classes has that name.
    """
    plain = [
        f"{metric.task(task)}/{one}"
        for metric in METRICS
        for task in TASKS
        for one in metric.names(classes)
    ]
    names = [*plain, *(f"{average}/{one}" for average in averages for one in plain)]
    names += [f"{VALIDATION}/{TOTAL_LOSS}"] if has_losses else []
    if name not in names:
        raise wrong_setting("metric", name, f"no such metric{near(name, names)}")
    return name if has_masks else re.sub(r"\bsegm/", "bbox/", name)


def is_loss(name: str) -> bool:
    """Return True if a lower value is the better one."""
    return name.startswith(f"{VALIDATION}/")


def look_up(results: Mapping[str, Any], name: str) -> float:
    """Return one number of a run's results by ``<task>/<name>``; NaN if it was not measured.

    Args:
        results: ``{"bbox": {...}, ...}``, or one such dict per data set: then of the first one.
            Each average of the weights has the same below its name.
        name: as `check_metric` returned it.
    """
    head, _, rest = name.partition("/")
    if head in AVERAGES:
        return look_up(results.get(head, {}), rest)
    task, _, measure = name.rpartition("/")
    tasks = results if task in results else next(iter(results.values()), {})
    return float(tasks.get(task, {}).get(measure, math.nan))
