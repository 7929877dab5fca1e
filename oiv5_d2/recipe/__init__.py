"""Settings of a training that follow from its data: numbers over the COCO file, without PyTorch."""
