"""What a run does beside Detectron2's configuration, and what of it is refused."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Any

from detectron2.config import CfgNode

from oiv5_d2.modeling.class_weights import read_class_weights
from oiv5_d2.modeling.settings import SIGMOID
from oiv5_d2.problems import wrong_setting
from oiv5_d2.runs.metrics import EMA, check_metric
from oiv5_d2.runs.prepared import Prepared, count_objects
from oiv5_d2.training.data.augmentations import Augment, build_pipeline
from oiv5_d2.training.data.samplers import check_sampler
from oiv5_d2.training.hooks.early_stop import check_early_stop
from oiv5_d2.training.hooks.stages import check_stages
from oiv5_d2.training.schedule import check_length
from oiv5_d2.training.steps import FP32, check_accumulate, check_precision

STOP, ROLLBACK = "stop", "rollback"  # trainer.on_divergence


@dataclass(frozen=True)
class Features:
    """What the trainer does beside Detectron2's configuration: ``trainer`` in the configs mostly.

    Attributes:
        metric: ``<task>/<name>`` by which the best checkpoint is chosen.
        augment: ``augment`` in the configs: steps by name, with their settings.
        carry_classes: start classes that the pretrained head knows from its rows, by name.
        data_share: of the images to train on, above 0 and at most 1.
        keep_checkpoints: how many of the newest numbered ones stay.
        on_divergence: ``stop``, or ``rollback`` to the newest checkpoint with a lower rate.
        channels_last: on a CPU, keep images and weights in oneDNN's own order. Steps are faster,
            and sums are rounded in another order.
        ema: decay of the weights' moving average, below 1; 0 for none.
        average_last: how many of the last checkpoints are averaged at the end; 0 for none.
        class_weights: of the box head's loss, in class order; empty for Detectron2's loss.
        validation_loss: whether each evaluation has the losses, too.
        early_stop: evaluations without a gain after which the run ends; 0 for all its steps.
        min_gain: by how much the metric has to get better.
        test: name of a data set that the best weights are evaluated on at the end; empty for none.
        precision: of a step's computation, by name; see `steps`.
        accumulate: in how many micro batches a step is computed; ``auto``: as few as fit.
        reference_batch: for which rate and length were chosen: they follow the batch; 0 for none.
        epochs: the length, in passes over the training images; 0 for ``SOLVER.MAX_ITER``.
        evaluate_every: the passes between two evaluations, and two checkpoints; 0 for
            ``TEST.EVAL_PERIOD`` and ``SOLVER.CHECKPOINT_PERIOD``.
        stages: which part of the network trains when (`hooks.stages`); empty for all, always.
        evaluate_first: evaluate the model before its first step, too.
        hours: the length, in hours of steps on this machine; 0 for ``SOLVER.MAX_ITER``.
    """

    metric: str
    augment: Augment = field(default_factory=dict)
    carry_classes: bool = True
    data_share: float = 1.0
    keep_checkpoints: int = 2
    on_divergence: str = "stop"
    channels_last: bool = False
    ema: float = 0.0
    average_last: int = 0
    class_weights: Any = ()
    validation_loss: bool = False
    early_stop: int = 0
    min_gain: float = 0.0
    test: str = ""
    precision: str = FP32
    accumulate: int | str = 1
    reference_batch: int = 0
    epochs: float = 0.0
    evaluate_every: float = 0.0
    stages: Sequence[Mapping[str, Any]] = ()
    evaluate_first: bool = False
    hours: float = 0.0


def check_features(
    features: Features,
    cfg: CfgNode,
    classes: Sequence[str],
    datasets: Sequence[Prepared],
    num_processes: int,
) -> Features:
    """Return the features with the metric and the class weights in full.

    Args:
        features: as they were set.
        cfg: frozen.
        classes: display names, in the order of their category ids.
        datasets: prepared, those of ``DATASETS.TRAIN`` among them.
        num_processes: that share a step's images.

    Raises:
        Problem: SETTING, what cannot be trained.
    """
    check_precision(features.precision, cfg.MODEL.DEVICE)
    batch = cfg.SOLVER.IMS_PER_BATCH // num_processes
    check_accumulate(features.accumulate, batch, cfg.MODEL.DEVICE)
    every = features.evaluate_every
    check_length(features.epochs, features.hours, features.reference_batch, every)
    check_sampler(cfg.DATALOADER.SAMPLER_TRAIN)
    build_pipeline(cfg, features.augment)  # which refuses what it cannot build
    check_stages(features.stages, bool(cfg.MODEL.WEIGHTS))
    check_early_stop(features.early_stop, features.min_gain, cfg, every)
    _check_values(features)
    averages = [EMA] if features.ema else []
    metric = check_metric(
        features.metric, classes, cfg.MODEL.MASK_ON, averages, features.validation_loss
    )
    used = [one for one in datasets if one.name in cfg.DATASETS.TRAIN]
    weights = read_class_weights(features.class_weights or None, count_objects(used))
    if weights and "ANNOTATION" in cfg and cfg.ANNOTATION.loss == SIGMOID:
        detail = "trainer.class_weights are those of softmax"
        change = "annotation.loss=softmax trainer.class_weights=null"
        raise wrong_setting("annotation.loss", SIGMOID, detail, change=change)
    return replace(features, metric=metric, class_weights=weights)


def _check_values(features: Features) -> None:
    if features.on_divergence not in (STOP, ROLLBACK):
        detail = f"there are {STOP}, {ROLLBACK}"
        raise wrong_setting("trainer.on_divergence", features.on_divergence, detail)
    if not 0 <= features.ema < 1:
        raise wrong_setting("trainer.ema", features.ema, "a decay is at least 0 and below 1")
    if features.average_last < 0 or features.average_last == 1:
        detail = "0 for none, otherwise 2 or more checkpoints"
        raise wrong_setting("trainer.average_last", features.average_last, detail)
