"""The whole registry over a store in memory, called without a socket."""

from __future__ import annotations

import asyncio
import json
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from cargohold.app import handler
from cargohold.app.gate import Gate, prepare
from cargohold.config import Settings
from cargohold.config.checks import asks_for_login
from cargohold.messages import Bytes, Empty, Request
from cargohold.storage.filesystem import FilesystemStore
from cargohold.storage.memory import MemoryStore
from tests.registry.documents import CONFIG, LAYER, sha256

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Mapping, Sequence

    from cargohold.http.exchange import Handler
    from cargohold.messages import Answer
    from cargohold.storage.protocols import Store


class Lines:
    """The header lines of a request; values that are not ASCII are left out, as every adapter does."""

    def __init__(self, lines: Sequence[tuple[str, str]]) -> None:
        self._first = {name.lower(): value for name, value in reversed(lines)}  # as servers have it
        self._lines = [(name.lower(), value) for name, value in lines if value.isascii()]

    def __contains__(self, name: str) -> bool:
        return name in self._first

    def get(self, key: str) -> str | None:
        value = self._first.get(key)
        return value if value is not None and value.isascii() else None

    def get_all(self, key: str) -> list[str]:
        return [value for name, value in self._lines if name == key]

    def values(self) -> list[str]:
        return [value for _, value in self._lines]


class Pieces:
    """A body in pieces; `error`, where given, is raised after the last."""

    def __init__(self, pieces: Sequence[bytes], error: BaseException | None = None) -> None:
        self.pieces = list(pieces)
        self.received = 0
        self._error = error

    async def __aiter__(self) -> AsyncIterator[bytes]:
        while self.pieces:
            piece = self.pieces.pop(0)
            self.received += len(piece)
            yield piece
        if self._error is not None:
            raise self._error


@dataclass(frozen=True)
class Reply:
    """An answer as a client sees it: header names in lower case."""

    status: int
    headers: list[tuple[str, str]]
    body: bytes

    def __getitem__(self, name: str) -> str:
        (value,) = self.all(name)
        return value

    def __contains__(self, name: str) -> bool:
        return bool(self.all(name))

    def all(self, name: str) -> list[str]:
        return [value for key, value in self.headers if key == name]

    @property
    def lasting(self) -> list[tuple[str, str]]:
        """The headers that another answer of the same kind has too: all but the request's id."""
        return [line for line in self.headers if line[0] != "x-request-id"]

    @property
    def json(self) -> Any:
        assert self["content-type"].startswith("application/"), self
        return json.loads(self.body)

    @property
    def error(self) -> tuple[int, str]:
        """Status and code of the one error that it bears, whose form is checked."""
        (entry,) = self.errors
        return self.status, entry["code"]

    @property
    def errors(self) -> list[dict[str, Any]]:
        assert self["content-type"] == "application/json"
        assert self.json.keys() == {"errors"}
        errors: list[dict[str, Any]] = self.json["errors"]
        assert errors
        for entry in errors:
            assert {"code", "message"} <= entry.keys() <= {"code", "message", "detail"}
            assert entry["message"]
        return errors


def request(
    method: str,
    target: str,
    headers: Mapping[str, str] | Sequence[tuple[str, str]] = (),
    body: bytes | Pieces = b"",
) -> Request:
    """A request as an adapter makes it; a body in Pieces is of no announced length, as with chunked encoding."""
    lines = list(headers.items()) if hasattr(headers, "items") else list(headers)
    length = None if isinstance(body, Pieces) else len(body)
    pieces = body if isinstance(body, Pieces) else Pieces([body] if body else [])
    path, _, query = target.partition("?")
    return Request(
        method, path, query, Lines(lines), pieces, length=length, width=sum(len(value) for _, value in lines)
    )


def answered(handler: Handler, asked: Request) -> Answer:
    """What a handler answers, in a loop of its own."""

    async def answer() -> Answer:
        return await handler(asked)

    return asyncio.run(answer())


class Registry:
    """A registry with these settings; without a store, an empty one."""

    def __init__(self, settings: Settings | None = None, store: Store | None = None) -> None:
        self.store = store or MemoryStore()
        self._settings = settings or Settings()
        if asks_for_login(self._settings):
            # What logins keep on disk lies where the content would lie too.
            FilesystemStore(self._settings.storage.path).prepare()
        prepare(self._settings)
        self._handler = handler(self._settings, self.store, Gate(self._settings))

    async def handle(self, asked: Request) -> Answer:
        """What an adapter sends."""
        answer = await self._handler(asked)
        answer.headers.extend(self._settings.http.headers.items())
        return answer

    def ask(
        self,
        method: str,
        target: str,
        headers: Mapping[str, str] | Sequence[tuple[str, str]] = (),
        body: bytes | Pieces = b"",
    ) -> Reply:
        """One request and its answer."""
        answer = answered(self.handle, request(method, target, headers, body))
        lines = [(name.lower(), str(value)) for name, value in answer.headers]
        match answer:
            case Bytes():
                return Reply(answer.status, lines, answer.body)
            case Empty():
                return Reply(answer.status, lines, b"")
        raise AssertionError("a store in memory has no files")

    def push_blob(self, repository: str, content: bytes, digest: str | None = None) -> str:
        digest = digest or sha256(content)
        reply = self.ask("POST", f"/v2/{repository}/blobs/uploads/?digest={digest}", body=content)
        assert reply.status == 201, reply
        return digest

    def push_layers(self, repository: str) -> None:
        """The blobs that `documents.image` names when it is not told otherwise."""
        self.push_blob(repository, CONFIG)
        self.push_blob(repository, LAYER)

    def push(self, repository: str, reference: str, content: bytes, media_type: str | None = None) -> str:
        """Push a manifest, and give its digest."""
        headers = {} if media_type is None else {"content-type": media_type}
        reply = self.ask("PUT", f"/v2/{repository}/manifests/{reference}", headers, content)
        assert reply.status == 201, reply
        return reply["docker-content-digest"]

    def start(self, repository: str, query: str = "") -> str:
        """Start an upload session, and give its address."""
        reply = self.ask("POST", f"/v2/{repository}/blobs/uploads/{query}")
        assert reply.status == 202, reply
        return reply["location"]
