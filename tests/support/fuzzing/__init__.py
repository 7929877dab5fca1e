"""Readers fed with inputs that are nearly right; `python -m fuzzing` runs them, see `make fuzz`."""
