"""What goes wrong on the way and is tried again, for whoever watches."""


class Trouble:
    """Failures that may pass, of all stores that share it."""

    def __init__(self) -> None:
        self.num_retries = 0
        """How many tries were followed by another one."""
        self.reason = ""
        """Why the newest of them failed."""

    def note(self, reason: str) -> None:
        """Note a failed try that another one follows."""
        self.num_retries += 1
        self.reason = reason

    def __str__(self) -> str:
        if not self.num_retries:
            return ""
        times = "try" if self.num_retries == 1 else "tries"
        return f"{self.num_retries:,} {times} again, the last: {self.reason}"
