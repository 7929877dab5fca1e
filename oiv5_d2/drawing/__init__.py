"""Arrays in, arrays out: objects on images, contact sheets."""
