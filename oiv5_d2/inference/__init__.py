"""A trained model used: images and videos in, detections and pictures out."""
