"""From the release to COCO files: subset, fetch, convert, audit. No torch, no Detectron2 here."""
