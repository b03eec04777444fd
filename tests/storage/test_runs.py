"""What is noted of the collector's runs, by several processes, whatever becomes of the file."""

from __future__ import annotations

import logging
import multiprocessing
import time
from pathlib import Path

import pytest

from cargohold.storage.layout import Layout
from cargohold.storage.runs import OUTCOMES, Runs, RunsFile

_fork = multiprocessing.get_context("fork")


@pytest.fixture
def layout(tmp_path: Path) -> Layout:
    return Layout(str(tmp_path))


@pytest.fixture
def file(layout: Layout) -> RunsFile:
    return RunsFile(layout)


def check_now(moment: float) -> None:
    assert moment == pytest.approx(time.time(), abs=60)


def test_nothing_is_known_at_first(file: RunsFile) -> None:
    """Before anything is noted nothing is known; then it is known since when, and that does not change."""
    assert file.read() is None
    begun = file.begin()
    check_now(begun.since)
    assert begun == Runs(since=begun.since) == file.read() == file.begin()
    assert begun.last == begun.since


def test_runs_are_added_up(file: RunsFile) -> None:
    """Bytes and outcomes are those of all runs; the time, duration and gaps those of the last that came to its end."""
    file.note("complete", seconds=2.5, freed=10)
    file.note("partial", seconds=1.5, skipped=3, freed=5)
    found = file.read()
    assert found is not None
    check_now(found.ended)
    assert (found.seconds, found.skipped, found.freed) == (1.5, 3, 15)
    assert found.last == found.ended
    file.note("failed", freed=1)
    file.note("stopped", seconds=9.0, skipped=9)
    file.note("stopped")
    again = file.read()
    assert again is not None
    assert (again.ended, again.seconds, again.skipped) == (found.ended, 1.5, 3)
    assert again.freed == 16
    assert again.outcomes == {"complete": 1, "partial": 1, "failed": 1, "stopped": 2}
    assert again.outcomes.keys() == set(OUTCOMES)


def test_nobody_loses_what_another_notes(layout: Layout) -> None:
    """Processes that note runs at the same time are all counted."""

    def note() -> None:
        for _ in range(50):
            RunsFile(layout).note("complete", freed=1)

    processes = [_fork.Process(target=note) for _ in range(3)]
    for process in processes:
        process.start()
    for process in processes:
        process.join(60)
        assert process.exitcode == 0
    found = RunsFile(layout).read()
    assert found is not None
    assert (found.freed, found.outcomes) == (150, {"complete": 150})


@pytest.mark.parametrize(
    "content",
    [b"", b"{", b"[]", b'{"since": "a"}', b'{"since": 1, "outcomes": {"odd": 1}}', b"\xff" * 70_000],
)
def test_a_damaged_file(
    file: RunsFile, layout: Layout, content: bytes, caplog: pytest.LogCaptureFixture
) -> None:
    """What is not as it was written is nothing that is known; it is begun anew, which the log tells."""
    file.begin()
    path = Path(layout.gc) / "last.json"
    path.write_bytes(content)
    with caplog.at_level(logging.WARNING):
        assert file.read() is None
        assert not caplog.text
        file.note("complete", freed=3)
    assert f"{path} is not as it was written" in caplog.text
    found = file.read()
    assert found is not None
    check_now(found.since)
    assert (found.freed, found.outcomes) == (3, {"complete": 1})


def test_it_may_be_removed(file: RunsFile, layout: Layout) -> None:
    """Where the file, or the folder, is removed meanwhile it is begun anew; nothing else is left in the folder."""
    file.note("complete", freed=3)
    (Path(layout.gc) / "last.json").unlink()
    file.note("partial", freed=2)
    assert [path.name for path in Path(layout.gc).iterdir()] == ["last.json"]
    found = file.read()
    assert found is not None
    assert found.freed == 2


def test_a_folder_in_its_place(file: RunsFile, layout: Layout) -> None:
    """What cannot be read or written is an error of the system, for its caller to tell."""
    (Path(layout.gc) / "last.json").mkdir(parents=True)
    with pytest.raises(IsADirectoryError):
        file.read()
    with pytest.raises(OSError, match="Is a directory"):
        file.note("complete")
