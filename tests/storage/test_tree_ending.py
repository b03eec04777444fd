"""Upload sessions of a repository that end at the same time: stored together, and each for itself."""

from __future__ import annotations

import asyncio
import errno
import fcntl
import os
import time
from contextlib import closing, contextmanager
from typing import TYPE_CHECKING, Any

import pytest

from cargohold.storage.filesystem import FilesystemStore, tree
from cargohold.storage.filesystem.tree import read_file
from cargohold.storage.locks import Busy, StripedLocks
from cargohold.storage.protocols import DigestMismatch, Full, NotFound, Unavailable
from cargohold.types.digest import Algorithm, Digest
from tests.crash.calls import surrounded

from .contract.base import ONE, append, blob, push, size
from .recorder import nothing_is_left, synced_folders

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Sequence

    from cargohold.types.names import UploadId

pytestmark = pytest.mark.usefixtures("loop")

CONTENTS = [b"first", b"second", b"third", b"fourth", b"fifth"]


async def sessions(store: FilesystemStore, contents: Sequence[bytes] = CONTENTS) -> list[UploadId]:
    """A session of each content, which has come already."""
    made = [await store.create_upload(ONE, Algorithm.SHA256) for _ in contents]
    for upload, content in zip(made, contents, strict=True):
        await append(store, ONE, upload, content)
    return made


async def end(
    store: FilesystemStore, uploads: Sequence[UploadId], contents: Sequence[bytes] = CONTENTS
) -> list[type[BaseException] | None]:
    """End them all at the same time; what came of each. The first goes alone, and the others together."""
    ends = [
        store.commit_upload(ONE, upload, Digest.of(content), len(content))
        for upload, content in zip(uploads, contents, strict=True)
    ]
    async with asyncio.timeout(30):
        results = await asyncio.gather(*ends, return_exceptions=True)
    return [None if result is None else type(result) for result in results]


async def stored(store: FilesystemStore, contents: Sequence[bytes] = CONTENTS) -> list[bool]:
    """Which of the contents are blobs of the repository."""
    return [await blob(store, ONE, Digest.of(content)) == content for content in contents]


@pytest.mark.parametrize("length", [5, 300_000])
async def test_synced_together(store: FilesystemStore, length: int) -> None:
    """A folder that several links are put into is synced once for them, and all are there."""
    contents = [os.urandom(length) for _ in range(5)]
    uploads = await sessions(store, contents)
    with synced_folders(store.layout.repository(ONE)) as synced:
        assert await end(store, uploads, contents) == [None] * 5
    assert synced.count("_layers/sha256") == 2
    assert await stored(store, contents) == [True] * 5
    assert os.listdir(store.layout.uploads(ONE)) == []
    assert nothing_is_left(store)


async def test_the_same_content(store: FilesystemStore) -> None:
    """Who brings what another brings at the same time has brought it too, and his session has ended."""
    contents = [b"same"] * 4
    assert await end(store, await sessions(store, contents), contents) == [None] * 4
    assert await stored(store, contents) == [True] * 4
    assert os.listdir(store.layout.uploads(ONE)) == []
    assert nothing_is_left(store)


async def test_empty_ones(store: FilesystemStore) -> None:
    """Nothing is content too."""
    contents = [b"", b"", b"some", b""]
    assert await end(store, await sessions(store, contents), contents) == [None] * 4
    assert await stored(store, contents) == [True] * 4


async def test_the_same_session(store: FilesystemStore) -> None:
    """Of those who end one session the first does; for the others there is none, and who comes with them is stored."""
    uploads = await sessions(store)
    again = [uploads[0], uploads[1], uploads[1], uploads[2], uploads[1]]
    contents = [CONTENTS[0], CONTENTS[1], CONTENTS[1], CONTENTS[2], CONTENTS[1]]
    assert await end(store, again, contents) == [None, None, NotFound, None, NotFound]
    assert await stored(store) == [True, True, True, False, False]


async def test_another_digest(store: FilesystemStore) -> None:
    """What is not what it is said to be is refused, and the others are stored."""
    uploads = await sessions(store)
    contents = [CONTENTS[0], CONTENTS[1], b"wrong", CONTENTS[3], CONTENTS[4]]
    assert await end(store, uploads, contents) == [None, None, DigestMismatch, None, None]
    assert await stored(store) == [True, True, False, True, True]


@pytest.mark.parametrize("is_known", [False, True])
async def test_ended_by_another(store: FilesystemStore, is_known: bool) -> None:
    """One whose session is cancelled between its hashing and its turn at the locks has none, whatever is stored."""
    if is_known:
        await push(store, ONE, CONTENTS[2])
    uploads = await sessions(store)
    with closing(StripedLocks(store.layout.locks)) as others, others.hold(ONE):
        ending = asyncio.ensure_future(end(store, uploads[2:], CONTENTS[2:]))
        await asyncio.sleep(0.1)
        await store.cancel_upload(ONE, uploads[2])
    assert await ending == [NotFound, None, None]
    assert await stored(store) == [False, False, is_known, True, True]


async def test_sync_that_fails_while_another_ends_it(store: FilesystemStore) -> None:
    """Who could not sync the bytes promises nothing, though another, who could, has stored them meanwhile."""
    uploads, loop = await sessions(store, [b"bytes"]), asyncio.get_running_loop()
    steps: list[str] = []

    def around(name: str, call: Callable[..., Any], /, *arguments: Any, **named: Any) -> Any:
        if name == "sync_file" and not steps:
            steps.append(name)  # before the other begins: it syncs in a thread of its own
            ending = other.commit_upload(ONE, uploads[0], Digest.of(b"bytes"), 5)
            asyncio.run_coroutine_threadsafe(ending, loop).result(20)
            raise OSError(errno.EIO, os.strerror(errno.EIO))
        return call(*arguments, **named)

    with closing(FilesystemStore(store.layout.root)) as other, surrounded(around):
        assert await end(store, uploads, [b"bytes"]) == [Unavailable]
    assert await blob(store, ONE, Digest.of(b"bytes")) == b"bytes"


async def test_linked_by_another(store: FilesystemStore) -> None:
    """Whose link could not be put into place promises nothing, though another has put it there since."""
    (upload,), loop = await sessions(store, [b"bytes"]), asyncio.get_running_loop()
    link = f"{store.layout.layer(ONE, Digest.of(b'bytes'))}/link"
    steps: list[str] = []

    def around(name: str, call: Callable[..., Any], /, *arguments: Any, **named: Any) -> Any:
        if name == "rename" and arguments[1] == link and not steps:
            steps.append(name)
            raise OSError(errno.EIO, os.strerror(errno.EIO), *arguments)
        if name == "sync_folder" and steps == ["rename"]:
            steps.append(name)  # before the other begins: it syncs in a thread of its own
            asyncio.run_coroutine_threadsafe(push(other, ONE, b"bytes"), loop).result(20)
        return call(*arguments, **named)

    with closing(FilesystemStore(store.layout.root)) as other, surrounded(around):
        assert await end(store, [upload], [b"bytes"]) == [Unavailable]
    assert len(steps) == 2
    assert await blob(store, ONE, Digest.of(b"bytes")) == b"bytes"


async def test_session_that_is_written_to(store: FilesystemStore) -> None:
    """Whose session is locked waits for that by himself: who came with him is answered before."""
    uploads = await sessions(store)
    with open_locked(f"{store.layout.upload(ONE, uploads[2])}/data"):
        ends = [
            asyncio.ensure_future(store.commit_upload(ONE, upload, Digest.of(content), len(content)))
            for upload, content in zip(uploads, CONTENTS, strict=True)
        ]
        async with asyncio.timeout(9):
            await asyncio.gather(*ends[:2], *ends[3:])
        assert not ends[2].done()
    await asyncio.gather(*ends)
    assert await stored(store) == [True] * 5


async def test_cancelled_while_its_bytes_cannot_be_synced(store: FilesystemStore) -> None:
    """Its session ends all the same, so that no other sync is believed."""
    uploads = await sessions(store, [b"bytes"])
    ending = asyncio.ensure_future(end(store, uploads, [b"bytes"]))
    loop = asyncio.get_running_loop()

    def around(name: str, call: Callable[..., Any], /, *arguments: Any, **named: Any) -> Any:
        if name == "sync_file":
            loop.call_soon_threadsafe(ending.cancel)
            raise OSError(errno.EIO, os.strerror(errno.EIO))
        return call(*arguments, **named)

    with surrounded(around), pytest.raises(asyncio.CancelledError):
        await ending
    assert await size(store, ONE, uploads[0]) is None


@pytest.mark.parametrize("length", [5, 300_000])
async def test_come_again_while_its_bytes_cannot_be_synced(store: FilesystemStore, length: int) -> None:
    """Who comes while that fails has no session, although a sync of his own would succeed."""
    content = b"b" * length
    (upload,), loop = await sessions(store, [content]), asyncio.get_running_loop()
    again: list[asyncio.Future[list[type[BaseException] | None]]] = []

    def around(name: str, call: Callable[..., Any], /, *arguments: Any, **named: Any) -> Any:
        if name == "sync_file" and not again:
            loop.call_soon_threadsafe(
                lambda: again.append(asyncio.ensure_future(end(store, [upload], [content])))
            )
            time.sleep(0.1)
            raise OSError(errno.EIO, os.strerror(errno.EIO))
        return call(*arguments, **named)

    with surrounded(around):
        assert await end(store, [upload], [content]) == [Unavailable]
        assert await again[0] == [NotFound]
    assert await blob(store, ONE, Digest.of(content)) is None


async def test_left_as_it_was(store: FilesystemStore) -> None:
    """A session whose data cannot be moved stays, with its date, and can be ended later."""
    (upload,) = await sessions(store, [b"bytes"])
    names = sorted(os.listdir(store.layout.upload(ONE, upload)))
    assert "startedat" in names

    def around(name: str, call: Callable[..., Any], /, *arguments: Any, **named: Any) -> Any:
        if name == "rename" and arguments[0].endswith("/data"):
            raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC), *arguments)
        return call(*arguments, **named)

    with surrounded(around):
        (refused,) = await end(store, [upload], [b"bytes"])
    assert refused is not None
    assert sorted(os.listdir(store.layout.upload(ONE, upload))) == names
    assert await end(store, [upload], [b"bytes"]) == [None]


async def test_cancelled_where_it_cannot_be_removed(store: FilesystemStore) -> None:
    """A session that cannot be ended counts as one that is there."""
    uploads = await sessions(store)
    await store.recount(0.0, share=1.0)

    def around(name: str, call: Callable[..., Any], /, *arguments: Any, **named: Any) -> Any:
        if name == "rename" and arguments[0].endswith(uploads[0]):
            raise OSError(errno.EIO, os.strerror(errno.EIO), *arguments)
        return call(*arguments, **named)

    with surrounded(around), pytest.raises(Unavailable):
        await store.cancel_upload(ONE, uploads[0])
    noted = store.noted.read()
    assert noted is not None
    assert noted.uploads == 5


@contextmanager
def open_locked(path: str) -> Iterator[None]:
    """As another process that is writing to a session."""
    descriptor = os.open(path, os.O_RDWR)
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX)
        yield
    finally:
        os.close(descriptor)


@pytest.mark.parametrize("call", ["write", "rename", "make_folder"])
async def test_one_that_fails(store: FilesystemStore, call: str) -> None:
    """What is in the way of one is in the way of no other, at whatever step that is found."""
    mark = Digest.of(CONTENTS[2]).hex.encode()

    def around(name: str, function: Callable[..., Any], /, *arguments: Any, **named: Any) -> Any:
        words = [os.fsencode(each) if isinstance(each, str) else each for each in arguments]
        if name == call and any(mark in bytes(word) for word in words if not isinstance(word, int)):
            raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))
        return function(*arguments, **named)

    uploads = await sessions(store)
    with surrounded(around):
        assert await end(store, uploads) == [None, None, Full, None, None]
    assert await stored(store) == [True, True, False, True, True]
    assert await size(store, ONE, uploads[2]) == len(CONTENTS[2])
    assert await end(store, uploads[2:3], CONTENTS[2:3]) == [None]
    assert nothing_is_left(store)


async def test_bytes_that_cannot_be_synced(store: FilesystemStore) -> None:
    """All who go together are told so, and their sessions end: a second sync that succeeds would prove nothing."""
    failed = []

    def around(name: str, call: Callable[..., Any], /, *arguments: Any, **named: Any) -> Any:
        if name == "sync_file" and os.pread(arguments[0], 100, 0) == CONTENTS[2]:
            failed.append(arguments[0])
            raise OSError(errno.EIO, os.strerror(errno.EIO))
        return call(*arguments, **named)

    uploads = await sessions(store)
    with surrounded(around):
        assert await end(store, uploads) == [None, *[Unavailable] * 4]
    assert len(failed) == 1
    assert [await size(store, ONE, upload) for upload in uploads] == [None] * 5
    assert await stored(store) == [True, False, False, False, False]


async def test_a_folder_that_cannot_be_synced(store: FilesystemStore) -> None:
    """All who go together are told so, and it is not synced again."""
    failed = []

    def around(name: str, call: Callable[..., Any], /, *arguments: Any, **named: Any) -> Any:
        if name == "sync_folder" and Digest.of(CONTENTS[2]).hex in arguments[0]:
            failed.append(arguments[0])
            raise OSError(errno.EIO, os.strerror(errno.EIO), arguments[0])
        return call(*arguments, **named)

    uploads = await sessions(store)
    with surrounded(around):
        assert await end(store, uploads) == [None, *[Unavailable] * 4]
    assert len(failed) == len({*failed}) > 0


async def test_lock_that_is_not_to_be_had(store: FilesystemStore, monkeypatch: pytest.MonkeyPatch) -> None:
    """Where another keeps the lock all are told so, nothing is left of them, and their sessions stay."""
    monkeypatch.setattr(tree, "PATIENCE", 0.5)
    uploads = await sessions(store)
    with closing(StripedLocks(store.layout.locks)) as others, others.hold(ONE):
        assert await end(store, uploads) == [Busy] * 5
    assert [name for name in os.listdir(store.layout.new) if not name.endswith(".date")] == []
    assert await end(store, uploads) == [None] * 5


@pytest.mark.parametrize("fails_at", range(1, 8))
async def test_counted_where_it_fails_midway(store: FilesystemStore, fails_at: int) -> None:
    """What has come to its place, and which sessions have ended, is counted: an exact count finds the same."""
    uploads = await sessions(store)
    await store.recount(0.0, share=1.0)
    renames = 0

    def around(name: str, call: Callable[..., Any], /, *arguments: Any, **named: Any) -> Any:
        nonlocal renames
        if name == "rename":
            renames += 1
            if renames == fails_at:
                raise OSError(errno.EIO, os.strerror(errno.EIO), *arguments)
        return call(*arguments, **named)

    with surrounded(around):
        await end(store, uploads)
    noted = store.noted.read()
    await store.recount(0.0, share=1.0)
    counted = store.noted.read()
    assert noted is not None
    assert counted is not None
    assert (noted.content, noted.uploads) == (counted.content, counted.uploads)


async def test_date_of_sessions(store: FilesystemStore) -> None:
    """Sessions of one second share its file, which outlives them, and none is left when the store is closed."""
    uploads = [await store.create_upload(ONE, Algorithm.SHA256) for _ in range(20)]
    files = [f"{store.layout.upload(ONE, upload)}/startedat" for upload in uploads]
    assert len({os.stat(file).st_ino for file in files}) < len(files)
    for upload in uploads[:-1]:
        await store.cancel_upload(ONE, upload)
    assert read_file(files[-1]).endswith(b"Z")
    assert nothing_is_left(store)


@pytest.mark.parametrize("number", [errno.EPERM, errno.EMLINK])
async def test_date_without_second_names(store: FilesystemStore, number: int) -> None:
    """Where a file cannot have one, each session has a file of its own."""

    def around(name: str, call: Callable[..., Any], /, *arguments: Any, **named: Any) -> Any:
        if name == "link":
            raise OSError(number, os.strerror(number), *arguments)
        return call(*arguments, **named)

    with surrounded(around):
        uploads = await sessions(store)
        assert await end(store, uploads) == [None] * 5
