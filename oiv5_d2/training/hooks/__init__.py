"""What a training run does beside its steps: one file a hook, added in ``Trainer.build_hooks``."""

from oiv5_d2.training import compat  # first: it makes Detectron2 importable

__all__ = ["compat"]
