"""The release's mask zips: what they hold, and the wanted masks out of them into smaller ones."""
