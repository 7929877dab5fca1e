"""From data and run directories to what people look at: pictures, curves, tables, records."""

from oiv5_d2.training import compat  # first: it makes Detectron2 importable

__all__ = ["compat"]
