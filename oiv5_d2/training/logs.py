"""A run's log: all that it and its libraries say, each line with one format of time, no colours.

The screen shows a few sentences of it; what it shows is the tool's business.
"""

import logging
import re
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from detectron2.utils.collect_env import collect_env_info

from oiv5_d2.runs.layout import LOG_TXT

FORMAT = "%(asctime)s %(levelname)s %(name)s: %(message)s"
TIME = "%Y-%m-%d %H:%M:%S"
OURS = "oiv5_d2"

_COLOUR = re.compile(r"\x1b\[[0-9;]*m")  # termcolor's, in Detectron2's messages

logger = logging.getLogger(__name__)


@contextmanager
def logged(run_dir: Path, rank: int = 0) -> Iterator[None]:
    """Write what this process logs, and Python's warnings, to a file of the run's folder.

    Libraries are heard from INFO on, our own package with its details. An exception is written
    with its traceback and raised again. Within itself, for the same file, it does nothing more.

    Args:
        run_dir: exists. A file that is there is continued.
        rank: of the process: 0 writes ``log.txt``, another one ``log.rank<n>.txt``.
    """
    path = (run_dir / (f"log.rank{rank}.txt" if rank else LOG_TXT)).absolute()
    root = logging.getLogger()
    if any(getattr(one, "baseFilename", None) == str(path) for one in root.handlers):
        yield
        return
    handler = logging.FileHandler(path)
    handler.setFormatter(_Plain(FORMAT, TIME))
    with _levels({"": logging.INFO, OURS: logging.DEBUG}):
        root.addHandler(handler)
        logging.captureWarnings(True)
        try:
            yield
        except BaseException as error:
            logger.debug("The run ended with %s", type(error).__name__, exc_info=True)
            raise
        finally:
            logging.captureWarnings(False)
            root.removeHandler(handler)
            handler.close()


def describe_environment() -> str:
    """Return versions and devices as Detectron2 lists them."""
    chatter = logging.getLogger("torch.utils.cpp_extension")  # of a CUDA compiler nobody needs
    with _levels({chatter.name: logging.ERROR}):
        return str(collect_env_info())


@contextmanager
def _levels(levels: dict[str, int]) -> Iterator[None]:
    former = {name: logging.getLogger(name).level for name in levels}
    for name, level in levels.items():
        logging.getLogger(name).setLevel(level)
    try:
        yield
    finally:
        for name, level in former.items():
            logging.getLogger(name).setLevel(level)


class _Plain(logging.Formatter):
    def format(self, record: logging.LogRecord) -> str:
        return _COLOUR.sub("", super().format(record))
