"""What the processes of a server take of the machine."""

from __future__ import annotations

import multiprocessing
import os
import resource
import time
from contextlib import contextmanager
from typing import TYPE_CHECKING

import pytest

from cargohold.observe.processes import usage

if TYPE_CHECKING:
    from collections.abc import Iterator
    from multiprocessing.process import BaseProcess

_fork = multiprocessing.get_context("fork")
LONG = 60.0


@contextmanager
def child() -> Iterator[BaseProcess]:
    process = _fork.Process(target=time.sleep, args=(LONG,))
    process.start()
    try:
        yield process
    finally:
        process.kill()
        process.join(LONG)


def test_one_process() -> None:
    """A process that serves by itself is the one worker; its time and memory are what the kernel says elsewhere."""
    found = usage(os.getpid(), {os.getpid()})
    assert found is not None
    own, children = resource.getrusage(resource.RUSAGE_SELF), resource.getrusage(resource.RUSAGE_CHILDREN)
    seconds = own.ru_utime + own.ru_stime + children.ru_utime + children.ru_stime
    assert found.workers == 1
    assert found.cpu_seconds == pytest.approx(seconds, abs=0.2)
    assert 0 < found.resident_bytes <= own.ru_maxrss * 1024


def test_children() -> None:
    """Workers are the children that live; others' processes count for nothing, one that ended for its time alone."""
    alone = usage(os.getpid(), set())
    assert alone is not None
    assert alone.workers == 0
    with child() as first, child() as second:
        assert first.pid
        assert second.pid
        pids = {first.pid, second.pid}
        both = usage(os.getpid(), pids | {1})
        assert both is not None
        assert both.workers == 2
        assert both.resident_bytes > alone.resident_bytes
        os.kill(first.pid, 9)
        os.waitid(os.P_PID, first.pid, os.WEXITED | os.WNOWAIT)
        left = usage(os.getpid(), pids)
        assert left is not None
        assert left.workers == 1
        assert left.cpu_seconds >= both.cpu_seconds


def test_no_such_process() -> None:
    """Where nothing can be read nothing is told."""
    gone = _fork.Process(target=int)
    gone.start()
    pid = gone.pid
    gone.join(LONG)
    assert pid
    assert usage(pid, set()) is None
