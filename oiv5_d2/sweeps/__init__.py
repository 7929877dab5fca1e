"""Sweeps: many runs of one command that differ in a few settings.

Needs neither PyTorch nor Detectron2.
"""
