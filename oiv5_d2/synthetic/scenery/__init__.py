"""What a synthetic street is made of: a canvas, a camera, and a painter for every kind of thing."""
