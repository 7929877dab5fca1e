"""How remote buckets are asked, and obstore's stores for them.

They are asked unsigned, and neither proxies, endpoints nor credentials are taken from the
environment, unless `Transfer` says so.
"""

import os
import re
import ssl
import urllib.error
import urllib.request
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any
from urllib.parse import unquote, urlsplit

import pandas as pd
from obstore import exceptions
from obstore.store import HTTPStore, LocalStore, S3Store, from_url

from oiv5_d2.problems import Kind, Problem, Remedy

_ADDRESS = re.compile(r"(https?|s3|gs|az)://([\w.-]+|\[[\da-f:]+\])(:\d+)?(/[^\s?#]*)?", re.ASCII)
# A proxy that no address needs: otherwise obstore takes the environment's.
_NO_PROXY = {"proxy_url": "http://127.0.0.1", "proxy_excludes": "*,0.0.0.0/0,::/0"}


@dataclass
class Transfer:
    """How remote buckets are asked; all but `connections` are obstore's own keyword arguments."""

    connections: int = 32  # requests under way at a time
    client_options: dict[str, Any] = field(default_factory=dict)  # of `obstore.store.ClientConfig`
    retry_config: dict[str, Any] = field(default_factory=dict)
    """Of `obstore.store.RetryConfig`; durations are texts such as "10s"."""
    store: dict[str, Any] = field(default_factory=dict, repr=False)
    """Of the cloud's own store, `S3Store`, `GCSStore`, `AzureStore`: region, skip_signature, ..."""

    def __post_init__(self) -> None:
        if self.connections < 1:
            detail = f"{self.connections} is below 1"
            raise _refused_setting("transfer.connections", detail, "transfer.connections")


def folder_of(location: str) -> Path | None:
    """Return the folder that a location is, plainly or as ``file:///folder``; None for another."""
    scheme, separator, rest = location.partition("://")
    if not separator:
        return Path(location)
    return Path(unquote(rest.removeprefix("localhost"))) if scheme.lower() == "file" else None


def check_address(address: str) -> None:
    """Refuse an address that is not valid, or that holds what is never sent.

    Raises:
        Problem: SETTING. It has the address's scheme and host only: the rest may be secret.
    """
    if address.isascii() and _ADDRESS.fullmatch(address):
        return
    scheme, _, rest = address.partition("://")
    authority, *path = re.split("[/?#]", rest, maxsplit=1)
    _, at, host = authority.rpartition("@")
    if "@" in "".join(path) and not at:
        host = "..."  # it may be the beginning of a password that has a '/' or '?'
    fault = "it has a query or a fragment" if re.search("[?#]", address) else "not an address"
    fault = "it holds a user's name or password" if at else fault
    raise _refused_setting(f"{scheme}://{host}", fault, "data.source data.images data.annotations")


def _refused_setting(subject: str, detail: str, key: str) -> Problem:
    return Problem(Kind.SETTING, subject, detail, key=key, remedy=Remedy.CHANGE_SETTING)


def open_store(location: str, transfer: Transfer) -> Any:
    """Return obstore's store at a location.

    An unsigned bucket follows redirects. Of a signed request obstore drops the signature on the
    way to another host, but not a session token. So an S3 bucket that signs is first asked
    unsigned, and refused if it redirects. A server that redirects only signed requests, or only
    some files, is not found by this.

    Raises:
        Problem: ABSENT, there is no such folder; SETTING, the address or a setting is not valid, or
            there is no key to sign with; REFUSED or UNREACHABLE, see above.
    """
    folder = folder_of(location)
    if folder is not None:
        if not folder.is_dir():
            raise Problem(Kind.ABSENT, folder, key="data.source", remedy=Remedy.CHECK_ADDRESS)
        return LocalStore(folder.absolute())
    check_address(location)
    try:
        store = _open_remote(location, transfer)
    except (exceptions.BaseError, TypeError, ValueError) as error:
        keys = "transfer.client_options transfer.retry_config transfer.store"
        raise _refused_setting(location, facts_of(error), keys) from error
    if location.startswith("s3") and not transfer.store.get("skip_signature", True):
        has_key = "access_key_id" in transfer.store
        if not has_key and not any(name.startswith("AWS_") for name in os.environ):
            detail = "not set in the environment"
            raise _refused_setting("AWS_ACCESS_KEY_ID", detail, "transfer.store.skip_signature")
        _refuse_redirects(location, transfer)
    return store


def _open_remote(location: str, transfer: Transfer) -> Any:
    client = {"allow_http": True, "user_agent": "oiv5_d2", **transfer.client_options}
    if "proxy_url" not in client:
        client |= _NO_PROXY
    options = {"client_options": client, "retry_config": _durations(transfer.retry_config)}
    scheme, _, rest = location.partition("://")
    if scheme in ("http", "https"):
        return HTTPStore(location, **options)
    if scheme == "s3":  # `from_url` does not take the endpoint
        name, _, prefix = rest.strip("/").partition("/")
        options |= _s3_options(transfer)
        return S3Store(name, prefix=prefix or None, **options)
    options |= {"skip_signature": True, **transfer.store}
    options.pop("region", None)  # only S3 has regions
    return from_url(location, **options)


def _s3_options(transfer: Transfer) -> dict[str, Any]:
    """Return the options of an S3 store, with all that the environment would give otherwise."""
    options = {"skip_signature": True, "region": "us-east-1", **transfer.store}
    endpoint = options.get("endpoint", f"https://s3.{options['region']}.amazonaws.com")
    fixed = {"endpoint": endpoint, "aws_endpoint_url_s3": endpoint}  # the environment has both
    return {"virtual_hosted_style_request": False, **options, **fixed}


def _durations(value: Any) -> Any:
    """Turn texts such as "10s" or "200ms" into durations, wherever they stand."""
    if isinstance(value, dict):
        return {key: _durations(each) for key, each in value.items()}
    return pd.Timedelta(value).to_pytimedelta() if isinstance(value, str) else value


def _refuse_redirects(location: str, transfer: Transfer) -> None:
    """Ask an S3 bucket, unsigned, whether it redirects; see `open_store`."""
    endpoint = _s3_options(transfer)["endpoint"].rstrip("/")
    url = f"{endpoint}/{location.partition('://')[2].rstrip('/')}"
    client = transfer.client_options
    context = ssl.create_default_context(cadata=client.get("root_certificate"))
    proxies = {scheme: client["proxy_url"] for scheme in ("http", "https") if "proxy_url" in client}
    opener = urllib.request.build_opener(
        urllib.request.ProxyHandler(proxies), urllib.request.HTTPSHandler(context=context), _Stay
    )
    try:
        opener.open(urllib.request.Request(url, method="HEAD"), timeout=30).close()
    except urllib.error.HTTPError as answer:
        answer.close()
        if target := answer.headers.get("Location"):
            detail = f"it redirects to {urlsplit(target).netloc.rpartition('@')[2]}"
            remedy = Remedy.CHANGE_SETTING
            raise Problem(Kind.REFUSED, url, detail, key="transfer.store", remedy=remedy) from None
    except OSError as error:
        raise Problem(Kind.UNREACHABLE, url, str(error), remedy=Remedy.RUN_AGAIN) from error


class _Stay(urllib.request.HTTPRedirectHandler):
    def redirect_request(self, *args: Any) -> None:
        """Follow no redirect."""


def facts_of(error: Exception) -> str:
    """Return obstore's words without address, duration and debugging, and the cause if any."""
    line, _, debug = str(error).partition("\n")
    causes = re.findall(r'message: "([^"\n]+)"|(InvalidCertificate)', debug)
    return ": ".join([line.rpartition(" - ")[2][:200], *map("".join, causes[-1:])])
