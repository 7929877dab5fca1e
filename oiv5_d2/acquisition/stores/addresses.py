"""Addresses of buckets that are asked over a network: which will do, and what of one is printed."""

import re
from collections.abc import Collection
from urllib.parse import urlsplit

_REMOTE = ("http", "https", "s3")


def check_address(address: str, schemes: Collection[str] = _REMOTE) -> None:
    """Refuse an address that is none, or holds what is never sent.

    Args:
        address: ``scheme://host[:port]/path``.
        schemes: the ones that will do.

    Raises:
        ValueError: it will not do; the message has its scheme and host only, as what else stands
            there may be secret.
    """
    scheme, _, rest = address.partition("://")
    authority, *path = re.split("[/?#]", rest, maxsplit=1)
    _, at, host = authority.rpartition("@")
    if "@" in "".join(path):
        host = "..."  # what stands here may be the beginning of a password that has a '/' or '?'
    if at:
        raise ValueError(
            f"the address of {scheme}://{host} holds a user's name or password, which is never"
            " sent: give it without"
        )
    try:
        parts = urlsplit(address)
        is_sound = parts.scheme in schemes and parts.hostname and parts.port != 0
    except ValueError:
        is_sound = False
    if not is_sound or not address.isascii() or " " in address or parts.query or parts.fragment:
        raise ValueError(
            f"'{scheme}://{host}' is no address of a bucket: give a folder,"
            " http(s)://host[:port]/path or s3://bucket/prefix, in ASCII, without space, password"
            " or query"
        )
