"""What is pulled is what the tree holds at that moment, whatever this process has seen of it before."""

from __future__ import annotations

import os
import subprocess
import sys
from concurrent.futures import ThreadPoolExecutor
from contextlib import closing
from typing import TYPE_CHECKING

import pytest

from cargohold.storage.filesystem import FilesystemStore, tree
from cargohold.storage.filesystem.content import AT_ONCE_BYTES, ReaderAtOnce
from cargohold.storage.filesystem.tree import exists, read_link
from cargohold.storage.protocols import NotFound, Unavailable
from cargohold.types.digest import Algorithm, Digest
from tests.e2e.clients.absence import require_root

from .contract.base import LATEST, ONE, Sample, commit, sample
from .foreign import put
from .places import small_disk

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

pytestmark = pytest.mark.usefixtures("loop")

FIRST, SECOND = sample("first"), sample("second")
NOBODY = 65534


@pytest.fixture
def store(tmp_path: Path) -> Iterator[FilesystemStore]:
    with closing(FilesystemStore(str(tmp_path))) as made:
        made.prepare()
        yield made


def in_another_process(script: str, *arguments: str) -> None:
    subprocess.run(["sh", "-euc", script, "sh", *arguments], check=True, timeout=30)


async def test_another_process_moves_a_tag(store: FilesystemStore) -> None:
    """A tag is what its link says at each request, whether the link is written over, replaced, spoiled or removed."""
    for each in (FIRST, SECOND):
        await commit(store, ONE, each, LATEST)
    link = store.layout.tag_current(ONE, LATEST)
    for digest, script in (
        (FIRST.digest, 'printf %s "$2" > "$1"'),
        (SECOND.digest, 'printf %s "$2" > "$1.new"; mv "$1.new" "$1"'),
        (FIRST.digest, 'printf %s "$2" > "$1"'),
    ):
        in_another_process(script, link, digest)
        assert await store.resolve_tag(ONE, LATEST) == digest
    for script in ('printf sha256:no > "$1"', ': > "$1"', 'rm "$1"'):
        in_another_process(script, link)
        with pytest.raises(NotFound):
            await store.resolve_tag(ONE, LATEST)


async def test_a_tag_moves_as_fast_as_the_clock_ticks(store: FilesystemStore) -> None:
    """A tag is what its link says, though that has the length, the inode and, on most systems, the times of the last.

    A file that was removed leaves its inode to the next one; what is made within a tick has the same time.
    """
    for each in (FIRST, SECOND):
        await commit(store, ONE, each, LATEST)
    link = store.layout.tag_current(ONE, LATEST)
    for number in range(2_000):
        digest = (FIRST, SECOND)[number % 2].digest
        os.unlink(link)
        put(link, digest.encode())
        assert await store.resolve_tag(ONE, LATEST) == digest


@pytest.mark.parametrize(("rest", "found"), [(0.1, SECOND), (60.0, FIRST)])
def test_a_link_that_is_replaced_while_it_is_read(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, rest: float, found: Sample
) -> None:
    """Who takes so long to read a link that its file may have become another one by then reads again.

    Who does not may answer what was there when it was opened.
    """
    monkeypatch.setattr(tree, "REST", rest)
    link, new = tmp_path / "link", tmp_path / "new"
    new.write_text(SECOND.digest)
    os.mkfifo(link)
    # Whoever opens it to write waits until somebody reads, and the other way round.
    script = 'exec 3>"$1"; mv "$2" "$1"; sleep 0.2; printf %s "$3" >&3'
    with ThreadPoolExecutor(1) as pool:
        reading = pool.submit(read_link, str(link))
        in_another_process(script, str(link), str(new), FIRST.digest)
        assert reading.result(timeout=30) == found.digest


async def test_a_link_that_cannot_be_read_in_time(
    store: FilesystemStore, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Where it takes too long again and again, the storage is unavailable: nobody knows where the tag points to."""
    monkeypatch.setattr(tree, "REST", 0.0)
    await commit(store, ONE, FIRST, LATEST)
    with pytest.raises(Unavailable, match="too long"):
        await store.resolve_tag(ONE, LATEST)


async def test_another_process_deletes_a_manifest(store: FilesystemStore) -> None:
    """A manifest whose bytes are in memory is there while its link is, and again when that comes back."""
    await commit(store, ONE, FIRST, LATEST)
    link = f"{store.layout.revision(ONE, FIRST.digest)}/link"
    for _ in range(2):
        assert await store.read_manifest(ONE, FIRST.digest) == FIRST.manifest.content
        in_another_process('mv "$1" "$1.away"', link)
        with pytest.raises(NotFound):
            await store.read_manifest(ONE, FIRST.digest)
        with pytest.raises(NotFound):
            await store.lease_manifest(ONE, FIRST.digest)
        in_another_process('mv "$1.away" "$1"', link)


async def test_content_that_recurs_is_in_memory(store: FilesystemStore) -> None:
    """What was read twice is read from the disk no more; whether the manifest is there is looked up all the same."""
    await commit(store, ONE, FIRST, LATEST)
    link = f"{store.layout.revision(ONE, FIRST.digest)}/link"
    with closing(FilesystemStore(store.layout.root)) as second:
        for _ in range(2):
            assert await second.read_manifest(ONE, FIRST.digest) == FIRST.manifest.content
        in_another_process('rm "$1"', store.layout.data(FIRST.digest))
        assert await second.read_manifest(ONE, FIRST.digest) == FIRST.manifest.content
        in_another_process('rm "$1"', link)
        with pytest.raises(NotFound):
            await second.read_manifest(ONE, FIRST.digest)


async def test_another_process_deletes_a_blob(store: FilesystemStore) -> None:
    """A blob is there while both its link and its bytes are, and is as long as these are now."""
    digest = Digest.of(b"layer")
    link, data = f"{store.layout.layer(ONE, digest)}/link", store.layout.data(digest)
    put(link, digest.encode())
    put(data, b"layer")
    for path in (link, data):
        assert (await store.find_blob(ONE, digest)).size == 5
        in_another_process('mv "$1" "$1.away"', path)
        for look in (store.find_blob, store.lease_blob):
            with pytest.raises(NotFound):
                await look(ONE, digest)
        in_another_process('mv "$1.away" "$1"', path)
    in_another_process('printf damage >> "$1"', data)
    assert (await store.find_blob(ONE, digest)).size == 11


@pytest.mark.parametrize("algorithm", list(Algorithm))
@pytest.mark.parametrize("length", [100, AT_ONCE_BYTES - 1, AT_ONCE_BYTES, AT_ONCE_BYTES + 1])
async def test_content_of_any_length(store: FilesystemStore, algorithm: Algorithm, length: int) -> None:
    """The first to ask for a manifest gets all of its bytes, and of damaged ones none."""
    content = os.urandom(length)
    digest = Digest.of(content, algorithm)
    data, revision = store.layout.data(digest), store.layout.revision(ONE, digest)
    put(f"{revision}/link", digest.encode())
    put(data, b"x" + content[1:] + b"x")
    with pytest.raises(Unavailable, match="damaged"):
        await store.read_manifest(ONE, digest)
    put(data, content)
    assert await store.read_manifest(ONE, digest) == content


async def test_content_that_is_missing(store: FilesystemStore) -> None:
    """A manifest whose bytes are nowhere is not there, whatever its link says."""
    await commit(store, ONE, FIRST, LATEST)
    with closing(FilesystemStore(store.layout.root)) as second:
        in_another_process('rm "$1"', store.layout.data(FIRST.digest))
        with pytest.raises(NotFound):
            await second.read_manifest(ONE, FIRST.digest)


@pytest.mark.skipif(sys.platform != "linux", reason="other systems do not say what is in memory")
def test_what_is_in_memory_is_read_at_once(tmp_path: Path) -> None:
    """A small file that the system has in memory is read without a thread, also where all of its file system is there.

    The second kind does not know the question whether it is.
    """
    reader = ReaderAtOnce()
    with small_disk(tmp_path / "memory", 64) as memory:
        for folder in (tmp_path, memory):
            path = folder / "file"
            for length in (0, 100, AT_ONCE_BYTES - 1):
                path.write_bytes(b"x" * length)
                assert reader.read(str(path), str(folder)) == b"x" * length
            path.write_bytes(b"x" * AT_ONCE_BYTES)
            assert reader.read(str(path), str(folder)) is None


def test_what_is_not_read_at_once(tmp_path: Path) -> None:
    """What is not there, and what is no file, is for whoever reads it as usual; no descriptor is left open."""
    before, folder, reader = os.listdir("/proc/self/fd"), str(tmp_path), ReaderAtOnce()
    assert reader.read(f"{folder}/none", folder) is None
    assert reader.read(f"{folder}/none/none", f"{folder}/none") is None
    assert reader.read(folder, folder) is None
    assert os.listdir("/proc/self/fd") == before


def test_an_absence_is_seen(tmp_path: Path) -> None:
    """Nothing, a file in the place of a folder, and a link that leads to itself are absences."""
    (tmp_path / "file").touch()
    (tmp_path / "round").symlink_to("round")
    assert exists(str(tmp_path / "file"))
    for name in ("none", "none/none", "file/none", "round"):
        assert not exists(str(tmp_path / name))
        assert read_link(str(tmp_path / name)) is None


def test_what_may_not_be_seen_is_no_absence(tmp_path: Path) -> None:
    """Where the system does not say, as in a folder that may not be entered, whoever asks is told that it does not."""
    require_root()
    folder = tmp_path / "locked"
    folder.mkdir(mode=0o700)
    (folder / "link").touch()
    os.seteuid(NOBODY)
    try:
        for name in ("link", "none"):
            for look in (exists, read_link):
                with pytest.raises(PermissionError):
                    look(str(folder / name))
    finally:
        os.seteuid(0)
