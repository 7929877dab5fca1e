"""What signs requests to a bucket of S3 that not everybody may read, where a user asks for it."""

import os
from dataclasses import dataclass, field
from typing import Any

import pycurl


@dataclass(frozen=True)
class Signature:
    """A key of S3's; AWS Signature Version 4, by libcurl. The secret itself is never sent."""

    region: str
    key_id: str
    secret: str = field(repr=False)
    token: str = field(default="", repr=False)
    """Of a key that is valid for some hours only."""

    def options(self) -> dict[int, Any]:
        """Return the options with which libcurl signs every request."""
        return {
            pycurl.AWS_SIGV4: f"aws:amz:{self.region}:s3",
            pycurl.USERNAME: self.key_id,
            pycurl.PASSWORD: self.secret,
        }

    def headers(self) -> list[str]:
        """Return what every request has to have beside it."""
        return [f"x-amz-security-token: {self.token}"] if self.token else []


def read_signature(region: str) -> Signature:
    """Return the key that the environment holds, under the names that all tools of S3 know.

    Raises:
        ValueError: it holds none.
    """
    names = ("AWS_ACCESS_KEY_ID", "AWS_SECRET_ACCESS_KEY", "AWS_SESSION_TOKEN")
    key_id, secret, token = (os.environ.get(name, "") for name in names)
    for name, value in zip(names, (key_id, secret), strict=False):
        if not value:
            raise ValueError(f"transfer.sign_s3: {name} is not set in the environment")
    return Signature(region, key_id, secret, token)
