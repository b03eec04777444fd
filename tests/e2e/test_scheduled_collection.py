"""Garbage that real servers collect by their schedule, beside clients that do not notice."""

from __future__ import annotations

import json
import os
import signal
import threading
import time
from contextlib import suppress
from pathlib import Path
from typing import TYPE_CHECKING, Self

import pytest

from cargohold.storage.layout import Layout
from cargohold.storage.runs import RunsFile
from tests.e2e.pushing import EMPTY, digest_of, make_manifest, pull_digest, push_blob, put_manifest
from tests.http.serving import until
from tests.http.wire import Wire
from tests.observe.reading import Scrape, scraped

if TYPE_CHECKING:
    from tests.e2e.conftest import Start
    from tests.e2e.server import Server

OFTEN = {"gc.schedule": "1s", "gc.grace": "1s", "trash.keep": "0s"}
SLOWLY = {**OFTEN, "gc.share": "0.01"}
LAYER, STRAY = b"a layer", b"a blob of a push that was given up"
DONE = "collected garbage: "


def push(wire: Wire) -> str:
    """An image and a blob that nothing uses; the image's digest."""
    for content in (EMPTY, LAYER, STRAY):
        push_blob(wire, "app", content)
    image = make_manifest("image", [LAYER])
    assert put_manifest(wire, "app", "latest", image).status == 201
    return digest_of(image)


def has(server: Server, content: bytes) -> bool:
    """Whether the content is in the tree."""
    encoded = digest_of(content).removeprefix("sha256:")
    return (server.storage / f"docker/registry/v2/blobs/sha256/{encoded[:2]}/{encoded}/data").exists()


def runs(server: Server) -> int:
    """How many runs of the server have come to their end, by its log."""
    return server.log.count(DONE)


def collecting(server: Server) -> int:
    """The collector's process in the midst of a run: it has the lock."""
    return until(lambda: next((pid for pid in server.collectors() if has_open(pid, "/locks/gc")), 0))


def has_open(pid: int, end: str) -> bool:
    with suppress(FileNotFoundError, ProcessLookupError):
        return any(os.readlink(link).endswith(end) for link in Path(f"/proc/{pid}/fd").iterdir())
    return False


def metrics(server: Server) -> Scrape:
    with Wire(server.url) as wire:
        return scraped(wire.ask("GET", "/metrics").body)


@pytest.mark.parametrize("workers", [1, 2])
def test_what_nothing_needs(start: Start, workers: int) -> None:
    """It goes, the image stays; the log and the metrics of every worker tell of the runs."""
    server = start({**OFTEN, "workers": workers})
    with Wire(server.url) as wire:
        image = push(wire)
        until(lambda: not has(server, STRAY))
        assert wire.ask("HEAD", f"/v2/app/blobs/{digest_of(STRAY)}").status == 404
        assert pull_digest(wire, "app", "latest") == image
        assert wire.ask("GET", f"/v2/app/blobs/{digest_of(LAYER)}").body == LAYER
        assert wire.ask("DELETE", f"/v2/app/manifests/{image}").status == 202
        until(lambda: not has(server, LAYER))
    until(lambda: metrics(server).one("registry_gc_freed_bytes_total") >= len(STRAY) + len(LAYER))
    found = metrics(server)
    assert found["registry_gc_runs_total", {"result": "complete"}] >= 2
    assert found["registry_gc_runs_total", {"result": "failed"}] == 0
    assert found.one("registry_gc_skipped_repositories") == 0
    told = [json.loads(line) for line in server.log.splitlines() if DONE in line]
    assert {(each["level"], each["logger"]) for each in told} == {("INFO", "cargohold.app.collecting")}
    assert server.stop() == 0


class Pulling:
    """Pulls an image again and again, by connections of its own; whatever is no good answer is an error."""

    def __init__(self, server: Server, image: str) -> None:
        self.pulled = 0
        self._is_over = threading.Event()
        self._thread = threading.Thread(target=self._pull, args=(server.url, image))
        self._error: BaseException | None = None

    def __enter__(self) -> Self:
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._is_over.set()
        self._thread.join(60)
        if self._error is not None:
            raise self._error

    def _pull(self, url: str, image: str) -> None:
        try:
            while not self._is_over.is_set():
                with Wire(url) as wire:
                    for _ in range(20):
                        assert pull_digest(wire, "app", "latest") == image
                        assert wire.ask("GET", f"/v2/app/blobs/{digest_of(LAYER)}").body == LAYER
                        self.pulled += 1
        except BaseException as error:  # noqa: BLE001 - raised by whoever waits for the thread
            self._error = error


def test_a_collector_that_is_killed(start: Start) -> None:
    """Killed again and again in the midst of its runs: clients and workers do not notice, and the log tells of it."""
    server = start({**SLOWLY, "workers": 2})
    with Wire(server.url) as wire:
        image = push(wire)
    workers = server.workers()
    killed: list[int] = []
    with Pulling(server, image) as pulling:
        for _ in range(5):
            pid = collecting(server)
            os.kill(pid, signal.SIGKILL)
            killed.append(pid)
            until(lambda: f"the collector (process {killed[-1]}) ended with signal 9" in server.log)
        before = pulling.pulled
        until(lambda: pulling.pulled > before)
    assert server.workers() == workers
    until(lambda: not has(server, STRAY), 60)
    assert server.stop() == 0
    assert server.log.count('"level":"ERROR"') == 5


def test_never_two_at_once(start: Start) -> None:
    """Of two servers on one storage, both with a schedule, one collects at a time; no run fails."""
    first = start(OFTEN)
    second = start(OFTEN, storage=first.storage)
    until(lambda: runs(first) >= 2)
    until(lambda: runs(second) >= 2, 60)
    for server in (first, second):
        assert server.stop() == 0
        assert '"level":"ERROR"' not in server.log
    noted = RunsFile(Layout(str(first.storage))).read()
    assert noted is not None
    assert noted.outcomes.keys() <= {"complete", "stopped"}
    assert noted.outcomes["complete"] == runs(first) + runs(second)


def test_a_stop_in_the_midst_of_a_run(start: Start) -> None:
    """A server that is stopped takes its collector with it; the next server goes on with the run."""
    server = start(SLOWLY)
    with Wire(server.url) as wire:
        for number in range(300):
            push_blob(wire, "app", b"%d" % number)
    pid = collecting(server)
    assert server.stop() == 0
    assert not Path(f"/proc/{pid}").exists()
    again = start({**OFTEN, "gc.share": "1"}, storage=server.storage)
    until(lambda: runs(again))
    assert '"level":"ERROR"' not in server.log + again.log


@pytest.mark.parametrize("settings", [{"gc.schedule": "off"}, {"read_only": True, "gc.schedule": "1s"}])
def test_none(start: Start, settings: dict[str, object]) -> None:
    """Where the schedule is off, and where the server only reads, there is no collector and nothing is told of it."""
    before = start({"gc.schedule": "off"})
    assert before.stop() == 0
    server = start(settings, storage=before.storage)
    end = time.monotonic() + 2.5
    while time.monotonic() < end:
        assert not server.collectors()
        time.sleep(0.02)
    assert not list(metrics(server).names_and_labels("registry_gc_"))
    assert not (server.storage / "cargohold/gc").exists()
    assert not runs(server)
