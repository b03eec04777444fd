"""A process that is killed while it holds a lock of the storage takes the lock with it."""

from __future__ import annotations

import itertools
import os
import random
import signal
import subprocess
import sys
import time
from contextlib import contextmanager
from typing import TYPE_CHECKING

from tests.e2e.dangling import faults
from tests.e2e.pushing import (
    EMPTY,
    MANIFEST,
    digest_of,
    make_manifest,
    one_to_each,
    pull_digest,
    push_blob,
    put_manifest,
    worker_of,
)
from tests.http.serving import until
from tests.http.wire import Wire

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from tests.e2e.conftest import Start
    from tests.e2e.server import Server

REPOSITORY = "locked"
KILLS = 8
_HOLD = """
import sys, time
from cargohold.storage.locks import StripedLocks
with StripedLocks(sys.argv[1]).hold(sys.argv[2]):
    print("held", flush=True)
    time.sleep(60)
"""


@contextmanager
def holder(storage: Path) -> Iterator[subprocess.Popen[str]]:
    """Another process that holds the lock of the repository."""
    command = [sys.executable, "-c", _HOLD, str(storage / "cargohold/locks"), REPOSITORY]
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True) as process:
        try:
            assert process.stdout is not None
            assert process.stdout.readline() == "held\n"
            yield process
        finally:
            process.kill()


def test_lock_of_killed_process_is_free(start: Start) -> None:
    """Whoever waits for the lock of a repository gets it when its holder is killed with SIGKILL."""
    server = start({"workers": 2})
    with one_to_each(server) as wires, Wire(server.url) as other:
        push_blob(other, REPOSITORY, EMPTY)
        push_blob(other, "free", EMPTY)
        content = make_manifest("waits")
        with holder(server.storage) as process:
            for number, wire in enumerate(wires):
                target = f"/v2/{REPOSITORY}/manifests/v{number}"
                wire.request("PUT", target, f"Content-Type: {MANIFEST}", body=content)
            assert put_manifest(other, "free", "v", content).status == 201
            assert pull_digest(other, REPOSITORY, "v0") is None
            process.send_signal(signal.SIGKILL)
            assert [wire.response(to="PUT").status for wire in wires] == [201, 201]


def test_workers_killed_in_mid_put(start: Start) -> None:
    """Workers are killed with SIGKILL while they push manifests to one repository: the other goes on at once.

    What was acknowledged is there, nothing dangles, and the worker is replaced.
    """
    server = start({"workers": 2})
    with Wire(server.url) as wire:
        push_blob(wire, REPOSITORY, EMPTY)
    tags = map(str, itertools.count())
    pushed: dict[str, str] = {}
    for turn in range(KILLS):
        until(lambda: len(server.workers()) == 2)
        kill_one(server, random.Random(turn), tags, pushed)
    with Wire(server.url) as wire:
        assert {tag: pull_digest(wire, REPOSITORY, tag) for tag in pushed} == pushed
    assert faults(server.storage) == []


def kill_one(server: Server, dice: random.Random, tags: Iterator[str], pushed: dict[str, str]) -> None:
    """Push by both workers, kill one of them in the middle of it, push by the other; note what is acknowledged."""

    def begin(wire: Wire) -> tuple[Wire, str, str]:
        tag = next(tags)
        content = make_manifest(tag)
        wire.request("PUT", f"/v2/{REPOSITORY}/manifests/{tag}", f"Content-Type: {MANIFEST}", body=content)
        return wire, tag, digest_of(content)

    with one_to_each(server) as wires:
        dice.shuffle(wires)
        doomed, other = wires
        begun = [begin(doomed)]
        time.sleep(dice.uniform(0, 0.005))
        killed = worker_of(server, doomed)
        os.kill(killed, signal.SIGKILL)
        begun.append(begin(other))
        for wire, tag, digest in begun:
            try:
                status = wire.response(to="PUT").status
            except (EOFError, ConnectionError):
                assert wire is doomed
                continue
            assert status == 201
            pushed[tag] = digest
    until(lambda: killed not in server.workers())
