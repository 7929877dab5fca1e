"""Which redirects are followed."""

from urllib.parse import urlsplit

_MAX_HOPS = 5


def refused_redirect(url: str, target: str, num_hops: int, follow: bool) -> str:
    """Return why a redirect is not followed; "" where it is.

    Args:
        url: what was asked for.
        target: where the server points to, as a whole URL.
        num_hops: how many redirects were followed already.
        follow: other hosts and plain HTTP will do.
    """
    here, there = urlsplit(url), urlsplit(target)
    if num_hops >= _MAX_HOPS:
        return f"redirects more than {_MAX_HOPS} times"
    if there.scheme not in ("http", "https") or not there.hostname:
        return f"redirects to something else than HTTP ({there.scheme}): refused"
    if "@" in there.netloc:
        return "redirects to an address with a user's name: refused"
    if follow:
        return ""
    if (here.scheme, there.scheme) == ("https", "http"):
        return "redirects from https to plain http: refused, set transfer.follow_redirects"
    if there.hostname != here.hostname or _port(url) != _port(target):
        return f"redirects to another host ({there.netloc}): refused, set transfer.follow_redirects"
    return ""


def _port(url: str) -> int:
    """Return the port; plain HTTP's own counts as HTTPS's, to which servers move."""
    port = urlsplit(url).port
    return 443 if port in (None, 80) else port
