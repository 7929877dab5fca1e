"""What can go wrong for a user, as data. The sentence and the remedy are made once, at the screen.

Code below the tools raises a `Problem`: what kind it is, what it is about, the facts, and which
remedy helps. `console.errors` turns that into words. Nothing ever reads meaning back out of prose.
"""

import signal
from enum import StrEnum, auto
from functools import partial


class Kind(StrEnum):
    """What is wrong."""

    ABSENT = auto()
    """A file, folder or name that has to exist does not."""
    BUSY = auto()
    """Another process is at work there."""
    CHANGED = auto()
    """A file is no longer the one that it was."""
    DAMAGED = auto()
    """A file is cut short, or not what its format or checksum says."""
    DISK_FULL = auto()
    DIVERGED = auto()
    """A training's losses are no longer numbers."""
    EMPTY = auto()
    """Nothing is left after the filters."""
    FAILED = auto()
    """A process ended with an error of our code's."""
    FOREIGN = auto()
    """A file was not made by these tools, and would be replaced or removed."""
    MISMATCH = auto()
    """Two things that have to agree do not."""
    REFUSED = auto()
    """A server or the system does not allow it."""
    SETTING = auto()
    """A setting is unknown, or its value has no meaning."""
    STOPPED = auto()
    """A process was ended from outside."""
    TOO_LARGE = auto()
    TOO_MANY = auto()
    """More files are missing, or more errors were found, than allowed."""
    UNFINISHED = auto()
    """A run or a preparation has not come to its end."""
    UNREACHABLE = auto()
    """No answer from a server, or an error that may be temporary."""
    UNSUPPORTED = auto()
    """A format or a server feature that is not handled here."""


class Remedy(StrEnum):
    """What helps; `console.errors` has the words."""

    ADD_FILES = auto()
    CHANGE_SETTING = auto()
    CHECK_ADDRESS = auto()
    EVALUATE = auto()
    FETCH_AGAIN = auto()
    FEWER_WORKERS = auto()
    FIX_IMAGE_LIST = auto()
    FIX_LINE = auto()
    FIX_SOURCE = auto()
    FOLLOW_FINDINGS = auto()
    FREE_DISK = auto()
    LAY_OUT_SOURCE = auto()
    MOVE_AWAY = auto()
    NONE = auto()
    OWN_IMAGES = auto()
    PACK_AGAIN = auto()
    PREPARE = auto()
    PREPARE_AGAIN = auto()
    RETRY_FAILED = auto()
    REPACK_ZIP = auto()
    RESUME = auto()
    RUN_AGAIN = auto()
    SAVE_AS_PNG = auto()
    SAVE_AS_UTF8 = auto()
    SAVE_WEIGHTS = auto()
    TRAIN = auto()
    WAIT = auto()


class Problem(Exception):
    """Something that a user can fix.

    Args:
        kind: what is wrong.
        subject: the file, address or setting that it is about, as a user would type it.
        detail: the facts in a few words, such as "line 3: 9 fields instead of 10"; no remedy.
        key: the settings to change, such as "data.shares"; several are separated by a space.
        remedy: what helps.
    """

    def __init__(
        self,
        kind: Kind,
        subject: object,
        detail: str = "",
        *,
        key: str = "",
        remedy: Remedy = Remedy.NONE,
    ) -> None:
        super().__init__(kind, str(subject), detail)
        self.kind, self.subject, self.detail = kind, str(subject), detail
        self.key, self.remedy = key, remedy

    def __str__(self) -> str:
        return ": ".join(filter(None, (str(self.kind), self.subject, self.detail)))

    def __reduce__(self) -> tuple[object, ...]:
        """Keep key and remedy on the way out of a worker process."""
        remake = partial(Problem, key=self.key, remedy=self.remedy)
        return remake, (self.kind, self.subject, self.detail)


def wrong_setting(key: str, value: object, detail: str, *, change: str = "") -> Problem:
    """Return the problem of a setting that is unknown here, or whose value has no meaning.

    Args:
        key: of the setting, such as "data.shares".
        value: as a user would type it.
        detail: what is wrong with it, in a few words.
        change: the settings to change, as in `Problem`; `key` if not given.
    """
    subject, remedy = f"{key}={value}", Remedy.CHANGE_SETTING
    return Problem(Kind.SETTING, subject, detail, key=change or key, remedy=remedy)


TRY_AGAIN = 75  # the exit code of a process that was ended from outside (EX_TEMPFAIL of BSD)


class Stopped(SystemExit):
    """A training run was ended by a signal; the exit code is 128 and the signal's number.

    Args:
        number: of the signal.
        run_dir: the run's folder.
        num_steps: made so far, and in a checkpoint on disk; None where that is not known.
    """

    def __init__(self, number: int, run_dir: str, num_steps: int | None = None) -> None:
        super().__init__(128 + number)
        self.signal, self.run_dir, self.num_steps = signal.Signals(number), run_dir, num_steps

    def __reduce__(self) -> tuple[object, ...]:
        """Keep what it is about on the way out of a worker process."""
        return Stopped, (int(self.signal), self.run_dir, self.num_steps)
