"""From a selection and its fetched files to COCO files."""
