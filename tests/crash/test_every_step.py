"""A process that is killed at any step of a writing operation leaves a tree that is right."""

from __future__ import annotations

import asyncio
import shutil
import signal
from multiprocessing import get_context
from typing import TYPE_CHECKING

import pytest

from tests.crash.operations import OPERATIONS, look, prepare, run, run_killed
from tests.e2e.dangling import faults
from tests.e2e.medium import folder_in_memory
from tests.storage.contract.base import ONE

if TYPE_CHECKING:
    from collections import Counter
    from collections.abc import Iterator
    from multiprocessing.context import ForkServerContext
    from pathlib import Path

LEAST_STEPS = 3
STEPS = (*range(1, 100), *range(100, 5_000, 397))
"""Nothing but a collector has so many; it notes how far it has come in most of those that are left out."""
TIMEOUT = 60.0


@pytest.fixture(scope="module")
def processes() -> ForkServerContext:
    """Processes that have all modules from their start, so that each costs a few milliseconds."""
    context = get_context("forkserver")
    context.set_forkserver_preload(["tests.crash.operations"])
    return context


def is_killed(processes: ForkServerContext, root: Path, name: str, step: int) -> bool:
    """Run an operation in a process that is killed at this step; whether it came to that."""
    process = processes.Process(target=run_killed, args=(str(root), name, step))
    process.start()
    process.join(TIMEOUT)
    code = process.exitcode
    process.close()
    assert code in {0, -signal.SIGKILL}
    return code != 0


@pytest.fixture
def folder(tmp_path: Path) -> Iterator[Path]:
    """In memory: a kill leaves to the system what was written, so the disk is not asked."""
    with folder_in_memory(otherwise=tmp_path) as found:
        yield found


@pytest.mark.parametrize("name", OPERATIONS)
def test_killed_at_every_step(
    processes: ForkServerContext, folder: Path, tally: Counter[str], name: str
) -> None:
    """Whatever can be seen then is as before the operation or as after it, and nothing points to nothing.

    Done again, the operation ends as if it had not been broken off.
    """
    before, after, root = folder / "before", folder / "after", folder / "broken"
    asyncio.run(prepare(str(before)))
    shutil.copytree(before, after)
    asyncio.run(run(str(after), name))
    seen_before, seen_after = asyncio.run(look(str(before))), asyncio.run(look(str(after)))
    assert seen_before != seen_after
    # What a collector wrote down, and was killed before it removed it, can be restored, and so stays for that long.
    kept = {key for key in seen_before if name == "collect_garbage" and key.startswith(f"{ONE} ")}
    for step in STEPS:
        shutil.copytree(before, root)
        if not is_killed(processes, root, name, step):
            assert step > LEAST_STEPS
            break
        tally["kills at every step"] += 1
        assert faults(root) == [], step
        seen = asyncio.run(look(str(root)))
        assert {key for key in seen if seen[key] not in (seen_before[key], seen_after[key])} == set(), step
        asyncio.run(run(str(root), name))
        seen = asyncio.run(look(str(root)))
        assert {key: seen[key] for key in seen if key not in kept and seen[key] != seen_after[key]} == {}, (
            step
        )
        assert faults(root) == [], step
        shutil.rmtree(root)
    else:
        raise AssertionError(f"more than {STEPS[-1]} steps")
