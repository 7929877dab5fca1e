"""Where a run's numbers and images go besides Detectron2's terminal, JSON and TensorBoard."""
