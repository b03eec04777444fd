"""The soak itself: a server that is killed now and then, collectors that are too, and everybody at work on it."""

from __future__ import annotations

import asyncio
import os
import random
import signal
import subprocess
import sys
import threading
import time
from contextlib import suppress
from pathlib import Path
from typing import TYPE_CHECKING
from unittest.mock import patch

from cargohold.storage.filesystem import FilesystemStore, expiry
from tests.e2e.dangling import faults
from tests.e2e.server import Server
from tests.http.wire import Wire
from tests.soak.crowd import ANY_MANIFEST, Deleter, Mounter, Puller, Pusher
from tests.soak.leftovers import leftovers
from tests.soak.world import REPOSITORIES, TAGS, World

if TYPE_CHECKING:
    from collections.abc import Callable

_CROWD = (Pusher,) * 4 + (Puller,) * 2 + (Deleter,) * 2 + (Mounter,) * 2
_KILLS_BETWEEN = 10.0, 20.0
_COLLECTIONS_BETWEEN = 0.5, 3.0
_GONE_SECONDS = 30.0
_RUN_SECONDS = 120.0
_NOTHING_LEFT_SECONDS = 120.0
_TOLD_EVERY = 60.0
_TOLD = 20


class Soak:
    """One run on a tree at `storage`; what is told of a failure is kept in the folder `kept`.

    `grace` is in seconds. What everybody's dice show follows from `seed`; in which order things happen does not.
    """

    def __init__(self, storage: Path, kept: Path, seed: int, grace: float = 3.0) -> None:
        self.storage = storage
        self._kept = kept
        self.world = World(seed, grace)
        self._dice = random.Random(f"{seed} soak")
        self._settings = {
            "workers": 2,
            "gc.schedule": "1s",
            "gc.grace": f"{grace}s",
            "gc.untagged": "true",
            "gc.share": 1,
            "trash.keep": "2s",
            "manifests.allow_tag_deletion": "true",
            "log.requests": "false",
        }
        self._server: Server | None = None
        self._logs: list[str] = []

    def run(self, seconds: float, tell: Callable[[str], None] = lambda _: None) -> list[str]:
        """Everybody works for so long; then all is deleted and must be gone. What went wrong, if anything did."""
        world = self.world
        actors = [kind(world, f"{kind.__name__.lower()} {number}") for number, kind in enumerate(_CROWD)]
        threads = [threading.Thread(target=each.run, name=each.name) for each in actors]
        threads += [threading.Thread(target=self._collect), threading.Thread(target=self._kill_collectors)]
        self._start()
        for thread in threads:
            thread.start()
        try:
            self._reign(seconds, tell)
        finally:
            world.over.set()
            for thread in threads:
                thread.join(_RUN_SECONDS)
        try:
            if not world.failures:
                self._empty()
        finally:
            self._stop()
        if not world.failures:
            self._must_be_empty()
        if world.failures:
            world.write_events(self._kept / "events")
            (self._kept / "server.log").write_text("\n".join(self._logs))
        return world.failures

    def _reign(self, seconds: float, tell: Callable[[str], None]) -> None:
        """Kill the server and start it again, until the end."""
        begun = time.monotonic()
        told = begun
        while (left := begun + seconds - time.monotonic()) > 0 and not self.world.over.is_set():
            self.world.over.wait(min(left, self._dice.uniform(*_KILLS_BETWEEN)))
            self._kill()
            self._start()
            if time.monotonic() > told + _TOLD_EVERY:
                told = time.monotonic()
                tell(f"{told - begun:.0f} s: {self.summary()}")

    def summary(self) -> str:
        """What was done so far."""
        return ", ".join(f"{number} {what}" for what, number in sorted(self.world.counts.items()))

    def _start(self) -> None:
        self._server = Server(self.storage, self._settings)
        self.world.born(self._server.url)

    def _kill(self) -> None:
        """SIGKILL to all of it, first to who would start another of its processes; nothing of it is left then."""
        server = self._server
        assert server is not None
        self.world.dying()
        server.process.send_signal(signal.SIGSTOP)
        doomed = server.workers() + server.collectors()
        server.kill()
        _await_end(doomed)
        self.world.dead()
        self.world.counts["servers killed"] += 1
        self._read_log(server)

    def _stop(self) -> None:
        server, self._server = self._server, None
        assert server is not None
        if server.stop() != 0:
            self.world.fail("the server did not stop well")
        self._read_log(server)

    def _read_log(self, server: Server) -> None:
        """Of all but the last servers only what is no mere information."""
        self._logs = [*self._logs[-3:], server.log]
        if "Traceback" in server.log:
            self.world.fail(f"the server logged an exception: {server.log[-4000:]}")

    def _collect(self) -> None:
        """Collections by hand beside those of the server, of which some are killed."""
        dice = random.Random(f"{self.world.seed} collector")
        while not self.world.over.wait(dice.uniform(*_COLLECTIONS_BETWEEN)):
            process = self._collector()
            killed = dice.random() < 0.3
            if killed:
                time.sleep(dice.uniform(0.1, 0.5))
                process.kill()
            _, errors = process.communicate(timeout=_RUN_SECONDS)
            self.world.counts[
                "collectors killed" if killed else f"collectors ended by {process.returncode}"
            ] += 1
            if not killed and process.returncode not in {0, 3}:
                self.world.fail(f"cargohold gc ended by {process.returncode}: {errors}")

    def _collector(self) -> subprocess.Popen[str]:
        program = str(Path(sys.executable).parent / "cargohold")
        asked = {"storage.path": self.storage, **{k: v for k, v in self._settings.items() if "." in k}}
        options = [word for name, value in asked.items() for word in ("--set", f"{name}={value}")]
        return subprocess.Popen(
            [program, "gc", "--json", "--no-wait", *options],
            stdin=subprocess.DEVNULL,
            stdout=subprocess.DEVNULL,
            stderr=subprocess.PIPE,
            text=True,
        )

    def _kill_collectors(self) -> None:
        """SIGKILL to the server's own collector now and then, which nobody else may feel."""
        dice = random.Random(f"{self.world.seed} killer")
        while not self.world.over.wait(dice.uniform(0.0, 0.05)):
            server = self._server
            if server is None or dice.random() > 0.1:
                continue
            with suppress(FileNotFoundError, ProcessLookupError):
                for pid in server.collectors():
                    os.kill(pid, signal.SIGKILL)
                    self.world.counts["collectors of the server killed"] += 1

    def _empty(self) -> None:
        """Delete all that can be named, and wait until nothing is left of it."""
        assert self._server is not None
        with Wire(self._server.url) as wire:
            for repository in REPOSITORIES:
                for tag in TAGS:
                    found = wire.ask("HEAD", f"/v2/{repository}/manifests/{tag}", ANY_MANIFEST)
                    if found.status == 200:
                        digest = found["docker-content-digest"]
                        wire.ask("DELETE", f"/v2/{repository}/manifests/{digest}")
        self.world.note("all tags are deleted")
        end = time.monotonic() + _NOTHING_LEFT_SECONDS
        while time.monotonic() < end and any((self.storage / "docker/registry/v2/blobs").rglob("data")):
            time.sleep(0.5)
        # What was collected last is kept for those who are just reading it.
        while time.monotonic() < end and any(self.storage.glob("cargohold/swept/*")):
            time.sleep(0.5)

    def _must_be_empty(self) -> None:
        """No content, no link, no temporary file, once those are old enough to be taken for forgotten."""
        wrong = faults(self.storage)
        with patch.object(expiry, "_FORGOTTEN", 0.0):
            store = FilesystemStore(str(self.storage))
            asyncio.run(store.expire_uploads(0.0))
            store.close()
        left = leftovers(self.storage)
        if wrong or left:
            self.world.fail(
                f"what is wrong: {wrong[:_TOLD]}; what is left, {len(left)} files: {left[:_TOLD]}"
            )


def _await_end(pids: list[int]) -> None:
    """Wait until processes that were killed do nothing any more. Raises AssertionError where they go on."""
    end = time.monotonic() + _GONE_SECONDS
    while time.monotonic() < end:
        if not any(_is_running(pid) for pid in pids):
            return
        time.sleep(0.005)
    raise AssertionError(f"processes that were killed are not gone: {pids}")


def _is_running(pid: int) -> bool:
    with suppress(FileNotFoundError, ProcessLookupError):
        state = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0]
        return state not in {"Z", "X"}
    return False
