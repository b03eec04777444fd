"""What ended sessions leave is removed behind the answer."""

from __future__ import annotations

import asyncio
import logging
import threading
from contextlib import closing
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest

from cargohold.storage.filesystem import FilesystemStore
from cargohold.types.digest import Digest
from tests.crash.calls import surrounded

from .contract.base import ONE, push, size, started
from .foreign import put

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

pytestmark = pytest.mark.usefixtures("loop")

LARGE = 8 << 20


@pytest.fixture
def store(tmp_path: Path) -> Iterator[FilesystemStore]:
    """A store of one process."""
    with closing(FilesystemStore(str(tmp_path / "data"))) as made:
        made.prepare()
        yield made


def aside(store: FilesystemStore) -> list[Path]:
    """What lies beside the tree, but for the date of the sessions that begin now."""
    return sorted(path for path in Path(store.layout.new).iterdir() if path.suffix != ".date")


async def test_what_others_left_in_it(store: FilesystemStore) -> None:
    """What another server has left in a session goes with it."""
    upload = await started(store, ONE, b"theirs too")
    put(f"{store.layout.upload(ONE, upload)}/hashstates/sha256/10", b"state")
    await store.commit_upload(ONE, upload, Digest.of(b"theirs too"), 10)
    await asyncio.to_thread(store.close)
    assert aside(store) == []


async def test_room_of_a_cancelled_one(store: FilesystemStore) -> None:
    """Who cancels a session may need its room: that is there when it is answered."""
    upload = await started(store, ONE, bytes(LARGE))
    await store.cancel_upload(ONE, upload)
    assert aside(store) == []


async def test_answer_waits_for_no_removal(store: FilesystemStore) -> None:
    """Who ends a session with its blob removes nothing: another thread does, when there is time."""
    upload = await started(store, ONE, b"bytes")
    removed = []

    def around(name: str, call: Callable[..., Any], /, *arguments: Any, **named: Any) -> Any:
        if name.startswith("remove") and not threading.current_thread().name.startswith("removal"):
            removed.append(arguments[0])
        return call(*arguments, **named)

    with surrounded(around):
        await store.commit_upload(ONE, upload, Digest.of(b"bytes"), 5)
        await asyncio.to_thread(store.close)
    assert removed == []
    assert aside(store) == []


async def test_large_one_is_removed_behind_the_answer(store: FilesystemStore) -> None:
    """To drop many bytes may take the disk long: who pushes what is known does not wait for it."""
    content = bytes(LARGE)
    digest = await push(store, ONE, content)
    again = await started(store, ONE, content)
    removed, may = [], asyncio.Event()
    loop = asyncio.get_running_loop()

    def around(name: str, call: Callable[..., Any], /, *arguments: Any, **named: Any) -> Any:
        if name == "remove_file" and arguments[0].endswith("/data"):
            asyncio.run_coroutine_threadsafe(may.wait(), loop).result(10)
            removed.append(arguments[0])
        return call(*arguments, **named)

    with surrounded(around):
        async with asyncio.timeout(10):
            await store.commit_upload(ONE, again, digest, LARGE)
        assert await size(store, ONE, again) is None
        assert removed == []
        may.set()
        await asyncio.to_thread(store.close)
    assert len(removed) == 1
    assert aside(store) == []


async def test_what_cannot_be_removed(store: FilesystemStore, caplog: pytest.LogCaptureFixture) -> None:
    """An upload has been stored, or has ended, whether what it leaves can be removed or not: the log tells of it."""
    small, large = [await started(store, ONE, bytes(length)) for length in (5, LARGE)]

    def around(name: str, call: Callable[..., Any], /, *arguments: Any, **named: Any) -> Any:
        if name == "remove_file" and arguments[0].endswith("/data"):
            raise OSError(5, "the disk is broken")
        return call(*arguments, **named)

    with surrounded(around), caplog.at_level(logging.WARNING):
        await store.cancel_upload(ONE, small)
        await store.cancel_upload(ONE, large)
        await asyncio.to_thread(store.close)
    assert len(caplog.records) >= 2
    assert [await size(store, ONE, upload) for upload in (small, large)] == [None, None]
    assert {"the disk is broken" in record.getMessage() for record in caplog.records} == {True}
    assert len(aside(store)) == 2
