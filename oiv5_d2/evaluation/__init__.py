"""Judging detections: metrics, their intervals, and why a model fails.

A metric is a function of truth and detections, both as arrays. Only `evaluator` and `runs` need
PyTorch and Detectron2, so predictions of any tool are evaluated without them.
"""
