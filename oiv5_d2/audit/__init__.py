"""What is odd in prepared data, before a minute is spent on training."""
