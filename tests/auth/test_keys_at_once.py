"""The keys that tokens are signed with, made and rotated by several processes at once, and by such as are killed."""

from __future__ import annotations

import multiprocessing
import os
import signal
import time
from typing import TYPE_CHECKING

import pytest

from cargohold.auth.keys import SigningKeys
from tests.auth.signing import NOW, files, prepared
from tests.http.serving import WAIT_SECONDS

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path


def _start(folder: str, answers: multiprocessing.queues.Queue[str]) -> None:
    keys = SigningKeys(folder)
    keys.prepare(NOW)
    answers.put(keys.signing(NOW).kid)


def _rotate(folder: str, answers: multiprocessing.queues.Queue[str]) -> None:
    for _ in range(10):
        answers.put(SigningKeys(folder).rotate(NOW).kid)


def together(target: Callable[..., None], folder: Path, count: int, each: int) -> list[str]:
    """What processes answer that all do the same at once."""
    context = multiprocessing.get_context("fork")
    answers: multiprocessing.queues.Queue[str] = context.Queue()
    processes = [context.Process(target=target, args=(str(folder), answers)) for _ in range(count)]
    for process in processes:
        process.start()
    given = [answers.get(timeout=WAIT_SECONDS) for _ in range(count * each)]
    for process in processes:
        process.join(WAIT_SECONDS)
        assert process.exitcode == 0
    return given


def test_starts_at_once(folder: Path) -> None:
    """Workers that start at once, in a folder that is not there, make one key between them."""
    kids = together(_start, folder, 8, 1)
    assert len(set(kids)) == 1
    assert [path.stem for path in files(folder)] == kids[:1]


def test_rotations_at_once(folder: Path) -> None:
    """Rotations at once make each a key of its own, all of them whole."""
    prepared(folder)
    kids = together(_rotate, folder, 4, 10)
    assert len(set(kids)) == 40
    found = {key.kid for key in SigningKeys(str(folder)).all(NOW)}
    assert set(kids) < found
    assert len(found) == 41


def _rotate_for_ever(folder: str) -> None:
    for _ in range(100_000):
        SigningKeys(folder).rotate(time.time(), at_once=True)


@pytest.mark.parametrize("seconds", [0.05 + 0.003 * step for step in range(10)])
def test_killed(folder: Path, seconds: float) -> None:
    """Whenever a rotation is killed, there is a key that signs, and no file is damaged."""
    prepared(folder)
    process = multiprocessing.get_context("fork").Process(target=_rotate_for_ever, args=(str(folder),))
    process.start()
    time.sleep(seconds)
    process.kill()
    process.join(WAIT_SECONDS)
    assert process.exitcode == -signal.SIGKILL
    keys = prepared(folder, time.time())
    assert keys.signing(time.time())
    keys.rotate(time.time(), at_once=True)
    assert len(os.listdir(folder)) == 2
