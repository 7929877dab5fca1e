"""What lies in a run directory. Needs neither PyTorch nor Detectron2."""
