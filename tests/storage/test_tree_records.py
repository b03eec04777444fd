"""Lists of referrers out of memory: what another process changes is told by the next list."""

from __future__ import annotations

import asyncio
import os
import subprocess
import sys
import time
from contextlib import closing
from functools import partial
from typing import TYPE_CHECKING

import pytest

from cargohold.storage.filesystem import FilesystemStore, presence, records, referrers
from cargohold.storage.filesystem.records import Records
from cargohold.storage.filesystem.tree import read_file
from cargohold.storage.proofs import Proof, stamp

from .contract.base import ONE, Sample, commit, descriptors, sample

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

pytestmark = pytest.mark.usefixtures("loop")

SUBJECT = sample("subject")
SAMPLES = sorted((sample(f"n{number}", SUBJECT.digest) for number in range(12)), key=lambda each: each.digest)

_REMOVE = "import os, sys\nfor path in sys.argv[1:]: os.unlink(path)"
_REPLACE = """
import os, sys
path, content = sys.argv[1:]
times = os.stat(os.path.dirname(path))
with open(path + ".new", "w") as file:
    file.write(content)
os.rename(path + ".new", path)
os.utime(os.path.dirname(path), ns=(times.st_atime_ns, times.st_mtime_ns))
"""


@pytest.fixture
def store(tmp_path: Path, loop: asyncio.Runner) -> Iterator[FilesystemStore]:
    """With all the samples, of which there are proved lists in memory."""
    with closing(FilesystemStore(str(tmp_path / "data"))) as made:
        made.prepare()
        for each in SAMPLES:
            loop.run(commit(made, ONE, each))
        _wait_until_proved(_folder(made))
        # What is in it was put there before its manifest, whose folder changed after it.
        _wait_until_proved(os.path.dirname(made.layout.revision(ONE, SUBJECT.digest)))
        assert loop.run(made.list_referrers(ONE, SUBJECT.digest)) == descriptors(SUBJECT.digest, SAMPLES)
        yield made


@pytest.fixture(params=["few", "many"])
def _amount(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> None:
    """A list is of few referrers or of many."""
    if request.param == "many":
        for each in (presence, referrers):
            monkeypatch.setattr(each, "PIECE", 5)


def _folder(store: FilesystemStore) -> str:
    return store.layout.referrers(ONE, SUBJECT.digest)


def _record(store: FilesystemStore, of: Sample) -> str:
    return f"{_folder(store)}/sha256-{of.digest.hex}"


def _wait_until_proved(folder: str) -> None:
    end = time.monotonic() + 10
    while not Proof.of(folder).holds(stamp()):
        assert time.monotonic() < end
        time.sleep(0.01)


async def _in_another_process(program: str, *arguments: str) -> None:
    run = partial(subprocess.run, [sys.executable, "-c", program, *arguments], check=True, timeout=30)
    await asyncio.to_thread(run)


@pytest.mark.usefixtures("_amount")
async def test_link_removed(store: FilesystemStore) -> None:
    """A referrer whose link another process has removed is not listed, though nothing else has changed."""
    gone = [SAMPLES[number] for number in (0, 6, 11)]
    links = [f"{store.layout.revision(ONE, each.digest)}/link" for each in gone]
    await _in_another_process(_REMOVE, *links)
    left = descriptors(SUBJECT.digest, [each for each in SAMPLES if each not in gone])
    assert await store.list_referrers(ONE, SUBJECT.digest) == left
    await commit(store, ONE, gone[1])
    left = descriptors(SUBJECT.digest, [each for each in SAMPLES if each not in gone[::2]])
    assert await store.list_referrers(ONE, SUBJECT.digest) == left


@pytest.mark.usefixtures("_amount")
async def test_record_changed(store: FilesystemStore) -> None:
    """A record that another process has put in the place of one, or taken away, is told or left out.

    The first put the old time of the folder back. A record that is taken away is not made again.
    """
    mended = descriptors(SUBJECT.digest, SAMPLES[:1])[0].replace(b'"size":', b'"size": ')
    await _in_another_process(_REPLACE, _record(store, SAMPLES[0]), mended.decode())
    await _in_another_process(_REMOVE, _record(store, SAMPLES[9]))
    left = [*SAMPLES[1:9], *SAMPLES[10:]]
    for _ in range(2):
        found = await store.list_referrers(ONE, SUBJECT.digest)
        assert found == [mended, *descriptors(SUBJECT.digest, left)]
        _wait_until_proved(_folder(store))


@pytest.mark.usefixtures("_amount")
async def test_stored_elsewhere(store: FilesystemStore, tmp_path: Path) -> None:
    """What another process stores is listed at once, a hundred times; what it deletes is not."""
    with closing(FilesystemStore(str(tmp_path / "data"))) as other:
        expected = list(SAMPLES)
        for number in range(50):
            expected.append(sample(f"later {number}", SUBJECT.digest))
            await commit(other, ONE, expected[-1])
            assert await store.list_referrers(ONE, SUBJECT.digest) == descriptors(SUBJECT.digest, expected)
            await other.delete_manifest(ONE, expected.pop(number % 7).digest)
            assert await store.list_referrers(ONE, SUBJECT.digest) == descriptors(SUBJECT.digest, expected)


@pytest.mark.usefixtures("_amount")
async def test_pages(store: FilesystemStore) -> None:
    """A list begins after any referrer, and goes on until the room is taken, and one more."""
    expected = descriptors(SUBJECT.digest, SAMPLES)
    for number, each in enumerate(SAMPLES):
        assert await store.list_referrers(ONE, SUBJECT.digest, after=each.digest) == expected[number + 1 :]
    room = sum(map(len, expected[:3]))
    assert await store.list_referrers(ONE, SUBJECT.digest, room=room - 1) == expected[:3]
    assert await store.list_referrers(ONE, SUBJECT.digest, room=room) == expected[:4]
    kind = "application/vnd.example.none"
    assert await store.list_referrers(ONE, SUBJECT.digest, artifact_type=kind) == []


async def test_out_of_memory(store: FilesystemStore, monkeypatch: pytest.MonkeyPatch) -> None:
    """A proved record is read once; one that changes, or that has just done so, each time."""
    reads: list[str] = []

    def read(path: str) -> bytes:
        reads.append(path)
        return read_file(path)

    monkeypatch.setattr(records, "read_file", read)
    assert len(await store.list_referrers(ONE, SUBJECT.digest)) == len(SAMPLES)
    assert reads == []
    os.utime(_folder(store))
    for count in (1, 2):
        assert len(await store.list_referrers(ONE, SUBJECT.digest)) == len(SAMPLES)
        assert len(reads) == count * len(SAMPLES)


def test_memory_is_bounded(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """What is kept is forgotten where there is no room for more, and what alone takes more is not kept."""
    most = 20 * records._NAME_BYTES
    monkeypatch.setattr(records, "_MOST_IN_MEMORY", most)
    names = [f"sha256-{number:064x}" for number in range(30)]
    folders = [tmp_path / str(number) for number in range(8)]
    for number, folder in enumerate(folders):
        folder.mkdir()
        for name in names if number == 5 else names[:3]:
            (folder / name).write_bytes(b"x" * 100)
    _wait_until_proved(str(folders[-1]))
    cache = Records()
    for _ in range(2):
        for number, folder in enumerate(folders):
            record = cache.of(str(folder))
            assert record.names == [f"sha256/{each:064x}" for each in range(30 if number == 5 else 3)]
            assert {cache.descriptor(record, name) for name in record.names} == {b"x" * 100}
            held = [each for _proof, each in cache._kept.values()]
            kept = sum(len(each.names) * records._NAME_BYTES for each in held)
            assert kept + sum(len(b"".join(each.descriptors.values())) for each in held) <= most
            assert cache._total <= most
