"""Who uses the registry: asks for one thing after the other, and holds the answers against what must be."""

from __future__ import annotations

import random
import time
import traceback
from contextlib import contextmanager
from typing import TYPE_CHECKING

from tests.http.wire import Wire
from tests.soak.history import HERE, Key
from tests.soak.world import Broken, Died

if TYPE_CHECKING:
    from collections.abc import Iterator

    from tests.http.wire import Response
    from tests.soak.history import Changes
    from tests.soak.world import World


class Asked:
    """A request that was answered: between which times, and how."""

    def __init__(self, started: float, ended: float, response: Response) -> None:
        self.started = started
        self.ended = ended
        self.response = response
        self.status = response.status


class Actor:
    """One of them, by a connection of its own; what it does is up to its dice."""

    def __init__(self, world: World, name: str) -> None:
        self.world = world
        self.history = world.history
        self.pool = world.pool
        self.name = name
        self.dice = random.Random(f"{world.seed} {name}")
        self._wire: Wire | None = None
        self._life = 0

    def step(self) -> None:
        """Do one thing."""
        raise NotImplementedError

    def run(self) -> None:
        """Do one thing after the other until the end, over any number of servers."""
        try:
            while not self.world.over.is_set():
                try:
                    self.step()
                except Died:
                    self.world.counts["requests that a server died on"] += 1
        except Broken as error:
            self.world.fail(f"{self.name}: {error}")
        except Exception:  # noqa: BLE001 - told as what went wrong
            self.world.fail(f"{self.name}: {traceback.format_exc()}")
        finally:
            self._hang_up()

    def ask(self, method: str, target: str, *headers: str, body: bytes = b"") -> Asked:
        """Send a request and read its answer, which no server that is up may fail to give. Raises Died."""
        wire = self._connected()
        started = time.monotonic()
        try:
            response = wire.ask(method, target, *headers, body=body)
        except (OSError, EOFError) as error:
            raise self._left(f"{method} {target} from {started:.6f}", error) from error
        ended = time.monotonic()
        if not response.complete:
            raise self._left(f"{method} {target} from {started:.6f}", EOFError("half an answer"))
        self.world.note(f"{self.name} {method} {target} from {started:.6f}: {response.status}")
        self.world.counts["requests"] += 1
        if response.status >= 500:
            raise Broken(f"{method} {target}: {response.status} {response.body!r}")
        return Asked(started, ended, response)

    def _left(self, asked: str, error: Exception) -> Died:
        """What it means that there is no answer; raises Broken where that is wrong."""
        self._hang_up()
        self.world.note(f"{self.name} {asked}: no answer: {error!r}")
        return self.world.death(self._life, error)

    def _connected(self) -> Wire:
        while self._wire is None:
            url, self._life = self.world.server()
            if not url:
                raise Died(time.monotonic())
            try:
                self._wire = Wire(url)
            except OSError as error:
                raise self.world.death(self._life, error) from error
        return self._wire

    def _hang_up(self) -> None:
        if self._wire is not None:
            self._wire.socket.close()
            self._wire = None

    @contextmanager
    def settling(self, changes: Changes) -> Iterator[None]:
        """What a death leaves in doubt; the body settles the changes otherwise."""
        try:
            yield
        except Died as died:
            changes.doubt(died.at)
            raise

    def missed(self, key: Key, asked: Asked) -> None:
        """Something was not there: that must be right."""
        why = self.history.must_be_here(key, asked.started, asked.ended)
        self.world.counts[f"{key.kind}s that were not there"] += 1
        if why:
            self.broken(key, f"{key.kind} {key.name} is not there, and must be: {why}; {asked.response}")

    def broken(self, key: Key, reason: str) -> None:
        """The registry did what it must not with something."""
        self.world.fail(f"{self.name}: {key.repository}: {reason}", about=f"/{key.repository}/")
        raise Broken(reason)

    def expect(self, asked: Asked, *statuses: int) -> None:
        """No other status is right."""
        if asked.status not in statuses:
            raise Broken(f"{asked.status} where {statuses} are right: {asked.response}")

    def read_blob(self, repository: str, digest: str, pulled: float | None = None) -> None:
        """Read a blob, if it is there, and compare its bytes.

        `pulled` is when a manifest that names it was asked for by its tag: pulls that have begun end well.
        """
        key = Key("blob", repository, digest)
        asked = self.ask("GET", f"/v2/{repository}/blobs/{digest}")
        self.expect(asked, 200, 404)
        if asked.status == 200:
            self.world.counts["blobs read"] += 1
            if asked.response.body != self.pool.layers[digest].content:
                self.broken(key, f"blob {digest} has other bytes: {asked.response.body[:100]!r}")
            self.history.see(key, asked.started, asked.ended)
            return
        self.missed(key, asked)
        is_mine = None not in self.history.possible(key, asked.started, asked.ended)
        if pulled is not None and is_mine and asked.ended < pulled + self.world.grace:
            self.broken(
                key, f"blob {digest} has gone {asked.ended - pulled:.3f} s after its manifest was read"
            )

    def check_blob(self, repository: str, digest: str) -> float | None:
        """Ask whether a blob is there; when that was asked, where it is."""
        key = Key("blob", repository, digest)
        asked = self.ask("HEAD", f"/v2/{repository}/blobs/{digest}")
        self.expect(asked, 200, 404)
        if asked.status == 404:
            self.missed(key, asked)
            return None
        self.history.see(key, asked.started, asked.ended)
        self.history.lease(key, asked.started, asked.ended)
        return asked.started

    def mount(self, repository: str, source: str, digest: str) -> float | None:
        """Mount a blob; when that was asked, where the source had it. The upload that takes its place is cancelled."""
        key = Key("blob", repository, digest)
        changes = self.history.begin(time.monotonic(), (key, HERE))
        with self.settling(changes):
            asked = self.ask("POST", f"/v2/{repository}/blobs/uploads/?mount={digest}&from={source}")
            self.expect(asked, 201, 202)
        if asked.status == 201:
            changes.acknowledge(asked.ended)
            self.history.lease(key, asked.started, asked.ended)
            self.world.counts["blobs mounted"] += 1
            return asked.started
        changes.refuse()
        self.missed(Key("blob", source, digest), asked)
        self.expect(self.ask("DELETE", asked.response["location"]), 204)
        return None
