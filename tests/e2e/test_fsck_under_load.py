"""A check, and a repair, of a storage that a server changes meanwhile."""

from __future__ import annotations

import random
import re
import time
from concurrent.futures import ThreadPoolExecutor
from itertools import count
from threading import Event
from typing import TYPE_CHECKING

from cargohold.registry.fsck import is_harmless, line_of
from cargohold.storage.filesystem import FilesystemStore
from cargohold.storage.filesystem.checking.check import Check, Wanted
from tests.e2e.dangling import faults
from tests.e2e.pushing import EMPTY, digest_of, make_manifest, pull_digest, push_blob, put_manifest
from tests.http.wire import Wire

if TYPE_CHECKING:
    from pathlib import Path

    from tests.e2e.conftest import Start

PUSHERS, LEAST_CHECKS = 4, 6
MIN_AGE = 5.0
PATIENCE = 60.0
COLLECTED = re.compile(r"collected garbage: .* [1-9]\d* manifests")
LAYERS = [f"layer {number}".encode() * 1000 for number in range(6)]


def push_and_delete(url: str, number: int, enough: Event) -> dict[str, bytes]:
    """Move a few tags to new images and delete old ones until told; what the tags point to in the end."""
    dice, tags = random.Random(number), dict[str, bytes]()
    with Wire(url) as wire:
        for turn in count():
            if enough.is_set():
                break
            layers = dice.sample(LAYERS, 3)
            manifest = make_manifest(f"{number} {turn}", layers)
            for content in (EMPTY, *layers):
                push_blob(wire, f"load/{number}", content)
            tag = f"tag{dice.randrange(3)}"
            assert put_manifest(wire, f"load/{number}", tag, manifest).status == 201
            tags[tag] = manifest
            if dice.randrange(4) == 0:
                gone = tags.pop(dice.choice(sorted(tags)))
                path = f"/v2/load/{number}/manifests/{digest_of(gone)}"
                assert wire.ask("DELETE", path).status == 202
    return tags


def look(storage: Path, *, repair: bool) -> None:
    """Check once; nothing of what is found may be lost or damaged."""
    store = FilesystemStore(str(storage))
    try:
        for finding in Check(store, Wanted(repair=repair, verify=True, jobs=2, min_age=MIN_AGE)).run():
            assert is_harmless(finding), line_of(finding)
    finally:
        store.close()


def test_nothing_is_found_that_is_not_so(start: Start) -> None:
    """While images are pushed and deleted and garbage is collected, no check finds anything lost or damaged.

    Nor does a repair hurt a push, or take anything that a tag needs.
    """
    server = start(
        {
            "workers": 2,
            "gc.grace": "2s",
            "gc.schedule": "1s",
            "gc.untagged": "true",
            "trash.keep": "0s",
            "log.requests": "false",
        }
    )
    checks, enough, until = 0, Event(), time.monotonic() + PATIENCE
    with ThreadPoolExecutor(PUSHERS) as pool:
        running = [pool.submit(push_and_delete, server.url, number, enough) for number in range(PUSHERS)]
        try:
            while checks < LEAST_CHECKS or not COLLECTED.search(server.log):
                assert time.monotonic() < until, server.log
                look(server.storage, repair=checks % 2 == 1)
                checks += 1
        finally:
            enough.set()
    with Wire(server.url) as wire:
        for number, each in enumerate(running):
            for tag, manifest in each.result().items():
                assert pull_digest(wire, f"load/{number}", tag) == digest_of(manifest)
    assert server.stop() == 0
    assert faults(server.storage) == []
