"""A power cut at any moment: what was acknowledged is there, and nothing is there that is wrong."""

from __future__ import annotations

import asyncio
import random
import re
import shutil
from collections import Counter
from contextlib import nullcontext
from typing import TYPE_CHECKING, NamedTuple

import pytest

from cargohold.storage import disk, spares
from cargohold.storage.filesystem import FilesystemStore
from cargohold.storage.filesystem.session import FileSession
from tests.crash import power
from tests.crash.calls import surrounded
from tests.crash.clients import Known, found, is_in_trash, resume, work
from tests.crash.collecting import found_whole, work_and_collect
from tests.crash.power import Order, leave
from tests.crash.recording import Began, Recorder
from tests.e2e.dangling import faults
from tests.e2e.medium import folder_in_memory

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable, Iterator
    from pathlib import Path

    from cargohold.types.digest import Digest
    from tests.crash.clients import Key, Session
    from tests.crash.recording import Event

    Find = Callable[[FilesystemStore, Key], Awaitable[Digest | None]]
    Record = Callable[[Path, int, Recorder], "Work"]

WRONG = "other bytes than its digest's"
SEEDS, CUTS = 8, 40
TOLD = 300
"""So many of the last events are told when something was lost."""
MANY = pytest.param(60, marks=[pytest.mark.soak, pytest.mark.timeout(3_600)])
OF_A_BLOB = re.compile(r"/blobs/\w+/\w\w(/\w+)?$")
OF_A_LAYER = re.compile(r"/_layers(/\w+(/\w+)?)?$")
OF_A_REVISION = re.compile(r"/revisions/\w+(/\w+)?$")
OF_A_TAG = re.compile(r"/tags(/[^/]+(/current)?)?$")
OF_REPOSITORIES = re.compile(r"/repositories(/\w+)?$")
OF_A_SESSION = re.compile(r"/_uploads/")
OF_THE_TRASH = re.compile(r"/_cargohold(/trash)?$")
STAGED = re.compile(r"/cargohold/new/")


class Work(NamedTuple):
    """What clients did, and the sessions that they had."""

    events: list[Event]
    folders: set[int]
    sessions: list[Session]
    find: Find = found
    keeps_trash: bool = True


@pytest.fixture
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Path]:
    """In memory: what is durable is known from the log. What was replaced is written again at once."""
    monkeypatch.setattr(spares, "REST", 0.0)
    with folder_in_memory(otherwise=tmp_path) as made:
        yield made


def record(root: Path, seed: int, recorder: Recorder) -> Work:
    root.mkdir()
    with surrounded(recorder.around):
        sessions = asyncio.run(work(str(root), recorder, seed))
    shutil.rmtree(root)
    return Work(recorder.events, recorder.folders, sessions)


def record_collection(root: Path, seed: int, recorder: Recorder) -> Work:
    root.mkdir()
    with surrounded(recorder.around):
        asyncio.run(work_and_collect(str(root), recorder, seed))
    shutil.rmtree(root)
    return Work(recorder.events, recorder.folders, [], found_whole, keeps_trash=False)


async def check(root: Path, work: Work, known: Known, order: Order) -> None:
    """Hold what is left against what is known."""
    store = FilesystemStore(str(root))
    store.prepare()
    try:
        there = {key: await work.find(store, key) for key in known.keys}
        assert {key: value for key, value in there.items() if value not in known.allowed(key)} == {}
        assert [each for each in faults(root) if not may_be_left(each, known, order)] == []
        if work.keeps_trash:
            assert [key for key in known.deleted if not await is_in_trash(store, key)] == []
        for session in work.sessions:
            await resume(store, session)
        assert [each for each in faults(root) if WRONG in each] == []
    finally:
        store.close()


def may_be_left(fault: str, known: Known, order: Order) -> bool:
    """Where names are written down in any order: what is of a push that was not acknowledged, and a tag's history."""
    unsure = {key.name.rpartition(":")[2] for key in known.asked}
    is_known = fault.endswith("/index") or any(name in fault for name in unsure)
    return order is Order.FREE and WRONG not in fault and is_known


def cut(work: Work, seed: int, number: int, folder: Path) -> None:
    """Cut the power once, in one of the ways, and see what is left."""
    dice = random.Random(f"{seed} {number}")
    first = next((index for index, event in enumerate(work.events) if isinstance(event, Began)), 0)
    moment, order = dice.randint(first, len(work.events)), dice.choice(list(Order))
    events, root = work.events[:moment], folder / "left"
    leave(events, work.folders, dice, order, root)
    try:
        asyncio.run(check(root, work, Known.after(events), order))
    except AssertionError as error:
        error.add_note(f"seed {seed}, cut {number}, after {moment} events, order {order.value}")
        error.add_note("\n".join(f"{event!r:.200}" for event in events[-TOLD:]))
        raise
    finally:
        shutil.rmtree(root)


def cut_often(
    folder: Path, tally: Counter[str], seeds: int, record: Record, **options: Callable[..., bool]
) -> None:
    root = folder / "whole"
    for seed in range(seeds):
        done = record(root, seed, Recorder(str(root), **options))
        for number in range(CUTS):
            cut(done, seed, number, folder)
            tally["power cuts"] += 1


@pytest.mark.parametrize("seeds", [SEEDS, MANY])
def test_power_cut(folder: Path, tally: Counter[str], seeds: int) -> None:
    """All that was acknowledged is there, whatever of the rest was written down, and in whatever order.

    Every blob and manifest is what its digest says, and what was deleted can be restored. Where names are kept in
    their order nothing points to nothing; elsewhere only what was not acknowledged does. A session that has lost bytes
    goes on where it ends, and is never taken for what it was to become.
    """
    cut_often(folder, tally, seeds, record)


@pytest.mark.parametrize("seeds", [SEEDS // 4, MANY])
def test_power_cut_while_collecting(folder: Path, tally: Counter[str], seeds: int) -> None:
    """An image that was acknowledged is whole, though what others left of the same layers is just being collected."""
    cut_often(folder, tally, seeds, record_collection)


@pytest.mark.parametrize("seeds", [SEEDS // 2, MANY])
def test_power_cut_after_a_sync_that_failed(folder: Path, tally: Counter[str], seeds: int) -> None:
    """What the system could not write, and then forgot, is not acknowledged because a second sync succeeds."""
    cut_often(folder, tally, seeds, record, fails=lambda number: number % 5 == 0)


@pytest.mark.parametrize(
    ("name", "paths"),
    [
        ("sync_file", OF_A_SESSION),
        ("sync_file", STAGED),
        ("sync_folder", OF_A_BLOB),
        ("sync_folder", OF_A_LAYER),
        ("sync_folder", OF_A_REVISION),
        ("sync_folder", OF_A_TAG),
        ("sync_folder", OF_REPOSITORIES),
        ("sync_folder", OF_THE_TRASH),
    ],
)
def test_a_sync_left_out_is_found(folder: Path, name: str, paths: re.Pattern[str]) -> None:
    """Were one of the syncs not made, a power cut would show it."""
    assert name in disk.CALLS
    with pytest.raises(AssertionError):
        cut_often(
            folder,
            Counter(),
            SEEDS,
            record,
            omits=lambda call, path: call == name and bool(paths.search(path)),
        )


def test_a_second_sync_that_is_believed_is_found(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Were a session not ended whose sync failed, a power cut would show it."""
    monkeypatch.setattr(FileSession, "syncing", lambda _: nullcontext())
    with pytest.raises(AssertionError):
        cut_often(folder, Counter(), SEEDS, record, fails=lambda number: number % 5 == 0)


def test_a_hash_of_lost_bytes_that_is_believed_is_found(
    folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Were a hash used that was kept before the power cut, it would show: the bytes are not all there any more."""
    monkeypatch.setattr(power, "NEXT_BOOT", power.THIS_BOOT)
    with pytest.raises(AssertionError):
        cut_often(folder, Counter(), SEEDS, record)
