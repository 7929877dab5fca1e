"""Mask R-CNN on the traffic subset of Open Images V5."""
