"""What is told and noted of a run, whatever comes of it."""

from __future__ import annotations

import asyncio
import logging
import os
import time
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from cargohold.app import collecting, terms_of
from cargohold.app.collecting import collect, remove_swept, run
from cargohold.config import Settings
from cargohold.config.sections import Gc, Storage, Trash
from cargohold.storage.filesystem import FilesystemStore, pace
from cargohold.storage.filesystem.collection import FileCollection, alone
from cargohold.storage.filesystem.collection.clock import ClockSet
from cargohold.storage.protocols import Unavailable
from cargohold.storage.runs import Runs, RunsFile
from tests.storage.collecting import make_old
from tests.storage.contract.base import LATEST, ONE, OTHER, commit, push, sample

if TYPE_CHECKING:
    from collections.abc import Iterator

    from cargohold.storage.collecting import Collected

STRAY = b"stray"
HOUR = 3600.0


@pytest.fixture
def settings(tmp_path: Path) -> Settings:
    return Settings(
        storage=Storage(path=str(tmp_path / "data")), gc=Gc(grace=HOUR, share=1.0), trash=Trash(keep=0.0)
    )


@pytest.fixture
def store(settings: Settings) -> Iterator[FilesystemStore]:
    """It holds a blob that nothing uses, which nobody has asked for in a long time, and an image of another name."""
    made = FilesystemStore(settings.storage.path, terms_of(settings))
    made.prepare()
    asyncio.run(_fill(made))
    make_old(made)
    yield made
    made.close()


async def _fill(store: FilesystemStore) -> None:
    await push(store, ONE, STRAY)
    await commit(store, OTHER, sample("image"), LATEST)


def noted(store: FilesystemStore) -> Runs | None:
    return RunsFile(store.layout).read()


def swept(store: FilesystemStore) -> list[str]:
    return os.listdir(store.layout.swept) if os.path.isdir(store.layout.swept) else []


def test_a_run(settings: Settings, store: FilesystemStore, caplog: pytest.LogCaptureFixture) -> None:
    """A run is one line of the log with its counts, and is added to what is known of runs; each thing is told of."""
    found: list[Collected] = []
    steps: list[int] = []
    with caplog.at_level(logging.INFO):
        report = run(settings, store, found=found.append, on_step=steps.append)
    assert report is not None
    assert [each.kind for each in found] == ["link", "blob"]
    assert sum(steps) == len(steps) >= 3
    (record,) = caplog.records
    assert (record.levelname, record.name) == ("INFO", "cargohold.app.collecting")
    assert record.getMessage() == (
        "collected garbage: 0 tags, 0 manifests, 1 links and 1 blobs (5 bytes) went in 2 repositories, 0 of which were"
        f" skipped; {report.seconds:.1f} seconds"
    )
    runs = noted(store)
    assert runs is not None
    assert (runs.freed, runs.skipped, runs.seconds) == (len(STRAY), 0, report.seconds)
    assert runs.outcomes == {"complete": 1}
    assert runs.ended == pytest.approx(time.time(), abs=60)


def test_a_repository_that_is_skipped(
    settings: Settings, store: FilesystemStore, caplog: pytest.LogCaptureFixture
) -> None:
    """A run that could not read something is a partial one; the log says what, and of which repository."""
    Path(store.layout.data(sample("image").digest)).unlink()
    with caplog.at_level(logging.INFO):
        report = run(settings, store)
    assert report is not None
    assert report.skipped.keys() == {OTHER}
    assert f"not all is collected in {OTHER}: " in caplog.text
    assert "1 of which were skipped" in caplog.text
    runs = noted(store)
    assert runs is not None
    assert (runs.skipped, runs.freed, runs.outcomes) == (1, len(STRAY), {"partial": 1})


def test_a_run_that_is_broken_off(
    settings: Settings,
    store: FilesystemStore,
    monkeypatch: pytest.MonkeyPatch,
    caplog: pytest.LogCaptureFixture,
) -> None:
    """One that was told to end is told of as such, and is not the last that came to its end; the next is whole."""
    with caplog.at_level(logging.INFO), monkeypatch.context() as patch:
        patch.setattr(pace, "_STEPS", 1)
        patch.setattr(pace, "_LEAST_SECONDS", 0.0)
        report = run(settings, store, is_closing=lambda: True)
    assert report is not None
    assert not report.ended
    assert "broken off, to be gone on with" in caplog.text
    runs = noted(store)
    assert runs is not None
    assert (runs.ended, runs.outcomes) == (0.0, {"stopped": 1})
    report = run(settings, store)
    assert report is not None
    assert report.ended
    runs = noted(store)
    assert runs is not None
    assert (runs.freed, runs.outcomes) == (len(STRAY), {"stopped": 1, "complete": 1})


@pytest.mark.parametrize("error", [OSError(5, "Input/output error", "/disk"), RuntimeError("a mistake")])
def test_a_run_that_fails(
    settings: Settings, store: FilesystemStore, monkeypatch: pytest.MonkeyPatch, error: Exception
) -> None:
    """What the disk says is the store's error, any other goes on as it is; either is noted, with what went before."""

    def fail(_: object) -> None:
        raise error

    monkeypatch.setattr(FileCollection, "collect_content", fail)
    with pytest.raises(Unavailable if isinstance(error, OSError) else RuntimeError, match=r"error|mistake"):
        run(settings, store)
    runs = noted(store)
    assert runs is not None
    assert (runs.ended, runs.outcomes) == (0.0, {"failed": 1})


def test_another_collects(settings: Settings, store: FilesystemStore) -> None:
    """While another process collects nothing is done, and nothing noted."""
    with alone(store):
        assert run(settings, store) is None
        assert collect(settings, store, is_dry=True) is None
    assert noted(store) is None


def test_a_dry_run_is_not_noted(settings: Settings, store: FilesystemStore) -> None:
    """A dry run finds the same and changes nothing."""
    found: list[Collected] = []
    report = collect(settings, store, is_dry=True, found=found.append)
    assert report is not None
    assert [each.kind for each in found] == ["link", "blob"]
    assert noted(store) is None
    assert not swept(store)
    assert os.path.exists(store.layout.data(found[0].digest))


def test_a_run_that_cannot_be_noted(
    settings: Settings, store: FilesystemStore, caplog: pytest.LogCaptureFixture
) -> None:
    """What was done was done: the log says that it could not be noted."""
    os.makedirs(f"{store.layout.gc}/last.json")
    report = run(settings, store)
    assert report is not None
    assert report.blobs == 1
    assert "the run of the collector cannot be noted" in caplog.text


def test_what_is_younger_than_asked_for(settings: Settings, store: FilesystemStore) -> None:
    """`min_age` takes the place of the grace time: more than how old it is keeps a thing, less collects it."""
    make_old(store, 10 * HOUR)
    report = run(settings, store, min_age=20 * HOUR)
    assert report is not None
    assert (report.links, report.blobs) == (0, 0)
    report = run(settings, store, min_age=5 * HOUR)
    assert report is not None
    assert (report.links, report.blobs) == (1, 1)


def test_off_the_disk(settings: Settings, store: FilesystemStore) -> None:
    """What was collected is removed half a minute later, not before, and not by one that is told to end."""
    run(settings, store)
    (name,) = swept(store)
    assert remove_swept(settings, store, lambda: False) == 0
    assert swept(store) == [name]
    then = time.time() - collecting.REMOVED_AFTER
    os.utime(f"{store.layout.swept}/{name}", (then, then))
    assert remove_swept(settings, store, lambda: False) == len(STRAY)
    assert swept(store) == []
    assert remove_swept(settings, store, lambda: True) == 0


def test_the_clock_is_set_forward_between_runs(
    settings: Settings, store: FilesystemStore, monkeypatch: pytest.MonkeyPatch
) -> None:
    """What was leased before stays as long as it would have stayed by the old clock, and goes then."""
    assert run(settings, store, min_age=1000 * HOUR) is not None
    make_old(store, 0.5 * HOUR)
    now = time.time
    monkeypatch.setattr(time, "time", lambda: now() + 2 * HOUR)
    report = run(settings, store)
    assert report is not None
    assert (report.links, report.blobs) == (0, 0)
    make_old(store, 3.1 * HOUR)
    report = run(settings, store)
    assert report is not None
    assert (report.links, report.blobs) == (1, 1)


def test_the_clock_is_set_during_a_run(
    settings: Settings, store: FilesystemStore, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The run has failed, at the next step whatever it is at; nothing goes, and the next run is whole."""
    now = time.time
    with monkeypatch.context() as patch, pytest.raises(ClockSet):
        run(settings, store, on_step=lambda _: patch.setattr(time, "time", lambda: now() - HOUR))
    runs = noted(store)
    assert runs is not None
    assert (runs.ended, runs.freed, runs.outcomes) == (0.0, 0, {"failed": 1})
    report = run(settings, store)
    assert report is not None
    assert (report.is_resumed, report.ended, report.blobs) == (False, True, 1)
