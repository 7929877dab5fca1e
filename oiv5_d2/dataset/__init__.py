"""From the release to a COCO file that can be trained on; and a synthetic release to try it with."""
