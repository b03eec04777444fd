"""Where a registry is, and what in it is meant, as people write it.

::

    localhost:5000
    https://registry.example.com/hold              a registry below a path
    localhost:5000/team/app                        a repository
    localhost:5000/team/app:1.0                    one of its images, by tag
    registry.example.com/team/app@sha256:4f0a...   or by digest
"""

from __future__ import annotations

import re

import click
import msgspec

from cargohold.types.addresses import parse_address
from cargohold.types.digest import Digest
from cargohold.types.errors import DigestInvalid, NameInvalid, TagInvalid
from cargohold.types.names import RepositoryName, Tag

_EXAMPLE = "localhost:5000/team/app:1.0"
_LOGIN = re.compile(r"(?:[a-z]+://)?[^/@]*@(?!sha(?:256|512):)")
_ADDRESS = re.compile(
    r"(?:(?P<scheme>https?)://)?"
    r"(?P<name>\[[0-9A-Fa-f:.]+\]|[A-Za-z0-9.-]+)(?P<port>:[0-9]{1,5})?"
    r"(?P<path>/[^?#@\s]*(?:@[^/?#@\s]+)?)?"
)


class Address(msgspec.Struct, frozen=True):
    """A registry: `host` is its name, with the port where one was written; `prefix` stands before its `/v2/`."""

    scheme: str
    host: str
    prefix: str

    @property
    def origin(self) -> str:
        """Scheme and host."""
        return f"{self.scheme}://{self.host}"

    def __str__(self) -> str:
        return f"{self.host}{self.prefix}"


class Place(msgspec.Struct, frozen=True):
    """A repository of a registry, and an image in it where one was named."""

    address: Address
    repository: RepositoryName
    tag: Tag | None = None
    digest: Digest | None = None

    @property
    def reference(self) -> Tag | Digest | None:
        """The digest where there are both: a tag beside it is for people alone."""
        return self.digest or self.tag

    def __str__(self) -> str:
        tag, digest = f":{self.tag}" if self.tag else "", f"@{self.digest}" if self.digest else ""
        return f"{self.address}/{self.repository}{tag}{digest}"


def parse_registry(text: str, *, plain_http: bool) -> Address:
    """The registry that a text names. Raises click.UsageError."""
    match = _match(text, "localhost:5000")
    return _address(match, (match["path"] or "").rstrip("/"), plain_http=plain_http)


def parse_place(text: str, prefix: str, *, plain_http: bool) -> Place:
    """The repository or image that a text names, of a registry whose `/v2/` is below `prefix`.

    Raises click.UsageError, with the part of the text that cannot be so.
    """
    match = _match(text, _EXAMPLE)
    if (match["path"] or "/") == "/":
        raise click.UsageError(
            f"{text!r} names a registry alone; write what is meant of it, as in {_EXAMPLE}"
        )
    name, _, digest = (match["path"] or "").removeprefix("/").partition("@")
    folder, slash, last = name.rpartition("/")
    last, colon, tag = last.partition(":")
    try:
        return Place(
            _address(match, _prefix(prefix), plain_http=plain_http),
            RepositoryName(f"{folder}{slash}{last}"),
            Tag(tag) if colon else None,
            Digest(digest) if digest else None,
        )
    except (NameInvalid, TagInvalid, DigestInvalid) as error:
        raise click.UsageError(f"{text!r}: {error.message}") from None


def is_loopback(host: str) -> bool:
    """Whether a host, with or without its port, is this machine by its name."""
    address = parse_address(host)
    if address is not None:
        return address.is_loopback
    name = host.partition(":")[0].lower()
    return name == "localhost" or name.endswith(".localhost")


def _match(text: str, example: str) -> re.Match[str]:
    if _LOGIN.match(text):  # which is not repeated in the message
        raise click.UsageError("an address holds no login: name the user with --user")
    match = _ADDRESS.fullmatch(text)
    if match is None:
        raise click.UsageError(f"{text!r} is not understood; write it as in {example}")
    name = match["name"]
    # As docker has it: what has neither dot nor port is the beginning of a repository's name.
    if not (match["scheme"] or match["port"] or "." in name or name[0] == "[" or name == "localhost"):
        raise click.UsageError(f"{text!r} does not begin with a registry; write it as in {example}")
    return match


def _address(match: re.Match[str], prefix: str, *, plain_http: bool) -> Address:
    host = f"{match['name']}{match['port'] or ''}".lower()
    plain = plain_http or is_loopback(host)
    return Address(match["scheme"] or ("http" if plain else "https"), host, prefix)


def _prefix(text: str) -> str:
    """Of what stands before `/v2/`, whether or not it was written with its slashes."""
    path = text.strip("/")
    return f"/{path}" if path else ""
