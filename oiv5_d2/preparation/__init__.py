"""The stages from a release to audited COCO files, in order."""
