"""What is removed while nobody waits."""

from __future__ import annotations

import errno
import os
import threading
from typing import TYPE_CHECKING

from cargohold.storage import removals
from cargohold.storage.durable import remove
from cargohold.storage.removals import Removals

if TYPE_CHECKING:
    from pathlib import Path

    import pytest


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
    may_go, gone = threading.Event(), list[tuple[str, bool]]()

    def take_long(path: str) -> None:
        is_caller = threading.current_thread() is threading.main_thread()
        assert is_caller or may_go.wait(30)
        gone.append((path, is_caller))

    made = Removals(take_long)
    for number in range(removals._MOST + 2):
        made.later(f"{number}")
    assert gone == [(f"{removals._MOST}", True), (f"{removals._MOST + 1}", True)]
    may_go.set()
    made.close()
    assert len(gone) == removals._MOST + 2


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
