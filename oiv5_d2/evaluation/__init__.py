"""Judging a model: COCO's average precision of boxes and masks, per class, on any part."""
