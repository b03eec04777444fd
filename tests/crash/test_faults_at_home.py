"""A disk that fails at any step of what no client asks for: restoring what was deleted, and collecting garbage."""

from __future__ import annotations

import asyncio
import shutil
from typing import TYPE_CHECKING

import pytest

from cargohold.storage.protocols import StoreError
from tests.crash.calls import surrounded
from tests.crash.faults import Control
from tests.crash.operations import OPERATIONS, look, prepare, run
from tests.e2e.dangling import faults
from tests.e2e.medium import folder_in_memory
from tests.storage.contract.base import ONE

if TYPE_CHECKING:
    from collections import Counter
    from collections.abc import Iterator
    from pathlib import Path

STEPS = (*range(1, 60), *range(60, 5_000, 401))
"""Nothing but a collector has so many; it notes how far it has come in most of those that are left out."""
MAY_DIFFER = {
    # What a collector wrote down, and could not remove, can be restored, and so stays for that long.
    ("collect_garbage", "an error"): ONE,
    ("collect_garbage", "no room"): ONE,
    # Where there is no room to write it down, what is deleted is gone.
    ("delete_manifest", "no room"): "deleted",
    ("delete_tag", "no room"): "deleted",
}
"""What may not be at the end as if nothing had failed: its names begin so."""
QUICK = {"restore", "collect_garbage"}


@pytest.fixture
def folder(tmp_path: Path) -> Iterator[Path]:
    """In memory: what is synced here is not asked of the disk."""
    with folder_in_memory(otherwise=tmp_path) as found:
        yield found


def run_failing(control: Control, root: Path, name: str) -> None:
    """Run an operation, which may fail as the store tells of it."""
    with surrounded(control.around):
        try:
            asyncio.run(run(str(root), name))
        except (StoreError, OSError):
            return


@pytest.mark.parametrize("fault", ["an error", "no room"])
@pytest.mark.parametrize(
    "name",
    [pytest.param(name, marks=[] if name in QUICK else [pytest.mark.soak]) for name in OPERATIONS],
)
def test_every_step_of_an_operation_fails(folder: Path, tally: Counter[str], name: str, fault: str) -> None:
    """Whatever can be seen then is as before or as after, and nothing points to nothing; done again, it ends well."""
    control = Control(folder / "control")
    before, after, root = folder / "before", folder / "after", folder / "failed"
    asyncio.run(prepare(str(before)))
    shutil.copytree(before, after)
    asyncio.run(run(str(after), name))
    seen_before, seen_after = asyncio.run(look(str(before))), asyncio.run(look(str(after)))
    kept = {key for key in seen_before if key.startswith(MAY_DIFFER.get((name, fault), "nothing"))}
    for step in STEPS:
        shutil.copytree(before, root)
        control.arm(fault, step)
        run_failing(control, root, name)
        if not control.disarm():
            break
        tally["faults"] += 1
        assert faults(root) == [], step
        seen = asyncio.run(look(str(root)))
        assert {key for key in seen if seen[key] not in (seen_before[key], seen_after[key])} == set(), step
        asyncio.run(run(str(root), name))
        seen = asyncio.run(look(str(root)))
        assert {key: seen[key] for key in seen if key not in kept and seen[key] != seen_after[key]} == {}, (
            step
        )
        shutil.rmtree(root)
    else:
        raise AssertionError(f"more than {STEPS[-1]} steps")
