"""A data set, and what runs found on it, looked through in a browser on the same machine."""
