"""A disk that fails at any step of a request: the client is told, reads go on, and nothing is lost."""

from __future__ import annotations

import json
import sys
import time
from concurrent.futures import ThreadPoolExecutor
from functools import partial
from itertools import count
from typing import TYPE_CHECKING

import pytest

from tests.crash.faults import FAULTS, Control
from tests.crash.leftovers import left_after_an_hour
from tests.crash.pusher import Pusher
from tests.crash.requests import REQUESTS, SETTINGS, Place
from tests.e2e.dangling import faults
from tests.e2e.medium import folder_in_memory
from tests.e2e.server import Server
from tests.http.wire import Wire

if TYPE_CHECKING:
    from collections import Counter
    from collections.abc import Iterator
    from pathlib import Path

    from tests.crash.requests import Request, Seen
    from tests.http.wire import Response

MOST_STEPS = 100
PUSHERS, ONE_IN, SECONDS = 4, 50, 2.0
PARTS = {"append": {"more"}, "append_and_end": {"more", "whole"}}
"""What may be seen of a session besides what was there before and is there after."""

QUICK = [
    ("no room", True),
    ("no room for all of it", False),
    ("no room when it is synced", True),
    ("an error", False),
    ("a torn write", True),
]
"""Kinds of faults, and whether they last."""
SLOW = [
    pytest.param(fault, lasts, marks=pytest.mark.soak)
    for fault in FAULTS
    for lasts in (False, True)
    if (fault, lasts) not in QUICK
]


@pytest.fixture
def folder(tmp_path: Path) -> Iterator[Path]:
    """In memory: what is synced here is not asked of the disk."""
    with folder_in_memory(otherwise=tmp_path) as found:
        yield found


def start(folder: Path) -> Server:
    launcher = [sys.executable, "-m", "tests.crash.faulty", str(folder / "control")]
    return Server(folder / "data", SETTINGS, launcher=launcher)


class Trial:
    """Requests to a server whose disk fails, each on a place of its own."""

    def __init__(self, server: Server, control: Control) -> None:
        self._server = server
        self._control = control
        self._numbers = count()
        self.ended: list[tuple[Place, Seen]] = []
        self.failures = 0

    def place(self) -> Place:
        place = Place(f"faults/{next(self._numbers)}")
        with Wire(self._server.url) as wire:
            place.prepare(wire)
        return place

    def look(self, place: Place) -> Seen:
        with Wire(self._server.url) as wire:
            return place.look(wire)

    def send(self, request: Request) -> Response:
        with Wire(self._server.url) as wire:
            return request.send(wire)

    def end(self, place: Place, request: Request | None = None) -> Seen:
        """Send a request that failed again, and see the session to its end."""
        with Wire(self._server.url) as wire:
            if request is not None:
                request.send_again(wire, place.name)
            place.finish(wire)
            seen = place.look(wire)
        self.ended.append((place, seen))
        return seen

    def run(self, name: str, fault: str, *, lasts: bool) -> None:
        """Let every step of one request fail."""
        place = self.place()
        before = self.look(place)
        assert self.send(REQUESTS[name](place)).status < 300
        after = self.look(place)
        at_end = self.end(place)
        for step in range(1, MOST_STEPS):
            place = self.place()
            request = REQUESTS[name](place)
            self._control.arm(fault, step, lasts=lasts)
            response = self.send(request)
            seen = self.look(place)
            failures = self._control.disarm()
            self.failures += bool(failures)
            told = (name, step, response)
            if not failures:
                assert response.status < 300, told
                assert self.end(place) == at_end, told
                return
            assert response.status < 300 or is_plain(response, fault), told
            allowed = {key: {before[key], after[key]} for key in seen}
            allowed["session"] |= PARTS.get(name, set())
            if response.status < 300:
                assert seen == after, told
            assert {key: seen[key] for key in seen if seen[key] not in allowed[key]} == {}, told
            assert self.end(place, request) == at_end, told
        raise AssertionError(f"more than {MOST_STEPS} steps")


def is_plain(response: Response, fault: str) -> bool:
    """Whether an answer says in plain words what is the matter: no room (507), or something else (503)."""
    [error] = json.loads(response.body)["errors"]
    found = response.status, error["code"], "full" in error["message"]
    return found == ((507, "UNAVAILABLE", True) if "no room" in fault else (503, "UNAVAILABLE", False))


@pytest.mark.parametrize(("fault", "lasts"), [*QUICK, *SLOW])
def test_every_step_of_a_request_fails(
    folder: Path, monkeypatch: pytest.MonkeyPatch, tally: Counter[str], fault: str, *, lasts: bool
) -> None:
    """The client is told in plain words, unless all is done that it asked for; all else can be read meanwhile.

    Nothing is half done, no byte of a session is lost that was acknowledged, and asked again, when the disk is well,
    the request ends as if nothing had happened. All is there after a new start, and nothing else that stays.
    """
    control = Control(folder / "control")
    server = start(folder)
    try:
        trial = Trial(server, control)
        for name in REQUESTS:
            trial.run(name, fault, lasts=lasts)
        assert trial.failures >= len(REQUESTS) / 3
        tally["faults"] += trial.failures
    finally:
        server.kill()
    server = start(folder)
    try:
        with Wire(server.url) as wire:
            assert [place.name for place, seen in trial.ended if place.look(wire) != seen] == []
    finally:
        server.kill()
    assert faults(folder / "data") == []
    assert left_after_an_hour(folder / "data", monkeypatch) == []


@pytest.mark.parametrize(
    "rounds", [2, pytest.param(60, marks=[pytest.mark.soak, pytest.mark.timeout(1_800)])]
)
def test_calls_fail_at_random_under_load(
    folder: Path, monkeypatch: pytest.MonkeyPatch, tally: Counter[str], rounds: int
) -> None:
    """One call in fifty fails, and then the server is killed: no acknowledged change is lost, and no session.

    What is refused is made or not. Nothing but 503 and 507 is answered, and whatever there is can be read.
    """
    control = Control(folder / "control")
    pushers = [Pusher(f"faults/{number}", number) for number in range(PUSHERS)]
    with ThreadPoolExecutor(PUSHERS) as pool:
        for _ in range(rounds):
            server, end = start(folder), time.monotonic() + SECONDS
            over = partial(is_past, end)
            try:
                control.arm_dice(ONE_IN)
                running = [pool.submit(pusher.run_until, over, server.url) for pusher in pushers]
                for each in running:
                    each.result(timeout=60)
                tally["faults"] += control.disarm()
            finally:
                server.kill()
    server = start(folder)
    try:
        with Wire(server.url) as wire:
            for pusher in pushers:
                pusher.look(wire, at_all=True)
    finally:
        server.kill()
    assert sum(pusher.refused for pusher in pushers) > rounds
    assert sum(pusher.acknowledged for pusher in pushers) > rounds
    assert faults(folder / "data") == []
    assert left_after_an_hour(folder / "data", monkeypatch) == []


def is_past(moment: float) -> bool:
    return time.monotonic() > moment
