"""What a run of the collector takes for granted: its own notes, the clock, and how often servers renew leases."""

from __future__ import annotations

import asyncio
import os
import shutil
import time
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from cargohold.storage.boot import boot_id
from cargohold.storage.filesystem import FilesystemStore
from cargohold.storage.filesystem.collection import clock, linked
from cargohold.storage.filesystem.collection.clock import Clock, ClockSet, Void
from cargohold.storage.filesystem.collection.content import ContentSweep
from cargohold.storage.filesystem.collection.run import Run
from cargohold.storage.filesystem.leases import LONGEST_STEP, Terms
from cargohold.storage.filesystem.pace import ClosingError
from cargohold.storage.filesystem.steps import longest_step
from cargohold.types.digest import Digest

from .collecting import HOUR, IMAGE, LAYER, STRAY, collect, make_old
from .contract.base import LATEST, ONE, OTHER, blob, commit, push

if TYPE_CHECKING:
    from collections.abc import Callable

    from cargohold.types.names import RepositoryName

pytestmark = pytest.mark.usefixtures("loop")


@pytest.fixture
def store(collectable: FilesystemStore) -> FilesystemStore:
    return collectable


async def fill(store: FilesystemStore) -> None:
    """An old image, and old blobs that nothing uses."""
    await push(store, ONE, LAYER)
    await commit(store, ONE, IMAGE, LATEST)
    await push(store, OTHER, STRAY)
    make_old(store)


async def is_whole(store: FilesystemStore) -> bool:
    return await blob(store, ONE, Digest.of(LAYER)) == LAYER and has(store, IMAGE.digest)


def has(store: FilesystemStore, digest: Digest) -> bool:
    return os.path.exists(store.layout.data(digest))


def is_linked(store: FilesystemStore, repository: RepositoryName, digest: Digest) -> bool:
    return os.path.exists(f"{store.layout.layer(repository, digest)}/link")


def before_content(monkeypatch: pytest.MonkeyPatch, do: Callable[[], None]) -> None:
    """Have this done once, when the links were looked at and the content was not."""
    sweep = ContentSweep.sweep

    def sweep_later(self: ContentSweep) -> dict[str, str]:
        monkeypatch.setattr(ContentSweep, "sweep", sweep)
        do()
        return sweep(self)

    monkeypatch.setattr(ContentSweep, "sweep", sweep_later)


def set_clock(monkeypatch: pytest.MonkeyPatch, seconds: float) -> None:
    """As it is seen here; the file system goes on with its own."""
    then = time.time
    monkeypatch.setattr(time, "time", lambda: then() + seconds)


def end() -> None:
    raise ClosingError


def notes(store: FilesystemStore) -> Path:
    return Path(store.layout.gc, "run")


def empty_notes(folder: Path) -> None:
    for path in folder.glob("32-*"):
        path.write_bytes(b"")


def cut_notes(folder: Path) -> None:
    for path in folder.glob("32-*"):
        path.write_bytes(path.read_bytes()[:-32])


def zero_notes(folder: Path) -> None:
    for path in folder.glob("32-*"):
        path.write_bytes(bytes(path.stat().st_size))


def remove_notes(folder: Path) -> None:
    for path in folder.glob("32-*"):
        path.unlink()


DAMAGES = [empty_notes, cut_notes, zero_notes, remove_notes]


@pytest.mark.parametrize("damage", [*DAMAGES, shutil.rmtree])
async def test_notes_that_get_lost(
    store: FilesystemStore, monkeypatch: pytest.MonkeyPatch, damage: Callable[[Path], None]
) -> None:
    """What a run has noted as linked is there whole, or the run ends and takes no content; the next begins anew."""
    await fill(store)
    monkeypatch.setattr(linked, "_MOST_IN_MEMORY", 1)
    before_content(monkeypatch, lambda: damage(notes(store)))
    with pytest.raises(Void, match="removed or changed"):
        collect(store)
    assert await is_whole(store)
    assert not notes(store).exists()
    report = collect(store)
    assert (report.is_resumed, report.ended, report.blobs) == (False, True, 1)
    assert await is_whole(store)


def spoil_state(folder: Path) -> None:
    """Bytes that read as well as before, and say less."""
    state = folder / "state"
    content = state.read_bytes()
    assert ONE.encode() in content
    state.write_bytes(content.replace(b'"proofs":{', b'"proofs":{},"other":{'))


def cut_state(folder: Path) -> None:
    state = folder / "state"
    state.write_bytes(state.read_bytes()[:-9])


@pytest.mark.parametrize("damage", [*DAMAGES, spoil_state, cut_state])
async def test_a_resumed_run_trusts_nothing_unproved(
    store: FilesystemStore, monkeypatch: pytest.MonkeyPatch, damage: Callable[[Path], None]
) -> None:
    """Notes are taken up byte for byte as they were written, or not at all: then the run is begun anew."""
    await fill(store)
    before_content(monkeypatch, end)
    with pytest.raises(ClosingError):
        collect(store)
    damage(notes(store))
    report = collect(store)
    assert (report.is_resumed, report.ended, report.blobs) == (False, True, 1)
    assert await is_whole(store)


async def test_what_was_half_written_is_written_over(store: FilesystemStore) -> None:
    """What a process wrote and did not come to say so is no harm to the one that goes on."""
    run = Run(store.layout.gc, age=HOUR, is_dry=False)
    known = [Digest.of(b"%d" % number) for number in range(2_000)]
    for digest in known[:1_000]:
        run.linked.add(bytes.fromhex(digest.hex))
    run.note_done(ONE)
    run.save()
    for path in notes(store).glob("32-*"):
        path.write_bytes(path.read_bytes() + b"half of one")
    again = Run(store.layout.gc, age=HOUR, is_dry=False)
    assert again.is_resumed
    for digest in known[1_000:]:
        again.linked.add(bytes.fromhex(digest.hex))
    again.note_done(OTHER)
    again.save()
    last = Run(store.layout.gc, age=HOUR, is_dry=False)
    assert last.is_resumed
    assert last.is_done(ONE)
    assert last.is_done(OTHER)
    found: set[bytes] = set()
    for prefix in range(256):
        found |= last.linked_with(known[0].algorithm, prefix)
    assert found == {bytes.fromhex(digest.hex) for digest in known}


@pytest.mark.parametrize("seconds", [-2.0, 2.0, -HOUR, HOUR])
async def test_the_clock_is_set_during_a_run(
    store: FilesystemStore, monkeypatch: pytest.MonkeyPatch, seconds: float
) -> None:
    """The run ends before it takes content, since it cannot tell what was leased since; the next begins anew."""
    await fill(store)
    before_content(monkeypatch, lambda: set_clock(monkeypatch, seconds))
    with pytest.raises(ClockSet, match="the next begins anew"):
        collect(store)
    assert has(store, Digest.of(STRAY))
    report = collect(store)
    assert (report.is_resumed, report.ended, report.blobs) == (False, True, 1)


async def test_what_is_pushed_after_the_clock_was_set_back(
    store: FilesystemStore, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Its leases are older than the beginning of the run, and its content stays all the same."""
    push_now = pushing(store, OTHER, LAYER)
    with monkeypatch.context() as patch:
        set_clock(patch, 3 * HOUR)

        def put_right() -> None:
            patch.undo()
            push_now()

        before_content(patch, put_right)
        with pytest.raises(ClockSet):
            await asyncio.to_thread(collect, store)
    assert await blob(store, OTHER, Digest.of(LAYER)) == LAYER


def pushing(store: FilesystemStore, repository: RepositoryName, content: bytes) -> Callable[[], None]:
    """What pushes a blob when it is called in a thread, on the loop that runs now."""
    loop = asyncio.get_running_loop()

    def push_now() -> None:
        asyncio.run_coroutine_threadsafe(push(store, repository, content), loop).result(30)

    return push_now


async def test_the_clock_is_set_between_repositories(
    store: FilesystemStore, monkeypatch: pytest.MonkeyPatch
) -> None:
    """No link goes after that either: leases that were renewed in between may look old."""
    await push(store, ONE, b"one")
    await push(store, OTHER, b"other")
    make_old(store)
    with pytest.raises(ClockSet):
        collect(store, found=lambda _: set_clock(monkeypatch, -2 * HOUR))
    assert is_linked(store, ONE, Digest.of(b"one")) != is_linked(store, OTHER, Digest.of(b"other"))


async def test_the_clock_is_set_before_a_run_is_taken_up(
    store: FilesystemStore, monkeypatch: pytest.MonkeyPatch
) -> None:
    """It is begun anew, also where its beginning does not lie in the future."""
    await fill(store)
    before_content(monkeypatch, end)
    with pytest.raises(ClosingError):
        collect(store)
    set_clock(monkeypatch, 2.0)
    assert not collect(store).is_resumed


def test_leases_look_older_by_a_jump(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Where the clock was set forward, leases from before are given that much more time, until their own is over."""
    folder = str(tmp_path)

    def allowance(age: float, *, is_dry: bool = False) -> float:
        return Clock(folder).allowance(age, longest=2 * HOUR, is_dry=is_dry)

    assert allowance(HOUR) == 0
    set_clock(monkeypatch, 500.0)
    assert allowance(HOUR, is_dry=True) == pytest.approx(500, abs=0.1)
    set_clock(monkeypatch, 500.0)
    assert allowance(HOUR) == pytest.approx(1000, abs=0.1)
    assert allowance(0) == 0
    set_clock(monkeypatch, -200.0)
    assert allowance(HOUR) == pytest.approx(1000, abs=0.1)
    go_on(monkeypatch, 0.9 * HOUR)
    assert allowance(HOUR) == pytest.approx(1000, abs=0.1)
    go_on(monkeypatch, 0.2 * HOUR)
    assert allowance(HOUR) == 0
    assert allowance(1.5 * HOUR) == pytest.approx(1000, abs=0.1)


def go_on(monkeypatch: pytest.MonkeyPatch, seconds: float) -> None:
    """Time passes, by all clocks."""
    shift = clock.shift
    set_clock(monkeypatch, seconds)
    monkeypatch.setattr(clock, "shift", lambda: shift() - seconds)


@pytest.mark.parametrize("content", [b"", b"{", b'{"boot": "another", "shift": 0, "jumps": []}'])
def test_what_the_clock_did_is_not_known(tmp_path: Path, content: bytes) -> None:
    """Nothing is allowed for after another start of the machine, or where nothing is noted; it is from then on."""
    path = tmp_path / "clock"
    path.write_bytes(content)
    assert Clock(str(tmp_path)).allowance(HOUR, longest=HOUR) == 0
    assert boot_id().encode() in path.read_bytes()


async def test_a_server_with_a_longer_step(store: FilesystemStore, monkeypatch: pytest.MonkeyPatch) -> None:
    """A collector with a shorter grace time does not take what a server has just linked, and had no need to lease."""
    digest = await push(store, ONE, LAYER)
    await store.delete_blob(ONE, digest)
    make_old(store, 20.0)
    short = FilesystemStore(store.layout.root, Terms(grace=4.0, keep=0))
    age = short.terms.grace + short.terms.step
    assert age < 20 < store.terms.step
    before_content(monkeypatch, pushing(store, OTHER, LAYER))
    report = await asyncio.to_thread(collect, short, age=age)
    assert report.blobs == 0
    assert await blob(store, OTHER, digest) == LAYER
    short.close()


@pytest.mark.parametrize(
    ("graces", "step"), [([4.0], 1.0), ([8.0, 4.0], 2.0), ([4.0, HOUR, 8.0], LONGEST_STEP)]
)
def test_the_longest_step(tmp_path: Path, graces: list[float], step: float) -> None:
    """The tree tells the longest that any server of it has had; the longest of all, where it tells nothing."""
    stores = [FilesystemStore(str(tmp_path), Terms(grace=grace)) for grace in graces]
    assert longest_step(stores[0].layout) == LONGEST_STEP
    for each in stores:
        each.prepare()
        each.close()
    prepared = Path(stores[0].layout.prepared)
    assert longest_step(stores[0].layout) == step
    for content in (b"", b"nan", b"-1", b"1e9", b"?"):
        prepared.write_bytes(content)
        assert longest_step(stores[0].layout) == LONGEST_STEP
    stores[0].prepare()
    stores[0].close()
    assert longest_step(stores[0].layout) == LONGEST_STEP
