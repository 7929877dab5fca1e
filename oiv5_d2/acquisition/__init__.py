"""Brings files of the release to disk, whole, or says why not."""
