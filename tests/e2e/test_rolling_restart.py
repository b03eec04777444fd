"""Instances that follow one another on one port and one storage, under load: no request is lost."""

from __future__ import annotations

import collections
import itertools
import threading
import time
from typing import TYPE_CHECKING, Self

import pytest

from tests.e2e.pushing import EMPTY, digest_of, make_manifest, push_blob, put_manifest
from tests.e2e.server import UNPRIVILEGED
from tests.http.serving import until
from tests.http.wire import Wire

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

    from tests.e2e.conftest import Start
    from tests.http.wire import Response

RESTARTS = 5
HESITATION = 0.05


class Patient:
    """A client as they are: one connection for many requests.

    What got no byte of an answer on a connection that had been used before is asked again, once, on a new one;
    everything else that goes wrong is an error.
    """

    def __init__(self, url: str) -> None:
        self._url = url
        self._wire: Wire | None = None
        self.retries = 0

    def ask(self, method: str, target: str, *headers: str, body: bytes = b"") -> Response:
        """The interface of `Wire`, for what pushes."""
        if self._wire is not None:
            wire, self._wire = self._wire, None
            try:
                return self._asked(wire, method, target, *headers, body=body)
            except (OSError, EOFError):
                wire.socket.close()
                if wire._buffer:
                    raise
                self.retries += 1
        return self._asked(Wire(self._url), method, target, *headers, body=body)

    def _asked(self, wire: Wire, method: str, target: str, *headers: str, body: bytes) -> Response:
        response = wire.ask(method, target, *headers, body=body)
        if "connection" in response:
            wire.socket.close()
        else:
            self._wire = wire
        return response

    def close(self) -> None:
        if self._wire is not None:
            self._wire.socket.close()


class Crowd:
    """Clients that stay on their connection, that come anew each time, at once or slowly, and that push."""

    def __init__(self, url: str) -> None:
        self._url = url
        self._done = threading.Event()
        self._numbers = itertools.count()
        self.errors: list[str] = []
        self.answered: collections.Counter[str] = collections.Counter()
        kinds = [*[self._stay] * 3, *[self._come] * 3, *[self._hesitate] * 3, *[self._push] * 2]
        self._threads = [threading.Thread(target=self._run, args=(kind,)) for kind in kinds]

    def __enter__(self) -> Self:
        for thread in self._threads:
            thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._done.set()
        for thread in self._threads:
            thread.join(60)

    def _run(self, act: Callable[[Patient], None]) -> None:
        patient = Patient(self._url)
        while not self._done.wait(0.002):
            began = time.monotonic()
            try:
                act(patient)
                self.answered[act.__name__] += 1
            except (OSError, EOFError, AssertionError) as error:
                self.errors.append(f"{act.__name__} after {time.monotonic() - began:.3f} s: {error!r}")
        patient.close()

    def _stay(self, patient: Patient) -> None:
        self._pull(patient.ask("GET", "/v2/app/manifests/v1"))

    def _come(self, _: Patient) -> None:
        with Wire(self._url) as wire:
            self._pull(wire.ask("GET", "/v2/app/manifests/v1"))

    def _hesitate(self, _: Patient) -> None:
        """The server has the connection before it has the first byte."""
        with Wire(self._url) as wire:
            time.sleep(HESITATION)
            self._pull(wire.ask("GET", "/v2/app/manifests/v1"))

    def _push(self, patient: Patient) -> None:
        """A layer and its manifest, which are then pulled."""
        text = f"number {next(self._numbers)}"
        wire: Wire = patient  # type: ignore[assignment] # it asks as a wire does
        layer = text.encode() * 20_000
        push_blob(wire, "app", layer)
        manifest = make_manifest(text, [layer])
        assert put_manifest(wire, "app", "moving", manifest).status == 201
        blob = patient.ask("GET", f"/v2/app/blobs/{digest_of(layer)}")
        assert (blob.status, blob.complete, blob.body) == (200, True, layer)
        assert patient.ask("GET", f"/v2/app/manifests/{digest_of(manifest)}").body == manifest

    def _pull(self, answer: Response) -> None:
        assert (answer.status, answer.complete) == (200, True), answer
        assert digest_of(answer.body) == answer["docker-content-digest"]


@pytest.mark.parametrize("workers", [1, 2])
def test_no_request_is_lost(start: Start, tmp_path: Path, workers: int) -> None:
    """An instance that follows another on its port takes over from it, again and again, and nobody notices.

    No privilege is needed for it.
    """
    settings = {"server.reuse_port": True, "workers": workers}
    running = start(settings, storage=tmp_path / "data", launcher=UNPRIVILEGED)
    port = int(running.host.rpartition(":")[2])
    with Wire(running.url) as wire:
        push_blob(wire, "app", EMPTY)
        assert put_manifest(wire, "app", "v1", make_manifest("first")).status == 201
    with Crowd(running.url) as crowd:
        for _ in range(RESTARTS):
            following = start(settings, storage=tmp_path / "data", port=port, launcher=UNPRIVILEGED)
            before = sum(crowd.answered.values())
            assert running.stop() == 0
            running = following
            until(lambda before=before: sum(crowd.answered.values()) > before + 100)  # type: ignore[misc]
    assert crowd.errors == []
    assert min(crowd.answered[kind] for kind in ("_stay", "_come", "_hesitate", "_push")) > RESTARTS
    assert running.stop() == 0
