"""A process that is killed at any step of a deletion, or of its undoing, loses nothing that could be undone."""

from __future__ import annotations

import asyncio
import os
import shutil
import signal
from contextlib import closing
from multiprocessing import get_context
from typing import TYPE_CHECKING

import pytest

from cargohold.storage.filesystem import FilesystemStore
from tests.crash.trash_operations import look, prepare, run, run_killed
from tests.e2e.dangling import faults
from tests.e2e.medium import folder_in_memory
from tests.storage.contract.base import ONE

if TYPE_CHECKING:
    from collections.abc import Iterator
    from multiprocessing.context import ForkServerContext
    from pathlib import Path

LEAST_STEPS, MOST_STEPS = 3, 200
TIMEOUT = 60.0


@pytest.fixture(scope="module")
def processes() -> ForkServerContext:
    """Processes that have all modules from their start, so that each costs a few milliseconds."""
    context = get_context("forkserver")
    context.set_forkserver_preload(["tests.crash.trash_operations"])
    return context


@pytest.fixture
def folder(tmp_path: Path) -> Iterator[Path]:
    """In memory: a kill leaves to the system what was written, so the disk is not asked."""
    with folder_in_memory(otherwise=tmp_path) as found:
        yield found


def is_killed(processes: ForkServerContext, root: Path, name: str, step: int) -> bool:
    """Run an operation in a process that is killed at this step; whether it came to that."""
    process = processes.Process(target=run_killed, args=(str(root), name, step))
    process.start()
    process.join(TIMEOUT)
    code = process.exitcode
    process.close()
    assert code in {0, -signal.SIGKILL}
    return code != 0


def seen(root: Path) -> dict[str, object]:
    with closing(FilesystemStore(str(root))) as store:
        return asyncio.run(look(store))


def broken(processes: ForkServerContext, before: Path, name: str) -> Iterator[Path]:
    """The tree after a kill at each step of an operation."""
    for step in range(1, MOST_STEPS):
        root = before.with_name(f"broken-{step}")
        shutil.copytree(before, root)
        if not is_killed(processes, root, name, step):
            assert step > LEAST_STEPS
            return
        assert faults(root) == [], step
        yield root
        shutil.rmtree(root)
    raise AssertionError(f"more than {MOST_STEPS} steps")


@pytest.mark.parametrize("name", ["delete_tag", "delete_index", "delete_all"])
def test_deletion_can_be_undone(processes: ForkServerContext, folder: Path, name: str) -> None:
    """Wherever a deletion is broken off, what is gone is in the trash: restored, all is as it was."""
    asyncio.run(prepare(str(folder / "before"), is_deleted=False))
    whole = seen(folder / "before")
    for root in broken(processes, folder / "before", name):
        assert asyncio.run(run(str(root), "restore")) == whole, root
        assert faults(root) == [], root


def test_restoration_can_be_done_again(processes: ForkServerContext, folder: Path) -> None:
    """Wherever a restoration is broken off, the rest is still in the trash: done again, all is as it was."""
    asyncio.run(prepare(str(folder / "whole"), is_deleted=False))
    asyncio.run(prepare(str(folder / "before"), is_deleted=True))
    whole = seen(folder / "whole")
    assert seen(folder / "before") != whole
    for root in broken(processes, folder / "before", "restore"):
        assert asyncio.run(run(str(root), "restore")) == whole, root
        assert faults(root) == [], root


def test_emptying_can_be_done_again(processes: ForkServerContext, folder: Path) -> None:
    """Wherever an emptying is broken off, each deletion is final or is not, and no record is lost or made."""
    asyncio.run(prepare(str(folder / "before"), is_deleted=True))
    records = len(names_in(folder / "before"))
    for root in broken(processes, folder / "before", "empty"):
        assert len(names_in(root)) == records
        asyncio.run(run(str(root), "empty"))
        assert all(name.endswith(".ended") for name in names_in(root))
        assert len(names_in(root)) == records


def names_in(root: Path) -> list[str]:
    with closing(FilesystemStore(str(root))) as store:
        return os.listdir(store.layout.trash(ONE))
