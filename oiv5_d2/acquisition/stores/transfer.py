"""How a remote store is asked: how much at a time, how patiently, how often again."""

import random
import time
from dataclasses import dataclass
from functools import cached_property

from oiv5_d2.acquisition.stores.pace import Pace
from oiv5_d2.jobs import Trouble

_MOST_CONNECTIONS = 500  # select(2), on which they are waited for, ends at 1024 files
_LONGEST_PAUSE_SECONDS = 30.0
_LONGEST_WISH_SECONDS = 120.0  # of a server that says when to come back


@dataclass
class Transfer:
    """The settings of remote stores; those that share one share its cap and its deadline.

    Not frozen: OmegaConf fills it, which checks the types.
    """

    connections: int = 32
    """Requests under way at a time, of each store; 500 at most."""
    tries: int = 6
    """Of a request that fails in a way that may pass."""
    pause_seconds: float = 0.5
    """The longest before the second try; it doubles with each further one, up to 30 s."""
    connect_seconds: float = 10.0
    request_seconds: float = 120.0
    """Of one try at a file; at a part of more than a MiB, of each MiB of it."""
    stalled_seconds: float = 20.0
    """Without anything to speak of arriving; at least 1."""
    deadline_seconds: float | None = None
    """Of all requests together, counted from the opening of the first store; None for no end."""
    max_bytes_per_second: int | None = None
    """Over all connections of all stores; None for no cap."""
    max_file_bytes: int = 64 << 20
    """The most that a file which is read into memory whole may have."""
    follow_redirects: bool = False
    """To other hosts and from https to http too."""
    s3_endpoint: str = "https://s3.amazonaws.com"
    """What ``s3://`` stands for."""
    sign_s3: bool = False
    """Sign requests to ``s3://`` with the environment's ``AWS_ACCESS_KEY_ID`` and
    ``AWS_SECRET_ACCESS_KEY``; otherwise buckets are read as everybody may read them."""
    s3_region: str = "us-east-1"
    """Of a signed bucket."""
    proxy: str = ""
    """The URL of a proxy; "" for none, whatever the environment says."""
    ca_file: str = ""
    """Certificates that are trusted instead of the system's."""

    def __post_init__(self) -> None:
        for name in ("connections", "tries", "max_file_bytes"):
            if getattr(self, name) < 1:
                raise ValueError(f"transfer.{name}={getattr(self, name)}: it has to be at least 1")
        if self.connections > _MOST_CONNECTIONS:
            raise ValueError(
                f"transfer.connections={self.connections}: {_MOST_CONNECTIONS} at most"
            )
        if self.sign_s3 and self.follow_redirects:
            raise ValueError(
                "transfer.follow_redirects=true: not with transfer.sign_s3, another host is not to"
                " get what is signed for yours. Set one of them"
            )
        for name in ("pause_seconds", "connect_seconds", "request_seconds", "stalled_seconds"):
            if getattr(self, name) <= 0:
                raise ValueError(f"transfer.{name}={getattr(self, name)}: it has to be above 0")
        for name in ("deadline_seconds", "max_bytes_per_second"):
            limit = getattr(self, name)
            if limit is not None and limit <= 0:
                raise ValueError(f"transfer.{name}={limit}: it has to be above 0, or null")

    @cached_property
    def pace(self) -> Pace:
        """The cap that all stores share."""
        return Pace(self.max_bytes_per_second)

    @cached_property
    def trouble(self) -> Trouble:
        """What all stores had to try again."""
        return Trouble()

    @cached_property
    def deadline(self) -> float:
        """When all has to be over, by `time.monotonic`; fixed when it is first asked for."""
        return time.monotonic() + (self.deadline_seconds or float("inf"))

    def pause(self, num_tries: int, wish: float | None, chance: random.Random) -> float:
        """Return how long to wait before trying again.

        The pause is drawn evenly from what doubles with each try, so that many requests that
        failed together do not come back together.

        Args:
            num_tries: how often it failed, from 1.
            wish: the seconds that the server asks for, which is waited for up to two minutes;
                None where it does not.
            chance: draws the pause.
        """
        longest = min(self.pause_seconds * 2.0 ** min(num_tries - 1, 30), _LONGEST_PAUSE_SECONDS)
        pause = chance.uniform(0, longest)
        return pause if wish is None else min(wish, _LONGEST_WISH_SECONDS) + pause
