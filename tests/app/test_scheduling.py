"""When a server collects by itself: by the runs that were, whatever the clock has done since."""

from __future__ import annotations

import logging
import os
import time
from pathlib import Path
from typing import TYPE_CHECKING

import msgspec
import pytest

from cargohold.app import collecting, terms_of
from cargohold.app.scheduling import collector
from cargohold.config import Settings
from cargohold.config.sections import Gc, Storage
from cargohold.storage.filesystem import FilesystemStore
from cargohold.storage.filesystem.collection import alone
from cargohold.storage.protocols import Unavailable
from cargohold.storage.runs import Runs, RunsFile

if TYPE_CHECKING:
    from cargohold.http.chores import Chore

HOUR = 3600.0
SOON = 300.0
FROM_MIDNIGHT = "0 0 * * *"


@pytest.fixture
def store(tmp_path: Path) -> FilesystemStore:
    made = FilesystemStore(str(tmp_path / "data"))
    made.prepare()
    made.close()
    return made


def settings(store: FilesystemStore, schedule: str) -> Settings:
    return Settings(storage=Storage(path=store.layout.root), gc=Gc(schedule=schedule, share=1.0, grace=1.0))


def chore(store: FilesystemStore, schedule: str) -> Chore:
    given = settings(store, schedule)
    made = collector(given, lambda: FilesystemStore(store.layout.root, terms_of(given)))
    assert made is not None
    return made


def ended(store: FilesystemStore, ago: float) -> None:
    """As if the last run had come to its end so long ago."""
    now = time.time()
    Path(store.layout.gc, "last.json").write_bytes(
        msgspec.json.encode(Runs(since=now - 100 * HOUR, ended=now - ago, outcomes={"complete": 7}))
    )


def noted(store: FilesystemStore) -> Runs:
    found = RunsFile(store.layout).read()
    assert found is not None
    return found


def first_in(store: FilesystemStore, schedule: str) -> float:
    """Seconds until the chore is looked at for the first time."""
    return chore(store, schedule).first - time.time()


def looks(store: FilesystemStore, schedule: str) -> list[float]:
    """What one look tells of the next, as seconds from now."""
    told: list[float] = []
    chore(store, schedule).work(told.append, lambda: False)
    return [when - time.time() for when in told]


def test_none(store: FilesystemStore) -> None:
    """There is none where the schedule is off, and none where the registry only reads; nothing is written then."""
    for given in (settings(store, "off"), msgspec.structs.replace(settings(store, "6h"), read_only=True)):
        assert collector(given, lambda: store) is None
    assert not os.path.exists(store.layout.gc)


def test_the_first_time(store: FilesystemStore) -> None:
    """On a storage that was never collected the first run comes with the schedule, counted from the first start."""
    assert first_in(store, "6h") == pytest.approx(6 * HOUR, abs=5)
    since = noted(store).since
    assert first_in(store, "6h") == pytest.approx(since + 6 * HOUR - time.time(), abs=1)
    assert noted(store) == Runs(since=since)


def test_an_interval_counts_from_the_last_end(store: FilesystemStore) -> None:
    """Over restarts too."""
    os.mkdir(store.layout.gc)
    ended(store, ago=2 * HOUR)
    assert first_in(store, "6h") == pytest.approx(4 * HOUR, abs=5)


@pytest.mark.parametrize(("schedule", "seconds"), [("6h", SOON), ("10s", 10.0), (FROM_MIDNIGHT, SOON)])
def test_what_was_missed(store: FilesystemStore, schedule: str, seconds: float) -> None:
    """What was due while no server ran is made up for some minutes after the start, or with the next time before."""
    os.mkdir(store.layout.gc)
    ended(store, ago=50 * HOUR)
    assert 0 < first_in(store, schedule) <= seconds + 1


@pytest.mark.parametrize("schedule", ["6h", FROM_MIDNIGHT])
def test_a_run_from_the_future(store: FilesystemStore, schedule: str) -> None:
    """Where a clock that was wrong has ended a run in the future, the next one is due as if that had just been."""
    os.mkdir(store.layout.gc)
    ended(store, ago=-1000 * HOUR)
    assert 0 < first_in(store, schedule) <= 25 * HOUR
    (told,) = looks(store, schedule)
    assert 0 < told <= 25 * HOUR


def test_a_look_that_comes_too_early(store: FilesystemStore) -> None:
    """Where another server or a command has collected meanwhile nothing is done, and it is looked when that is due."""
    os.mkdir(store.layout.gc)
    ended(store, ago=HOUR)
    before = noted(store)
    assert looks(store, "6h") == [pytest.approx(5 * HOUR, abs=5)]
    assert noted(store) == before


def test_a_look_that_collects(store: FilesystemStore) -> None:
    """A run that is due is made and noted; before it begins the time after it is told, should its process die."""
    os.mkdir(store.layout.gc)
    ended(store, ago=7 * HOUR)
    assert looks(store, "6h") == [pytest.approx(6 * HOUR, abs=60)] * 2
    found = noted(store)
    assert found.ended == pytest.approx(time.time(), abs=60)
    assert found.outcomes == {"complete": 8}


def test_another_collects(store: FilesystemStore, caplog: pytest.LogCaptureFixture) -> None:
    """While another process collects, or copies, nothing is done or noted, and it is tried again in some minutes."""
    os.mkdir(store.layout.gc)
    ended(store, ago=7 * HOUR)
    before = noted(store)
    with alone(store) as is_alone, caplog.at_level(logging.INFO):
        assert is_alone
        assert looks(store, "6h")[-1] == pytest.approx(600, abs=5)
        assert looks(store, "10s")[-1] == pytest.approx(10, abs=5)
    assert noted(store) == before
    assert caplog.text.count("another process does that") == 2


def test_a_storage_that_fails(
    store: FilesystemStore, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    """A run that the storage ends is noted and told in one line; the next comes with the schedule."""
    os.mkdir(store.layout.gc)
    ended(store, ago=7 * HOUR)

    def fail(*_: object, **__: object) -> None:
        raise Unavailable("the disk is away")

    monkeypatch.setattr(collecting, "collect", fail)
    assert looks(store, "6h") == [pytest.approx(6 * HOUR, abs=5)]
    assert noted(store).outcomes == {"complete": 7, "failed": 1}
    (record,) = caplog.records
    assert (record.levelname, record.exc_info) == ("ERROR", None)
    assert record.getMessage() == "garbage cannot be collected: the disk is away"


def test_a_record_that_cannot_be_read(store: FilesystemStore, caplog: pytest.LogCaptureFixture) -> None:
    """Where it cannot be told when the last run was, the server starts all the same; the log says why."""
    os.makedirs(f"{store.layout.gc}/last.json")
    assert first_in(store, "6h") == pytest.approx(6 * HOUR, abs=5)
    assert "when garbage was last collected cannot be told" in caplog.text
