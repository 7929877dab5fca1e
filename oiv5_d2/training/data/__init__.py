"""What training reads: which images belong to a step, and how each is loaded and augmented."""

from oiv5_d2.training import compat  # first: it makes Detectron2 importable

__all__ = ["compat"]
