"""Whatever becomes of the file of totals, nothing fails for it, and all is counted anew."""

from __future__ import annotations

import asyncio
import logging
import os
import random
import shutil
import stat
import tempfile
from contextlib import closing, suppress
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from cargohold.storage import totals
from cargohold.storage.filesystem import FilesystemStore
from cargohold.storage.totals import SHARDS, Sums, TotalsFile
from cargohold.types.names import RepositoryName
from tests.e2e.clients.absence import require_root
from tests.storage.contract.base import commit, push, sample, started
from tests.storage.foreign import put
from tests.storage.test_totals import WAIT_SECONDS, YEAR, finish, held, truth

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

NOBODY = 65534

pytestmark = pytest.mark.usefixtures("loop")


@pytest.fixture
def path(tmp_path: Path) -> str:
    return str(tmp_path / "cargohold" / "totals")


@pytest.fixture
def file(path: str) -> Iterator[TotalsFile]:
    with closing(TotalsFile(path)) as opened:
        yield opened


def _overwrite(path: str, offset: int, content: bytes) -> None:
    with open(path, "r+b") as file:
        file.seek(offset)
        file.write(content)


def _append(path: str) -> None:
    # Without a wait for who reads, where another damage has left a pipe.
    descriptor = os.open(path, os.O_WRONLY | os.O_APPEND | os.O_CREAT | os.O_NONBLOCK)
    with open(descriptor, "ab") as file:
        file.write(b"more")


def _in_its_place(path: str, make: Callable[[str], None]) -> None:
    os.unlink(path)
    make(path)


DAMAGES: dict[str, Callable[[str], None]] = {
    "emptied": lambda path: os.truncate(path, 0),
    "cut in the header": lambda path: os.truncate(path, 20),
    "cut in the shards": lambda path: os.truncate(path, 1000),
    "a hole": lambda path: _overwrite(path, 100, bytes(5000)),
    "longer": _append,
    "another header": lambda path: _overwrite(path, 44, b"\x7f"),
    "another shard": lambda path: _overwrite(path, 64, b"\x01"),
    "absurd sums": lambda path: _overwrite(path, 64, b"\xff" * 32 * SHARDS),
    "zeros": lambda path: _overwrite(path, 0, bytes(os.stat(path).st_size)),
    "noise": lambda path: _overwrite(path, 0, random.Random(1).randbytes(os.stat(path).st_size)),
    "removed": os.unlink,
    "renamed": lambda path: os.rename(path, f"{path}.old"),
    "folder": lambda path: _in_its_place(path, os.mkdir),
    "pipe": lambda path: _in_its_place(path, os.mkfifo),
    "link": lambda path: _in_its_place(path, lambda path: os.symlink("/etc/hostname", path)),
    "link to nothing": lambda path: _in_its_place(path, lambda path: os.symlink("nothing", path)),
    "socket": lambda path: _in_its_place(path, lambda path: os.mknod(path, stat.S_IFSOCK | 0o600)),
}


@pytest.mark.parametrize("damage", DAMAGES.values(), ids=DAMAGES)
def test_damage(path: str, file: TotalsFile, damage: Callable[[str], None]) -> None:
    """Whatever is done to the file, nothing raises; what it said is forgotten and to be counted, and it is used on."""
    file.add(0, Sums(content=5))
    finish(file)
    damage(path)
    file.add(0, Sums(content=7))
    assert file.read() is None
    assert file.is_due(YEAR)
    changes = file.changes(1)
    assert changes is not None
    assert file.replace(1, Sums(content=3), changes)
    finish(file)
    with closing(TotalsFile(path)) as other:
        for each in (file, other):
            found = each.read()
            assert found is not None
            assert found.content in {3, 10}
            assert not each.is_due(YEAR)


def test_damage_during_a_count(path: str, file: TotalsFile) -> None:
    """A file that was made anew since the count began holds not all that was counted: the count comes to nothing."""
    number = file.begin()
    assert number is not None
    os.unlink(path)
    assert not file.finish(number)
    assert file.is_due(YEAR)


def test_a_folder_that_is_not_empty(path: str, file: TotalsFile, caplog: pytest.LogCaptureFixture) -> None:
    """What somebody has put into its place with something in it stays; the log says what is in the way."""
    put(f"{path}/theirs", b"content")
    with caplog.at_level(logging.WARNING):
        file.add(0, Sums(content=5))
    assert file.read() is None
    assert Path(f"{path}/theirs").read_bytes() == b"content"
    assert path in caplog.text
    shutil.rmtree(path)
    file.add(0, Sums(content=5))
    assert file.is_due(YEAR)


@pytest.mark.parametrize(("owner", "is_ours"), [(0, True), (NOBODY, True), (NOBODY - 1, False)])
def test_a_file_that_may_not_be_read(owner: int, *, is_ours: bool) -> None:
    """Of our user or of root it makes way, as after a backup that root has put back; another user may need it."""
    require_root()
    with tempfile.TemporaryDirectory() as folder, closing(TotalsFile(f"{folder}/totals")) as file:
        finish(file)
        file.close()
        os.chown(folder, NOBODY, -1)
        os.chown(f"{folder}/totals", owner, -1)
        os.chmod(f"{folder}/totals", 0)
        os.seteuid(NOBODY)
        try:
            file.add(0, Sums(content=5))
            assert file.is_due(YEAR) == is_ours
        finally:
            os.seteuid(0)
        assert os.stat(f"{folder}/totals").st_uid == (NOBODY if is_ours else owner)


@pytest.mark.parametrize("seed", range(3))
async def test_damage_while_a_store_writes(
    tmp_path: Path, seed: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Nothing that is stored or counted fails, whatever is done to the file meanwhile; then all is found anew."""
    monkeypatch.setattr(totals, "_WAIT_SECONDS", WAIT_SECONDS)
    dice, written = random.Random(seed), 0
    root = str(tmp_path / "data")
    with closing(FilesystemStore(root)) as store, closing(FilesystemStore(root)) as second:
        store.prepare()

        async def write(to: FilesystemStore, who: str) -> None:
            nonlocal written
            for number in range(40):
                name = RepositoryName(f"{who}{number % 5}")
                await push(to, name, f"{who} {number}".encode())
                await started(to, name, b"1")
                await commit(to, name, sample(f"{who} {number}"))
                await to.totals()
                written += 1

        async def recount() -> None:
            while written < 80:
                await second.recount(YEAR)
                await asyncio.sleep(0)

        async def damage() -> None:
            while written < 80:
                of = dice.choice(list(DAMAGES.values()))
                with suppress(OSError):
                    of(store.layout.totals)
                await asyncio.sleep(dice.random() / 50)

        await asyncio.gather(write(store, "a"), write(second, "b"), recount(), damage())
        await store.totals()
        dice.choice([DAMAGES["zeros"], DAMAGES["emptied"], DAMAGES["pipe"]])(store.layout.totals)
        assert await held(store) is None
        assert await second.recount(YEAR)
        assert await held(store) == await held(second) == truth(store)
