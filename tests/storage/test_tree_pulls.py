"""When manifests were pulled, as it is kept on a disk."""

from __future__ import annotations

import asyncio
import errno
import json
import logging
import os
import time
from typing import TYPE_CHECKING

import pytest

from cargohold.storage.durable import remove
from cargohold.storage.filesystem.pulls import FilePulls
from cargohold.storage.filesystem.tree import exists, read_file
from cargohold.storage.keeping import Recording
from cargohold.storage.protocols import Unavailable
from cargohold.types.digest import Algorithm, Digest
from cargohold.types.names import RepositoryName

from .contract.base import ONE, OTHER

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

pytestmark = pytest.mark.usefixtures("loop")

FIRST, SECOND = Digest.of(b"first"), Digest.of(b"second", Algorithm.SHA512)
DAY = 86_400


def opened(path: Path) -> FilePulls:
    store = FilePulls(str(path))
    store.disk.make_folders(store.layout.new)
    return store


@pytest.fixture
def store(tmp_path: Path) -> Iterator[FilePulls]:
    made = opened(tmp_path)
    yield made
    made.close()


@pytest.fixture
def second(tmp_path: Path) -> Iterator[FilePulls]:
    made = opened(tmp_path)
    yield made
    made.close()


def set_back(path: str, seconds: float) -> None:
    """Make a file look as if it had been written so many seconds earlier."""
    then = os.stat(path).st_mtime - seconds
    os.utime(path, (then, then))


async def test_the_last_pull(store: FilePulls, second: FilePulls) -> None:
    """What was never pulled has no time; each pull sets it, in whatever process; of each repository its own."""
    assert store.pulled_at(ONE, FIRST) is None
    before = time.time() - 1
    await store.note_pull(ONE, FIRST)
    noted = second.pulled_at(ONE, FIRST)
    assert noted is not None
    assert before <= noted <= time.time() + 1
    assert (store.pulled_at(ONE, SECOND), store.pulled_at(OTHER, FIRST)) == (None, None)
    set_back(f"{store.layout.pulled(ONE)}/{FIRST.replace(':', '-')}", DAY)
    assert store.pulled_at(ONE, FIRST) == pytest.approx(noted - DAY, abs=0.001)
    await second.note_pull(ONE, FIRST)
    assert (store.pulled_at(ONE, FIRST) or 0) >= noted - 1


async def test_first_pulls_at_once(store: FilePulls, second: FilePulls) -> None:
    """However many processes note the first pulls of a repository at once, all of them are noted."""
    pulls = [each.note_pull(ONE, digest) for each in (store, second) for digest in (FIRST, SECOND)]
    await asyncio.gather(*pulls, *(each.note_pull(ONE, FIRST) for each in (store, second) * 8))
    assert store.pulled_at(ONE, FIRST)
    assert store.pulled_at(ONE, SECOND)


async def test_what_is_gone_is_forgotten(store: FilePulls) -> None:
    """Of manifests that are no longer there the times are dropped; rubbish, and other repositories, are left alone."""
    for repository in (ONE, OTHER):
        for digest in (FIRST, SECOND):
            await store.note_pull(repository, digest)
    link, readme = f"{store.layout.revision(ONE, FIRST)}/link", f"{store.layout.pulled(ONE)}/readme"
    store.disk.write_files({link: FIRST.encode(), readme: b""})
    store.forget_pulls(ONE)
    assert sorted(os.listdir(store.layout.pulled(ONE))) == ["readme", FIRST.replace(":", "-")]
    assert store.pulled_at(OTHER, SECOND)
    store.forget_pulls(RepositoryName("never/was"))


async def test_recording(store: FilePulls, second: FilePulls) -> None:
    """Recording begins when it is first asked for; as long as it is asked for again and again, it goes on."""
    assert store.recording() == Recording()
    await store.go_on_recording([])
    assert not exists(store.layout.pulls)
    before = time.time()
    await store.go_on_recording(["ci/**"])
    begun = store.recording()
    assert before <= begun.since["ci/**"] <= time.time()
    assert begun.gaps == ()
    assert begun.seen == pytest.approx(begun.since["ci/**"], abs=5)
    set_back(store.layout.pulls, 600)
    await second.go_on_recording(["ci/**"])
    going_on = second.recording()
    assert (going_on.since, going_on.gaps) == (begun.since, ())
    assert going_on.seen >= begun.seen - 1


async def test_a_pause_of_recording(store: FilePulls) -> None:
    """The time in which no server ran is a gap, written down by the next that does."""
    await store.go_on_recording(["ci/**"])
    path = store.layout.pulls
    written = json.loads(read_file(path))
    written["since"]["ci/**"] -= 9 * DAY
    remove(path)
    store.disk.write_files({path: json.dumps(written).encode()})
    set_back(path, 2 * DAY)
    seen = store.recording().seen
    assert store.recording().gaps == ()
    await store.go_on_recording(["ci/**"])
    found = store.recording()
    assert found.since == written["since"]
    assert [start for start, _ in found.gaps] == [seen]
    assert found.gaps[0][1] - seen == pytest.approx(2 * DAY, abs=60)
    # So much was recorded: nine days less two.
    assert found.horizon("ci/**", 6.9 * DAY, time.time()) > found.since["ci/**"]
    assert found.horizon("ci/**", 7.1 * DAY, time.time()) == float("-inf")


async def test_another_set_of_rules(store: FilePulls) -> None:
    """A server that does not record for a pattern ends its record: it can answer pulls that nobody notes."""
    await store.go_on_recording(["a", "b"])
    await store.go_on_recording(["b"])
    assert store.recording().since.keys() == {"b"}
    await store.go_on_recording([])
    assert store.recording().since == {}


@pytest.mark.parametrize(
    "rubbish", [b"", b"[]", b'{"since": 3}', b'{"since": {"a": "b"}}', b"\xff", b'{"gaps": [[1]]}']
)
async def test_a_spoiled_record(store: FilePulls, rubbish: bytes, caplog: pytest.LogCaptureFixture) -> None:
    """A record that cannot be read counts as none, which the log tells: what was not recorded counts as pulled."""
    store.disk.write_files({store.layout.pulls: rubbish})
    with caplog.at_level(logging.WARNING):
        assert store.recording() == Recording()
    assert [record.getMessage().partition(" ")[0] for record in caplog.records] == [store.layout.pulls]
    await store.go_on_recording(["a"])
    assert store.recording().since.keys() == {"a"}


async def test_a_disk_that_cannot_be_written(store: FilePulls, monkeypatch: pytest.MonkeyPatch) -> None:
    """What cannot be noted is told, and not taken for noted."""

    def fail(*_: object, **__: object) -> None:
        raise OSError(errno.EROFS, "Read-only file system")

    await store.note_pull(ONE, FIRST)
    for call in ("open_file", "set_time", "make_folder"):
        monkeypatch.setattr(f"cargohold.storage.disk.{call}", fail)
    for pull in (store.note_pull(ONE, FIRST), store.note_pull(ONE, SECOND), store.go_on_recording(["a"])):
        with pytest.raises(Unavailable, match="Read-only"):
            await pull


async def test_the_record_of_a_repository(store: FilePulls, second: FilePulls) -> None:
    """A repository's record begins when that is first said, no earlier than all others, and anew where it is lost."""
    await store.go_on_recording(["ci/**"])
    whole = store.recording()
    assert store.recording(ONE) == Recording()
    await store.note_pull(ONE, FIRST)
    assert store.recording(ONE) == Recording()
    store.begin_record(ONE)
    begun = store.recording(ONE).since["ci/**"]
    assert begun == pytest.approx(time.time(), abs=60)
    set_back(f"{store.layout.pulled(ONE)}/since", DAY)
    second.begin_record(ONE)
    assert second.recording(ONE) == store.recording() == whole
    assert store.recording(OTHER) == Recording()
    store.forget_pulls(ONE)
    assert store.recording(ONE) == whole
    remove(store.layout.pulled(ONE))
    await store.note_pull(ONE, FIRST)
    assert store.recording(ONE) == Recording()
    store.begin_record(ONE)
    assert store.recording(ONE).since["ci/**"] >= begun - 1
