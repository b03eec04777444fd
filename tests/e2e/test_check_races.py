"""Requests that meet on two workers end as one after the other, whichever comes first."""

from __future__ import annotations

import os
import random
import time
from collections import Counter
from concurrent.futures import ThreadPoolExecutor
from typing import TYPE_CHECKING

import pytest

from tests.e2e.dangling import faults
from tests.e2e.medium import folder_in_memory
from tests.e2e.pushing import (
    EMPTY,
    MANIFEST,
    data_file,
    digest_of,
    make_manifest,
    one_to_each,
    pull_blob,
    pull_digest,
    push_blob,
    put_manifest,
    start_upload,
)
from tests.http.wire import Wire

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from pathlib import Path

    from tests.e2e.conftest import Start
    from tests.e2e.server import Server
    from tests.http.wire import Response

RACERS = 4
PATCH_ROUNDS = 1_000
BLOB_ROUNDS = 1_000
DELETE_ROUNDS = {"disk": 1_000, "memory": 10_000}


@pytest.fixture
def pair(start: Start) -> Server:
    """A server with two workers."""
    return start({"workers": 2})


def in_parallel(server: Server, rounds: int, race: Callable[[str, int, list[Wire]], None]) -> None:
    """Share the rounds out to several racers, each with a repository and a connection to each worker of its own.

    `race` is called with the repository, the number of the round, and the connections, which change places.
    """

    def run(number: int) -> None:
        with one_to_each(server) as wires:
            for turn in range(number, rounds, RACERS):
                race(f"raced/{number}", turn, wires if turn // RACERS % 2 else wires[::-1])

    with ThreadPoolExecutor(RACERS) as pool:
        list(pool.map(run, range(RACERS)))


class PatchRound:
    """An upload session that is extended by one worker while another makes a blob of it."""

    def __init__(self, patcher: Wire, finisher: Wire, repository: str, dice: random.Random) -> None:
        self._patcher, self._finisher, self._dice = patcher, finisher, dice
        self.begun = os.urandom(dice.choice((16, 3_000, 200_000)))
        self.more = os.urandom(dice.choice((16, 4_000, 300_000, 1_500_000)))
        self.last = os.urandom(dice.choice((0, 0, 5_000)))
        self.claims_more = dice.random() < 0.5
        self.claimed = self.begun + (self.more if self.claims_more else b"") + self.last
        self._path = start_upload(patcher, repository)
        assert patcher.ask("PATCH", self._path, body=self.begun).status == 202

    def run(self) -> tuple[Response, Response]:
        """The answers to the PATCH and to the PUT, which is sent while the PATCH is on its way."""
        ranged = [f"Content-Range: {len(self.begun)}-{len(self.begun) + len(self.more) - 1}"]
        headers = [f"Content-Length: {len(self.more)}", *self._dice.choice(([], ranged))]
        cut = self._dice.choice((0, len(self.more) // 2, len(self.more)))
        self._patcher.request("PATCH", self._path, *headers)
        self._patcher.send(self.more[:cut])
        time.sleep(self._dice.choice((0, 0, 0.0005, 0.002)))
        self._finisher.request("PUT", f"{self._path}?digest={digest_of(self.claimed)}", body=self.last)
        self._patcher.send(self.more[cut:])
        return self._patcher.response(to="PATCH"), self._finisher.response(to="PUT")


def test_patch_races_final_put(pair: Server) -> None:
    """A PATCH that meets the PUT that ends its session never changes a blob that was acknowledged, 1,000 times.

    It is wholly before the PUT or refused; every stored blob, hashed again, is what its digest says.
    """
    seen: Counter[tuple[int, int]] = Counter()

    def race(repository: str, number: int, wires: list[Wire]) -> None:
        patcher, finisher = wires
        run = PatchRound(patcher, finisher, repository, random.Random(number))
        patched, finished = run.run()
        seen[patched.status, finished.status] += 1
        digest = digest_of(run.claimed)
        if finished.status == 201:
            assert patched.status in ({202} if run.claims_more else {404, 416}), patched
            assert data_file(pair, digest).read_bytes() == run.claimed
        else:
            assert finished.status in {400, 416}, finished
            assert patched.status in {202, 404, 416}, patched
        assert pull_blob(wires[0], repository, digest) == (run.claimed if finished.status == 201 else None)

    in_parallel(pair, PATCH_ROUNDS, race)
    assert {201, 400} <= {finished for _, finished in seen}, seen
    assert {202, 404, 416} <= {patched for patched, _ in seen}, seen
    assert faults(pair.storage) == []


class DeleteRounds:
    """Rounds in a repository of one racer: a tag is pushed by one worker while another deletes a digest.

    Two manifests take turns: what the tag points to, and what it may move to.
    """

    def __init__(self, wire: Wire, repository: str) -> None:
        self._repository = repository
        self._dice = random.Random(repository)
        self._pointed, self._other = (make_manifest(f"{repository} {name}") for name in "AB")
        self._stands = False
        push_blob(wire, repository, EMPTY)

    def run(self, wires: list[Wire]) -> str:
        """One round; what became of it in a word, AssertionError where it is no order of the two."""
        if not self._stands and self._dice.random() < 0.8:
            assert put_manifest(wires[0], self._repository, "moved", self._pointed).status == 201
            self._stands = True
        moves = self._dice.random() < 0.4
        pushed = self._other if moves else self._pointed
        first = self._dice.choice(("put", "delete", "", "", "", "", "", ""))
        put, deleted = self._meet(wires, pushed, first)
        assert put == 201
        assert deleted in ({202} if self._stands else {202, 404} if not moves else {404})
        tagged = pull_digest(wires[0], self._repository, "moved")
        held = pull_digest(wires[1], self._repository, digest_of(pushed))
        assert tagged == held
        gone = not moves and (first == "put" or (not first and deleted == 202 and held is None))
        assert held == (None if gone else digest_of(pushed))
        if moves:
            assert pull_digest(wires[1], self._repository, digest_of(self._pointed)) is None
            self._pointed, self._other = self._other, self._pointed
        self._stands = not gone
        return f"{'moved' if moves else 'same'} {'gone' if gone else 'there'}"

    def _meet(self, wires: list[Wire], pushed: bytes, first: str) -> tuple[int, int]:
        """The statuses of the PUT and the DELETE; `first` names the one that is answered before the other is sent."""
        putter, deleter = wires
        path = f"/v2/{self._repository}/manifests"
        put = ("PUT", f"{path}/moved", f"Content-Type: {MANIFEST}")
        delete = ("DELETE", f"{path}/{digest_of(self._pointed)}")
        if first == "put":
            status = putter.ask(*put, body=pushed).status
            return status, deleter.ask(*delete).status
        if first == "delete":
            status = deleter.ask(*delete).status
            return putter.ask(*put, body=pushed).status, status
        pause = self._dice.choice((0.0, 0.0, 0.0005, 0.001, 0.002))
        if self._dice.random() < 0.5:
            putter.request(*put, body=pushed)
            time.sleep(pause)
            deleter.request(*delete)
        else:
            deleter.request(*delete)
            time.sleep(pause)
            putter.request(*put, body=pushed)
        return putter.response(to="PUT").status, deleter.response(to="DELETE").status


@pytest.fixture(params=list(DELETE_ROUNDS))
def medium(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[Path]:
    """A folder on a disk, whose syncs hold the gates open for long, and one in memory, for the sake of many rounds."""
    if request.param == "disk":
        yield tmp_path / request.param
        return
    with folder_in_memory(otherwise=tmp_path) as folder:
        yield folder / request.param


def test_delete_races_put(medium: Path, start: Start) -> None:
    """A DELETE of a digest that meets a PUT of the same, or of its tag, comes before or after it, 10,000 times.

    No PUT fails or is lost: its manifest and tag are there, unless the DELETE of that manifest came after it. A
    tag that has moved is never carried off, and no tag points to nothing.
    """
    server = start({"workers": 2}, storage=medium)
    seen: Counter[str] = Counter()
    rounds: dict[str, DeleteRounds] = {}
    count = DELETE_ROUNDS[medium.name]

    def race(repository: str, _number: int, wires: list[Wire]) -> None:
        if repository not in rounds:
            rounds[repository] = DeleteRounds(wires[0], repository)
        seen[rounds[repository].run(wires)] += 1

    in_parallel(server, count, race)
    assert min(seen[word] for word in ("moved there", "same gone", "same there")) > count / 100, seen
    assert faults(server.storage) == []


def test_delete_races_push_of_blob(pair: Server) -> None:
    """A DELETE of a blob that meets a push or a mount of the same comes before or after it, 1,000 times.

    The push never fails, and the blob is there unless the DELETE came after it.
    """
    contents = {f"raced/{number}": os.urandom(2_000 + number) for number in range(RACERS)}
    seen: Counter[tuple[int, bool]] = Counter()
    with Wire(pair.url) as wire:
        for repository, content in contents.items():
            push_blob(wire, repository, content)
            push_blob(wire, "source", content)

    def race(repository: str, number: int, wires: list[Wire]) -> None:
        pusher, deleter = wires
        content = contents[repository]
        digest, dice = digest_of(content), random.Random(number)
        stood = pull_blob(pusher, repository, digest) is not None
        mounts = dice.random() < 0.5
        query, body = (f"mount={digest}&from=source", b"") if mounts else (f"digest={digest}", content)
        push = ("POST", f"/v2/{repository}/blobs/uploads/?{query}")
        delete = ("DELETE", f"/v2/{repository}/blobs/{digest}")
        if dice.random() < 0.5:
            pusher.request(*push, body=body)
            deleter.request(*delete)
        else:
            deleter.request(*delete)
            pusher.request(*push, body=body)
        assert pusher.response(to="POST").status == 201
        deleted = deleter.response(to="DELETE").status
        assert deleted in ({202} if stood else {202, 404})
        there = pull_blob(deleter, repository, digest)
        assert there == content or (there is None and deleted == 202)
        seen[deleted, there is not None] += 1

    in_parallel(pair, BLOB_ROUNDS, race)
    assert min(seen[202, True], seen[202, False]) > BLOB_ROUNDS / 100, seen
    assert faults(pair.storage) == []
