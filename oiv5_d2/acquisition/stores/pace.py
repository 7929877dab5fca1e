"""A cap on bytes a second."""

import threading
import time


class Pace:
    """A cap that connections of any thread share: whoever took too much waits.

    Args:
        max_bytes_per_second: the cap; None for none.
    """

    def __init__(self, max_bytes_per_second: int | None) -> None:
        self.max_bytes_per_second = max_bytes_per_second
        self._free_at = 0.0  # when what was taken so far is paid, by time.monotonic
        self._lock = threading.Lock()

    def take(self, num_bytes: int, deadline: float = float("inf")) -> None:
        """Wait until what was taken before is paid, then take `num_bytes`.

        No longer than to `deadline`, by `time.monotonic`.
        """
        if self.max_bytes_per_second is None:
            return
        with self._lock:
            begin = max(self._free_at, time.monotonic())
            self._free_at = begin + num_bytes / self.max_bytes_per_second
        time.sleep(max(0.0, min(begin, deadline) - time.monotonic()))
