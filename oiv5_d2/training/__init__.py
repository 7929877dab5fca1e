"""The bridge into Detectron2: configuration, catalog, trainer, writers, launch."""

from oiv5_d2.training import compat  # first: it makes Detectron2 importable

__all__ = ["compat"]
