"""What comes in and what goes out, as values: a request, and the answers that a route may give.

They stand below both `routes` and `http`: routes return answers, the adapters of `http` speak to a server.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Final, Protocol

import msgspec

from cargohold.auth.identity import EVERYONE, Identity
from cargohold.types.operations import Operation

if TYPE_CHECKING:
    from collections.abc import AsyncIterator


Headers = list[tuple[str, str]]

REQUEST_ID_HEADER: Final = "x-request-id"
"""Bears the id of a request: the client's own, and that of an answer, where the adapters of servers add it."""


class RequestHeaders(Protocol):
    """The headers of a request; names are given in lower case. Values that are not ASCII are left out.

    Nobody changes the lists: they may be those of other requests too.
    """

    def __contains__(self, name: str) -> bool:
        """Whether a line has that name, also where its value is left out."""
        ...

    def get(self, key: str, /) -> str | None:
        """The first value of that name; None where there is none, or where the first line's is left out.

        Where a later line's is left out, a server of RSGI does not tell; of ASGI, it is None as well.
        """
        ...

    def get_all(self, key: str) -> list[str]:
        """The value of each line of that name, in their order."""
        ...

    def values(self) -> list[str]:
        """The value of each line."""
        ...


class Body(Protocol):
    """A request's body, to be read once; `received` is how many bytes of it have come."""

    received: int

    def __aiter__(self) -> AsyncIterator[bytes | memoryview]:
        """The pieces as they arrive, none of them empty.

        Raises SizeInvalid where the body ends before it is whole, and BodyTimeout where the client sends nothing
        for too long; never ends as if a truncated body were complete.
        """
        ...


class Request(msgspec.Struct, eq=False):
    """One request, as the server's adapter read it.

    `path` is percent-decoded, `query` is not; `client` is an address or empty (Unix socket); `length` is the
    announced length of the body in bytes, None where it was not announced (chunked). `host` is what the client
    calls the server, with the port, or empty. `width` is how many characters the values of all headers have together.
    `identity` is who asks: everyone, until the guard has found out. `operation` is what is asked: None, until the
    router has found out. `id` is what logs, traces and the answer call the request: plain words, or empty.
    """

    method: str
    path: str
    query: str
    headers: RequestHeaders
    body: Body
    length: int | None = None
    client: str = ""
    scheme: str = "http"
    host: str = ""
    width: int = 0
    identity: Identity = EVERYONE
    operation: Operation | None = None
    id: str = ""


def id_headers(request: Request) -> Headers:
    """What an answer says of the request's id."""
    return [(REQUEST_ID_HEADER, request.id)] if request.id else []


class Empty(msgspec.Struct, frozen=True):
    """No body. A `content-length` among the headers is sent as it stands (the answer to a HEAD)."""

    status: int
    headers: Headers


class Bytes(msgspec.Struct, frozen=True):
    """A body that is in memory; its length is added by the adapter."""

    status: int
    headers: Headers
    body: bytes


class File(msgspec.Struct, frozen=True):
    """A body that is a file, or its bytes from `start` up to but not including `stop`; stop 0: up to the end.

    The headers carry the `content-length`. The path is opened after the route has returned.
    """

    status: int
    headers: Headers
    path: str
    start: int = 0
    stop: int = 0


Answer = Empty | Bytes | File


def _plain(value: object) -> str:
    """Names and digests are strings of their own types, which the encoder does not take for strings."""
    if isinstance(value, str):
        return str(value)
    raise TypeError(f"{type(value).__name__} has no form in JSON")


encode_json = msgspec.json.Encoder(enc_hook=_plain).encode
"""A value as JSON, in UTF-8 and without spaces."""
