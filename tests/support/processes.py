"""Waiting for what another process does."""

import subprocess
import time
from collections.abc import Callable


def wait_until(
    is_so: Callable[[], object], process: subprocess.Popen, seconds: float = 120
) -> None:
    """Wait for a sign of a process that must not end before.

    Args:
        is_so: tells whether the sign is there.
        process: what should give it.
        seconds: far longer than a busy machine takes; only what never comes is given up.
    """
    deadline = time.monotonic() + seconds
    while not is_so():
        assert process.poll() is None, f"it ended with {process.returncode} before its sign"
        assert time.monotonic() < deadline, f"it gave no sign within {seconds} s"
        time.sleep(0.005)
