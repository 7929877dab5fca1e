"""From the release to a COCO file to train on; and a synthetic release to try it with."""
