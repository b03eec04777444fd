"""Noting when manifests are pulled."""

from __future__ import annotations

import asyncio
import logging
from typing import TYPE_CHECKING

from cargohold.registry import pulls
from cargohold.registry.pulls import Pulls, Recorder
from cargohold.registry.retention import Rule, Rules
from cargohold.storage.protocols import Unavailable
from cargohold.types.digest import Digest
from cargohold.types.names import RepositoryName

if TYPE_CHECKING:
    from collections.abc import Collection

    import pytest

APP, OTHER = RepositoryName("ci/app"), RepositoryName("prod/app")
FIRST, SECOND = Digest.of(b"first"), Digest.of(b"second")
RULES = Rules([Rule("ci/**", pulled_within=36_000), Rule("**", newest=1)])


class Kept:
    """What is noted; as long as it `fails`, nothing is."""

    def __init__(self) -> None:
        self.noted: list[tuple[RepositoryName, Digest]] = []
        self.patterns: list[Collection[str]] = []
        self.fails = False
        self.said_thrice = asyncio.Event()

    async def note_pull(self, repository: RepositoryName, digest: Digest) -> None:
        if self.fails:
            raise Unavailable("no disk")
        self.noted.append((repository, digest))

    async def go_on_recording(self, patterns: Collection[str]) -> None:
        self.patterns.append(list(patterns))
        if len(self.patterns) >= 3:
            self.said_thrice.set()


def test_once_in_a_while(monkeypatch: pytest.MonkeyPatch) -> None:
    """A manifest is due once in an hour or a tenth of the rule's time, in the repositories where a rule asks alone."""
    now = 1000.0
    monkeypatch.setattr("time.monotonic", lambda: now)
    noting = Pulls(Kept(), RULES)
    assert [noting.is_due(APP, FIRST) for _ in range(3)] == [True, False, False]
    assert noting.is_due(APP, SECOND)
    assert noting.is_due(RepositoryName("ci/other"), FIRST)
    assert not noting.is_due(OTHER, FIRST)
    now += 3599
    assert not noting.is_due(APP, FIRST)
    now += 1
    assert [noting.is_due(APP, FIRST) for _ in range(2)] == [True, False]


def test_memory_is_bounded(monkeypatch: pytest.MonkeyPatch) -> None:
    """However many repositories and manifests are pulled, so many are remembered; the others are noted once more."""
    monkeypatch.setattr(pulls, "_REPOSITORIES", 3)
    monkeypatch.setattr(pulls, "_MANIFESTS", 4)
    noting = Pulls(Kept(), RULES)
    for number in range(20):
        for repository in (RepositoryName(f"ci/{number}"), RepositoryName(f"prod/{number}")):
            assert noting.is_due(repository, FIRST) == repository.startswith("ci/")
            assert len(noting._pauses) <= 3
            assert len(noting._next) <= 4
    assert noting.is_due(RepositoryName("ci/0"), FIRST)


async def _failing(noting: Pulls, store: Kept) -> None:
    await noting.note(APP, FIRST)
    store.fails = True
    await noting.note(APP, FIRST)
    await noting.note(APP, SECOND)
    store.fails = False
    await noting.note(APP, SECOND)
    store.fails = True
    await noting.note(APP, FIRST)


def test_a_failure_is_told_once(caplog: pytest.LogCaptureFixture) -> None:
    """A pull goes on where it cannot be noted; the log tells it once, until it works again and fails again."""
    store = Kept()
    with caplog.at_level(logging.WARNING):
        asyncio.run(_failing(Pulls(store, RULES), store))
    assert store.noted == [(APP, FIRST), (APP, SECOND)]
    assert [record.getMessage() for record in caplog.records] == [
        "when manifests are pulled cannot be noted: no disk"
    ] * 2


def test_recording_goes_on(monkeypatch: pytest.MonkeyPatch) -> None:
    """Again and again it is said for which patterns pulls are noted."""
    store = Kept()

    async def recorded() -> None:
        monkeypatch.setattr(pulls, "BEAT_SECONDS", 0.001)
        recorder = Recorder(store, RULES)
        recorder.start(asyncio.get_running_loop())
        await asyncio.wait_for(store.said_thrice.wait(), 60)
        recorder.stop()

    asyncio.run(recorded())
    assert store.patterns[:3] == [["ci/**"]] * 3
