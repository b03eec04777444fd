"""Quotas of a tree in which processes die, files are lost, and another server writes and removes."""

from __future__ import annotations

import asyncio
import os
import struct
import zlib
from typing import TYPE_CHECKING

import pytest

from cargohold.storage.change import Change
from cargohold.storage.filesystem import FilesystemStore, ledger, sizes
from cargohold.storage.filesystem.leases import Terms
from cargohold.storage.filesystem.ledger import Ledger
from cargohold.storage.filesystem.sizes import Sizes
from cargohold.storage.filesystem.tree import read_file
from cargohold.storage.layout import Layout
from cargohold.storage.locks import Busy
from cargohold.storage.proofs import Proof, stamp
from cargohold.storage.protocols import Conflict, NotFound, OverQuota, Unavailable
from cargohold.types.digest import Algorithm, Digest
from cargohold.types.names import RepositoryName, UploadId
from cargohold.types.quotas import Quota, Quotas

from .contract.base import ONE, OTHER, commit, push, sample
from .foreign import Foreign, put

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

LIMIT = 1_000
TOGETHER = Quota("library/**", LIMIT)
EACH = Quota("library/*", LIMIT, each=True)
APART = RepositoryName("elsewhere")
FIRST, SECOND = sample("first"), sample("second")

pytestmark = pytest.mark.usefixtures("loop")


@pytest.fixture(params=[TOGETHER, EACH], ids=["together", "each"])
def store(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[FilesystemStore]:
    made = FilesystemStore(str(tmp_path), Terms(quotas=Quotas([request.param])))
    made.prepare()
    yield made
    made.close()


@pytest.fixture
def foreign(store: FilesystemStore) -> Foreign:
    return Foreign(store.layout)


@pytest.fixture
def soon(monkeypatch: pytest.MonkeyPatch) -> float:
    """Seconds after which nothing that was counted is trusted any more."""
    monkeypatch.setattr(ledger, "_TRUSTED_SECONDS", 0.2)
    return 0.3


def ledgers(store: FilesystemStore) -> list[str]:
    return [f"{store.layout.quotas}/{name}" for name in os.listdir(store.layout.quotas)]


@pytest.fixture
def later(monkeypatch: pytest.MonkeyPatch) -> None:
    """Whatever is looked at was changed long ago."""
    monkeypatch.setattr(sizes, "stamp", lambda: stamp() + 10_000_000_000)


def used(store: FilesystemStore) -> int:
    """What is noted."""
    (path,) = ledgers(store)
    with Ledger(path) as noted:
        entry = noted.read()
    assert entry is not None
    return entry.used


SPOILED = {
    "lost": None,
    "empty": b"",
    "short": b"quota",
    "zeros": bytes(76),
    "long": bytes(200),
    "of another form": struct.pack("=8s40sqdd", b"quota\0\0\2", b"", 0, 0.0, 1e12),
}


@pytest.mark.parametrize("content", SPOILED.values(), ids=SPOILED.keys())
async def test_a_spoiled_ledger(store: FilesystemStore, content: bytes | None) -> None:
    """What was noted may be lost or spoiled: the tree is counted again, and nothing goes beyond the quota."""
    await push(store, ONE, bytes(LIMIT - 10))
    (path,) = ledgers(store)
    if content is None:
        os.unlink(path)
    else:
        put(path, content + zlib.crc32(content).to_bytes(4))
    with pytest.raises(OverQuota) as caught:
        await push(store, ONE, b"1" * 11)
    assert (caught.value.used, caught.value.more) == (LIMIT - 10, 11)
    await push(store, ONE, b"1" * 10)


async def test_of_another_run_of_the_machine(store: FilesystemStore, monkeypatch: pytest.MonkeyPatch) -> None:
    """What was noted before the machine started anew is not believed: what was added since may be lost."""
    await push(store, ONE, bytes(10))
    (path,) = ledgers(store)
    old = read_file(path)
    await push(store, ONE, bytes(LIMIT - 10))
    put(path, old)
    monkeypatch.setattr(ledger, "boot_id", lambda: "another")
    with pytest.raises(OverQuota):
        await store.create_upload(ONE, Algorithm.SHA256)


async def test_what_a_process_added_and_never_stored(store: FilesystemStore) -> None:
    """What a process died before it could store takes no room."""
    await push(store, ONE, bytes(10))
    with pytest.raises(ZeroDivisionError), store.taking(ONE, lambda: LIMIT - 10):
        raise ZeroDivisionError
    await push(store, ONE, b"1" * (LIMIT - 10))


@pytest.mark.parametrize("error", [Busy, Conflict, NotFound])
async def test_what_is_given_back(store: FilesystemStore, error: type[Exception]) -> None:
    """What was not stored, since the session had changed or its lock was held, is not noted as used."""
    await push(store, ONE, bytes(10))
    seen = []

    def fail() -> None:
        with store.taking(ONE, lambda: LIMIT - 10):
            seen.append(used(store))
            raise error

    with pytest.raises(error):
        fail()
    assert [*seen, used(store)] == [LIMIT, 10]


async def test_nobody_counts_meanwhile(store: FilesystemStore) -> None:
    """While something is being stored the tree is not counted, and while it is counted nothing is stored."""
    await push(store, ONE, bytes(10))
    (path,) = ledgers(store)
    with store.taking(ONE, lambda: 1), Ledger(path) as counting, pytest.raises(Busy), counting.alone(0.0):
        raise AssertionError("it was counted")
    with (
        Ledger(path) as counting,
        counting.alone(0.0),
        pytest.raises(Busy),
        store.taking(ONE, lambda: 1),
    ):
        raise AssertionError("it was stored")
    assert used(store) == 11


async def test_what_another_server_stores(store: FilesystemStore, foreign: Foreign, soon: float) -> None:
    """What another server stores in the tree is found soon, also in a repository that it has made."""
    where = ONE if store.terms.quotas.of(ONE) == (EACH,) else RepositoryName("library/by/another")
    await push(store, ONE, bytes(10))
    foreign.push(where, FIRST)
    await asyncio.sleep(soon)
    room = LIMIT - 10 - len(FIRST.manifest.content)
    with pytest.raises(OverQuota):
        await push(store, ONE, b"1" * (room + 1))
    await push(store, ONE, b"2" * room)


@pytest.mark.usefixtures("later")
async def test_links_that_come_and_go(
    store: FilesystemStore, foreign: Foreign, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Another server leaves the folder of a link that it removes, and may make the link there again: then it counts."""
    found = Sizes(store.layout)
    foreign.push(ONE, FIRST)
    size = len(FIRST.manifest.content)
    assert found.of(ONE) == size
    monkeypatch.setattr(sizes, "_TRUSTED_SECONDS", -1.0)
    foreign.delete(ONE, FIRST)
    assert found.of(ONE) == 0
    monkeypatch.setattr(sizes, "_TRUSTED_SECONDS", 3_600.0)
    assert found.of(ONE) == 0
    foreign.revision(ONE, FIRST.digest)
    assert found.of(ONE) == size


def test_a_folder_that_has_just_changed(store: FilesystemStore, foreign: Foreign) -> None:
    """What was found in a folder that may change again unseen, in the same moment, is found again the next time."""
    found, size = Sizes(store.layout), len(FIRST.manifest.content)
    foreign.push(ONE, FIRST)
    assert found.of(ONE) == size
    foreign.push(ONE, SECOND)
    # As if both changes had come within one step of the clock by which the file system stamps them.
    for folder, known in list(found._sums.items()):
        found._sums[folder] = known._replace(proof=Proof.of(folder))
    assert found.of(ONE) == size + len(SECOND.manifest.content)


async def test_whoever_stores_keeps_others_from_counting(
    store: FilesystemStore, monkeypatch: pytest.MonkeyPatch
) -> None:
    """While links and bytes are moved into place nobody looks for them, whatever is being stored."""
    digest = await push(store, APART, b"mounted")
    await push(store, ONE, b"1")
    (path,) = ledgers(store)
    placed, tries = Change.place, []

    def place(change: Change) -> None:
        with Ledger(path) as counting:
            tries.append(counting.share())
        with Ledger(path) as counting, pytest.raises(Busy), counting.alone(0.0):
            raise AssertionError("it was counted")
        placed(change)

    monkeypatch.setattr(Change, "place", place)
    await push(store, ONE, b"pushed")
    await store.mount_blob(digest, APART, ONE)
    await commit(store, ONE, FIRST)
    assert tries == [True] * 3


@pytest.mark.usefixtures("later")
def test_what_counts(tmp_path: Path) -> None:
    """Blobs, manifests and sessions count with the bytes that they have; what names nothing does not."""
    layout = Layout(str(tmp_path))
    content, longer = b"12345", b"1234567"
    by_512 = Digest.of(longer, Algorithm.SHA512)
    for each in (content, longer):
        put(layout.data(Digest.of(each)), each)
        put(f"{layout.layer(ONE, Digest.of(each))}/link", Digest.of(each).encode())
    # As Distribution links what was pushed by SHA-512: its content lies under the other digest, and is there once.
    put(f"{layout.layer(ONE, by_512)}/link", Digest.of(longer).encode())
    found = Sizes(layout)
    assert found.of(ONE) == 12
    put(f"{layout.revision(ONE, Digest.of(content))}/link", Digest.of(content).encode())
    assert found.of(ONE) == 17
    put(f"{layout.upload(ONE, UploadId.new())}/data", b"123")
    put(f"{layout.upload(ONE, UploadId.new())}/startedat", b"2024-01-02T15:04:05Z")
    assert found.of(ONE) == 20
    put(f"{layout.layer(ONE, Digest.of(b'gone'))}/link", Digest.of(b"gone").encode())
    put(f"{layout.layers(ONE)}/sha256/what/link", b"")
    put(f"{layout.uploads(ONE)}/what", b"12345")
    os.makedirs(layout.layer(ONE, Digest.of(b"no link")))
    assert found.of(ONE) == 20
    assert found.of(OTHER) == 0
    put(layout.data(Digest.of(b"gone")), b"gone")
    assert found.of(ONE) == 24


async def test_behind_a_symbolic_link(tmp_path: Path) -> None:
    """A repository that a symbolic link leads to counts: it can be pushed to."""
    (tmp_path / "elsewhere").mkdir()
    store = FilesystemStore(str(tmp_path / "data"), Terms(quotas=Quotas([TOGETHER])))
    store.prepare()
    os.symlink(tmp_path / "elsewhere", f"{store.layout.repositories}/library")
    try:
        await push(store, ONE, bytes(LIMIT))
        os.unlink(ledgers(store)[0])
        with pytest.raises(OverQuota):
            await store.create_upload(OTHER, Algorithm.SHA256)
    finally:
        store.close()


async def test_pattern_without_stars(tmp_path: Path) -> None:
    """A pattern may be the name of one repository, or begin with what no name can begin with."""
    quotas = Quotas([Quota("library/one", LIMIT), Quota("a..b/*", 1), Quota("*/one", LIMIT)])
    store = FilesystemStore(str(tmp_path), Terms(quotas=quotas))
    store.prepare()
    try:
        await push(store, ONE, bytes(LIMIT))
        await push(store, OTHER, bytes(LIMIT * 2))
        with pytest.raises(OverQuota):
            await store.create_upload(ONE, Algorithm.SHA256)
    finally:
        store.close()


async def test_what_cannot_be_counted(store: FilesystemStore) -> None:
    """Where the tree cannot be read, nothing is stored under a quota: it is Unavailable, and not beyond."""
    put(f"{store.layout.uploads(ONE)}/{UploadId.new()}/data", b"")
    folder = f"{store.layout.layers(ONE)}/sha256"
    os.makedirs(os.path.dirname(folder))
    os.symlink("x" * 4_000, folder)
    with pytest.raises(Unavailable):
        await store.create_upload(ONE, Algorithm.SHA256)


async def test_what_is_not_counted_in_time(store: FilesystemStore, monkeypatch: pytest.MonkeyPatch) -> None:
    """Where no count is ever good, or the server stops, nothing is stored, and it is Unavailable."""
    monkeypatch.setattr(ledger, "_TRUSTED_SECONDS", 0.0)
    monkeypatch.setattr(ledger, "_SHARE", 0)
    with pytest.raises(Unavailable, match="could not be counted in time"):
        await store.create_upload(ONE, Algorithm.SHA256)
    put(f"{store.layout.uploads(ONE)}/{UploadId.new()}/data", b"")
    store.closing = True
    with pytest.raises(Unavailable, match="stopping"):
        await store.create_upload(ONE, Algorithm.SHA256)


@pytest.mark.usefixtures("later")
def test_more_folders_than_are_remembered(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """However many folders there are, only so many are remembered, and all are counted."""
    monkeypatch.setattr(sizes, "_MOST_IN_MEMORY", 3)
    layout, digest = Layout(str(tmp_path)), Digest.of(b"12345")
    put(layout.data(digest), b"12345")
    names = [RepositoryName(f"library/{number}") for number in range(10)]
    for name in names:
        put(f"{layout.layer(name, digest)}/link", digest.encode())
    found = Sizes(layout)
    for _ in range(2):
        assert sum(map(found.of, names)) == 50
        assert len(found._sums) <= 3
