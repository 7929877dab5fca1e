"""What a user sees when something is wrong: one line, never a page of frames."""

import functools
import logging
import os
import sys
from collections.abc import Callable
from typing import ParamSpec, TypeVar

P = ParamSpec("P")
R = TypeVar("R")

TRACEBACK_SWITCHES = ("OIV5_D2_TRACEBACK", "HYDRA_FULL_ERROR")


def one_line_errors(task: Callable[P, R]) -> Callable[P, R]:
    """Decorate a tool's task so that a user's mistake ends it with one line and exit code 1.

    The package raises ``ValueError`` and ``OSError`` for what a user can mend; their message says
    what is wrong, where, and the remedy. Anything else is a fault of ours and keeps its traceback.
    """

    @functools.wraps(task)
    def run(*args: P.args, **kwargs: P.kwargs) -> R:
        try:
            return task(*args, **kwargs)
        except (OSError, ValueError) as error:
            if any(os.environ.get(switch) == "1" for switch in TRACEBACK_SWITCHES):
                raise
            logging.getLogger(__name__).debug("The traceback of the error", exc_info=error)
            print(f"error: {error}", file=sys.stderr)
            raise SystemExit(1) from None

    return run
