"""Which images and objects are used."""
