"""What is removed while nobody waits."""

from __future__ import annotations

import errno
import os
import threading
from itertools import count
from typing import TYPE_CHECKING

import pytest

from cargohold.storage import removals
from cargohold.storage.durable import remove
from cargohold.storage.removals import Removals

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path


def test_removed_in_order(tmp_path: Path) -> None:
    """Files and folders go, one after the other; at the end none is left."""
    paths = [str(tmp_path / f"{number}") for number in range(100)]
    for path in paths:
        os.makedirs(f"{path}/folder")
    made = Removals(remove)
    for path in paths:
        made.later(path)
    made.close()
    assert os.listdir(tmp_path) == []


def test_nobody_waits_for_it() -> None:
    """Whoever has something removed goes on, until too many wait; then he removes it himself."""
    begun, may_go, gone = threading.Event(), threading.Event(), list[tuple[str, bool]]()

    def take_long(path: str) -> None:
        is_caller = threading.current_thread() is threading.main_thread()
        begun.set()
        assert is_caller or may_go.wait(30)
        gone.append((path, is_caller))

    made = Removals(take_long)
    made.later("first")
    assert begun.wait(30)
    for number in range(removals._MOST + 2):
        made.later(f"{number}")
    assert gone == [(f"{removals._MOST}", True), (f"{removals._MOST + 1}", True)]
    may_go.set()
    made.close()
    assert len(gone) == removals._MOST + 3


def test_it_waits_for_those_who_use_the_disk(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Nothing is removed before nobody changes the folder any more in which it lies."""
    looked, real = list[str](), removals._time_of

    def look(folder: str) -> int:
        looked.append(folder)
        if len(looked) <= 5:
            os.utime(folder, ns=(len(looked), len(looked)))
        return real(folder)

    monkeypatch.setattr(removals, "_time_of", look)
    gone = threading.Event()
    made = Removals(lambda _: gone.set())
    made.later(str(tmp_path / "one"))
    assert gone.wait(30)
    assert looked == [str(tmp_path)] * 6
    made.close()


@pytest.fixture
def busy(monkeypatch: pytest.MonkeyPatch) -> Iterator[tuple[Removals, threading.Event]]:
    """Removals where somebody changes the folder all the time, and what tells that one has been made."""
    times = count()
    monkeypatch.setattr(removals, "_time_of", lambda _: next(times))
    gone = threading.Event()
    made = Removals(lambda _: gone.set())
    yield made, gone
    made.close()


def test_many_do_not_wait(busy: tuple[Removals, threading.Event]) -> None:
    """Where more than half of those wait for whom there is room, they are removed beside all else."""
    made, gone = busy
    for number in range(removals._MANY + 2):
        made.later(f"{number}")
    assert gone.wait(30)


def test_much_does_not_wait(busy: tuple[Removals, threading.Event]) -> None:
    """What takes much of the disk is removed beside all else, so that its room is there for others."""
    made, gone = busy
    made.later("small", removals._MANY_BYTES)
    assert not gone.wait(0.3)
    made.later("large", 1)
    assert gone.wait(30)


def test_a_failure_is_told(caplog: pytest.LogCaptureFixture) -> None:
    """What cannot be removed is told in the log, and the others are removed."""
    gone: list[str] = []

    def fail(path: str) -> None:
        if path == "bad":
            raise OSError(errno.EIO, "Input/output error")
        gone.append(path)

    made = Removals(fail)
    for path in ("bad", "good"):
        made.later(path)
    made.close()
    assert gone == ["good"]
    assert "bad cannot be removed" in caplog.text


def test_the_end_does_not_take_long(monkeypatch: pytest.MonkeyPatch) -> None:
    """What a slow disk has not come to when the process ends is left."""
    monkeypatch.setattr(removals, "_CLOSING_SECONDS", 0.0)
    begun, may_go, gone = threading.Event(), threading.Event(), list[str]()

    def take_long(path: str) -> None:
        begun.set()
        assert may_go.wait(30)
        gone.append(path)

    made = Removals(take_long)
    for path in ("one", "two"):
        made.later(path)
    assert begun.wait(30)
    threading.Timer(0.1, may_go.set).start()
    made.close()
    assert gone == ["one"]
