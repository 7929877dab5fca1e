"""Whole files of the annotations bucket, kept beside a note of where each came from."""

import json
from pathlib import Path

from oiv5_d2.acquisition.tables.cached_rows import Origin
from oiv5_d2.files import sha256, whole_file

ORIGINALS = "original"


class Original:
    """The place of a whole file; the file may be there or not.

    Args:
        tables_dir: has it under ``original/``, as the bucket has it.
        key: its name in the bucket.
    """

    def __init__(self, tables_dir: Path, key: str) -> None:
        self.path = tables_dir / ORIGINALS / key
        self._note_path = self.path.with_name(f".{self.path.name}.json")

    def origin(self) -> Origin | None:
        """Return what the file that is there came from; None where there is no whole one."""
        try:
            origin = Origin(**json.loads(self._note_path.read_text(encoding="utf-8")))
            return origin if self.path.stat().st_size == origin.num_bytes else None
        except (FileNotFoundError, ValueError, TypeError):
            return None

    def is_unchanged(self, origin: Origin) -> bool:
        """Tell whether the file still has the bytes that came; it is read."""
        return sha256(self.path) == origin.sha256

    def write(self, data: bytes, origin: Origin) -> None:
        """Write the file and its note."""
        with whole_file(self.path) as part_path:
            part_path.write_bytes(data)
        self.note(origin)

    def note(self, origin: Origin) -> None:
        """Write down where the file comes from."""
        with whole_file(self._note_path) as part_path:
            part_path.write_text(json.dumps(origin._asdict()) + "\n", encoding="utf-8")

    def drop(self) -> None:
        """Remove the file and its note."""
        self._note_path.unlink(missing_ok=True)
        self.path.unlink(missing_ok=True)
