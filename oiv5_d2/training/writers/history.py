"""The rows of a W&B run's history. Its steps never go back, however often the run is resumed."""

import json
from pathlib import Path
from typing import Any, NamedTuple

from oiv5_d2.files import write_whole


class Progress(NamedTuple):
    """The last steps that were logged, counted from 0; -1 for none.

    Attributes:
        step: of W&B's own count.
        evaluation: with an evaluation.
    """

    step: int = -1
    evaluation: int = -1


class History:
    """Logs rows, and keeps beside the run how far it has come: an offline run cannot be asked.

    A resumed run makes the steps after its checkpoint again. They are left out, as W&B takes no
    step twice. An evaluation that a stop cut off is made up for, and comes at the next free step.

    Args:
        path: of the file that says how far the run has come.
    """

    def __init__(self, path: Path) -> None:
        self._path = path
        path.parent.mkdir(parents=True, exist_ok=True)
        self._former = self._now = read_progress(path)

    def log(self, run: Any, step: int, values: dict[str, Any], is_evaluation: bool = False) -> None:
        """Log one row, or more of the row that was logged last.

        Args:
            run: W&B's.
            step: counted from 0.
            values: by name.
            is_evaluation: it belongs to an evaluation.
        """
        free = max(self._former.step + 1, run.step)
        if step < free and not (is_evaluation and step > self._former.evaluation):
            return
        at = max(step, free)
        run.log(values, step=at)
        self._now = Progress(at, step if is_evaluation else self._now.evaluation)
        write_progress(self._path, self._now)


def read_progress(path: Path) -> Progress:
    """Return what `write_progress` wrote; nothing without a whole file."""
    try:
        return Progress(**json.loads(path.read_bytes()))
    except (FileNotFoundError, ValueError, TypeError):
        return Progress()


def write_progress(path: Path, progress: Progress) -> None:
    """Write the file, whole or not at all."""
    write_whole(path, json.dumps(progress._asdict()).encode())
