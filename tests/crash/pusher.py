"""A client that pushes and deletes, and knows what a server that was killed must still have."""

from __future__ import annotations

import os
import random
from dataclasses import dataclass
from typing import TYPE_CHECKING, NamedTuple

from tests.e2e.pushing import (
    EMPTY,
    digest_of,
    make_manifest,
    pull_blob,
    pull_digest,
    put_manifest,
)
from tests.http.wire import Wire

if TYPE_CHECKING:
    from collections.abc import Callable

    from tests.http.wire import Response

SIZES = (0, 100, 70_000, 1_500_000)
CHUNKS = (4, 50_000, 700_000)  # half of the smallest is not one byte, which a session tells like none
"""Never one byte: a session that holds one says the same of itself as one that is empty."""


class Key(NamedTuple):
    """Something that a repository holds: a `blob`, a `manifest` (by digest) or a `tag`."""

    kind: str
    name: str


class RefusedError(Exception):
    """The server said that its storage is in the way."""


@dataclass
class Session:
    """An upload session: `acknowledged` bytes of its content at least, `sent` at most."""

    location: str
    content: bytes
    acknowledged: int = 0
    sent: int = 0
    is_ending: bool = False


class Pusher:
    """The only client of a repository, so that it knows its state, but for the one request that was not answered.

    Attributes: `acknowledged` counts the changes that were, `doubts` those in whose middle the server died, and
    `refused` those that its storage was in the way of, which are made or not.
    """

    def __init__(self, repository: str, seed: int) -> None:
        self._repository = repository
        self._dice = random.Random(seed)
        self._state: dict[Key, str] = {}
        self._asked: dict[Key, str | None] = {}
        self._touched: set[Key] = set()
        self._session: Session | None = None
        self._numbers = iter(range(1_000_000))
        self.acknowledged = self.doubts = self.refused = 0

    def run(self, url: str) -> None:
        """Change one thing after the other, until the server dies."""
        try:
            self.run_until(lambda: False, url)
        except (EOFError, ConnectionError):
            self.doubts += bool(self._asked)

    def run_until(self, is_over: Callable[[], bool], url: str) -> None:
        """Change one thing after the other; after a refusal, look what has become of it."""
        while not is_over():
            with Wire(url) as wire:
                self.look(wire)
                try:
                    self._run_on(wire, is_over)
                except RefusedError:
                    self.refused += 1

    def _run_on(self, wire: Wire, is_over: Callable[[], bool]) -> None:
        steps = (self._push_blob, self._append, self._append, self._push_manifest, self._delete)
        if Key("blob", digest_of(EMPTY)) not in self._state:
            self._push_blob(wire, EMPTY)
        while not is_over():
            self._dice.choice(steps)(wire)

    def _change(self, to: dict[Key, str | None], ask: Callable[[], Response]) -> None:
        """Ask for a change; where the answer does not come, it may have been made or not."""
        self._asked = to
        self._touched |= set(to)
        _taken(ask())
        for key, value in to.items():
            self._set(key, value)
        self._asked = {}
        self.acknowledged += 1

    def _set(self, key: Key, value: str | None) -> None:
        if value is None:
            self._state.pop(key, None)
        else:
            self._state[key] = value

    def _push_blob(self, wire: Wire, content: bytes | None = None) -> None:
        if content is None:
            content = os.urandom(self._dice.choice(SIZES))
        digest = digest_of(content)
        target = f"/v2/{self._repository}/blobs/uploads/?digest={digest}"
        self._change({Key("blob", digest): digest}, lambda: wire.ask("POST", target, body=content))

    def _push_manifest(self, wire: Wire) -> None:
        content = make_manifest(f"{self._repository} {next(self._numbers)}")
        digest, tag = digest_of(content), f"v{self._dice.randrange(10)}"
        self._change(
            {Key("manifest", digest): digest, Key("tag", tag): digest},
            lambda: put_manifest(wire, self._repository, tag, content),
        )

    def _delete(self, wire: Wire) -> None:
        """A manifest with its tags, or a blob."""
        doomed = [key for key in self._state if key.kind != "tag" and key.name != digest_of(EMPTY)]
        if not doomed:
            return
        key = self._dice.choice(doomed)
        gone: dict[Key, str | None] = {key: None}
        if key.kind == "manifest":
            gone |= {each: None for each, digest in self._state.items() if digest == key.name}
        target = f"/v2/{self._repository}/{key.kind}s/{key.name}"
        self._change(gone, lambda: wire.ask("DELETE", target))

    def _append(self, wire: Wire) -> None:
        """One step of the session: start it, add a chunk, or end it."""
        if self._session is None:
            content = os.urandom(self._dice.choice(SIZES))
            response = _taken(wire.ask("POST", f"/v2/{self._repository}/blobs/uploads/"))
            self._session = Session(response["location"], content)
            return
        session, size = self._session, len(self._session.content)
        if session.acknowledged == size:
            self._end(wire, session)
            return
        session.sent = min(size, session.acknowledged + self._dice.choice(CHUNKS))
        chunk = f"Content-Range: {session.acknowledged}-{session.sent - 1}"
        body = session.content[session.acknowledged : session.sent]
        response = _taken(wire.ask("PATCH", session.location, chunk, body=body))
        assert response["range"] == f"0-{session.sent - 1}", response
        session.acknowledged = session.sent

    def _end(self, wire: Wire, session: Session) -> None:
        session.is_ending = True
        digest = digest_of(session.content)
        self._change(
            {Key("blob", digest): digest}, lambda: wire.ask("PUT", f"{session.location}?digest={digest}")
        )
        self._session = None

    def look(self, wire: Wire, *, at_all: bool = False) -> None:
        """Hold what a new server has against what the one before acknowledged; at all of it, or what has changed."""
        for key in set(self._state) | self._touched if at_all else self._touched:
            found, known = self._found(wire, key), self._state.get(key)
            assert found in {known, self._asked.get(key, known)}, (self._repository, key, found)
            self._set(key, found)
        self._asked, self._touched = {}, set()
        if self._session is not None:
            self._look_at_session(wire, self._session)

    def _found(self, wire: Wire, key: Key) -> str | None:
        if key.kind != "blob":
            return pull_digest(wire, self._repository, key.name)
        content = pull_blob(wire, self._repository, key.name)
        return None if content is None else digest_of(content)

    def _look_at_session(self, wire: Wire, session: Session) -> None:
        response = wire.ask("GET", session.location)
        if response.status == 404:
            assert session.is_ending, session.location
            self._session = None
            return
        assert response.status == 204, response
        last = int(response["range"].removeprefix("0-"))
        held = last + 1 if last else 0
        assert session.acknowledged <= held <= session.sent
        session.acknowledged = held
        session.is_ending = False


def _taken(response: Response) -> Response:
    if response.status in {503, 507}:
        raise RefusedError
    assert response.status in {201, 202}, response
    return response
