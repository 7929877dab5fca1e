"""Empty files where a test needs names only."""

from pathlib import Path


def touch(folder: Path, *names: str) -> None:
    """Make empty files at paths below a folder."""
    for name in names:
        path = folder / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.touch()
