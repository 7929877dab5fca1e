"""Which redirects are followed."""

from urllib.parse import SplitResult, urlsplit

_MAX_HOPS = 5


def refused_redirect(
    url: str, target: str, num_hops: int, follow: bool, is_signed: bool = False
) -> str:
    """Return why a redirect is not followed; "" where it is.

    Args:
        url: what was asked for.
        target: where the server points to, as a whole URL.
        num_hops: how many redirects were followed already.
        follow: other hosts and plain HTTP will do.
        is_signed: the request was, so that `follow` can't be set; S3 redirects what belongs to
            another region.
    """
    if num_hops >= _MAX_HOPS:
        return f"redirects more than {_MAX_HOPS} times"
    try:
        here, there = urlsplit(url), urlsplit(target)
        is_same_port = _port(here) == _port(there)
    except ValueError:
        return "redirects to an address that is none: refused"
    if there.scheme not in ("http", "https") or not there.hostname:
        return f"redirects to something else than HTTP ({there.scheme}): refused"
    if "@" in there.netloc:
        return "redirects to an address with a user's name: refused"
    if follow:
        return ""
    remedy = "set transfer.s3_endpoint" if is_signed else "set transfer.follow_redirects"
    if (here.scheme, there.scheme) == ("https", "http"):
        return f"redirects from https to plain http: refused, {remedy}"
    if there.hostname != here.hostname or not is_same_port:
        remedy += " and s3_region" if is_signed else ""
        return f"redirects to another host ({there.netloc}): refused, {remedy}"
    return ""


def _port(parts: SplitResult) -> int:
    """Return the port; plain HTTP's own counts as HTTPS's, to which servers move."""
    return 443 if parts.port in (None, 80) else parts.port or 0
