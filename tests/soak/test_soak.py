"""The registry under everything at once, for two minutes; `make soak` does it for as long as wanted."""

from __future__ import annotations

import time
from typing import TYPE_CHECKING

import pytest

from tests.e2e.medium import folder_in_memory
from tests.soak.soak import Soak

if TYPE_CHECKING:
    from pathlib import Path

SECONDS = 120.0
# What must have come about, so that the rules below were put to the test: a small part of what does on a busy machine.
LEAST = {
    "blobs mounted": 50,
    "blobs read": 200,
    "blobs that were not there": 50,
    "blobs uploaded": 100,
    "collectors ended by 0": 3,
    "collectors of the server killed": 3,
    "manifests deleted": 10,
    "manifests pushed": 100,
    "manifests pushed late": 10,
    "manifests that were not there": 10,
    "referrers listed": 2,
    "servers killed": 4,
    "tags deleted": 5,
    "tags pulled": 40,
}


@pytest.mark.slow
@pytest.mark.timeout(600)
def test_soak(tmp_path: Path) -> None:
    """Pushers, pullers, deleters and mounters at few layers, collectors all the time, and SIGKILL to all of them.

    No blob is missing from a push that was told less than the grace time ago that it is there. No tag leads to anything
    but where an acknowledged push, or one in doubt, has put it, and never to an image that is not whole. No bytes are
    wrong, no referrer of a tagged subject is lost, and no request fails while the server is up. When all is deleted,
    nothing is left of it. (In memory: other tests keep the disk busy, and a kill loses nothing of either.)
    """
    with folder_in_memory(otherwise=tmp_path) as folder:
        soak = Soak(folder / "data", tmp_path, seed=time.time_ns() % 1_000_000)
        failures = soak.run(SECONDS)
    assert failures == [], f"seed {soak.world.seed}, kept in {tmp_path}"
    counts = soak.world.counts
    assert {what: counts[what] for what, least in LEAST.items() if counts[what] < least} == {}
