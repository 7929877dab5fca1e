"""The release's CSV tables: read in place or while they arrive, filtered row by row."""
