"""A database that processes share: it appears whole, is opened as it is found, and its errors say what to do."""

from __future__ import annotations

import os
import re
import shutil
import sqlite3
import subprocess
import sys
from contextlib import closing
from typing import TYPE_CHECKING

import pytest

from cargohold.storage.database import Database, DatabaseUnusable
from cargohold.storage.protocols import Full, Unavailable
from tests.storage.places import fill, read_only_view, small_disk

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

SCHEMA = "CREATE TABLE words (word TEXT PRIMARY KEY)"

_FIRST = """
import sys
from cargohold.storage.database import Database
database = Database(sys.argv[1], schema="CREATE TABLE words (word TEXT PRIMARY KEY)", version=3, patience=20)
sys.stdin.readline()
with database.change() as connection:
    connection.execute("INSERT INTO words VALUES (?)", (sys.argv[2],))
"""


def database_at(folder: Path, patience: float = 5.0) -> Database:
    return Database(str(folder / "words.db"), schema=SCHEMA, version=3, patience=patience)


def add(database: Database, word: str) -> None:
    with database.change() as connection:
        connection.execute("INSERT INTO words VALUES (?)", (word,))


def add_many(database: Database, count: int) -> None:
    for number in range(count):
        add(database, f"{number:0100}")


def words(database: Database) -> list[str] | None:
    with database.read() as connection:
        if connection is None:
            return None
        return [word for (word,) in connection.execute("SELECT word FROM words ORDER BY word").fetchall()]


@pytest.fixture
def one(tmp_path: Path) -> Iterator[Database]:
    database = database_at(tmp_path)
    yield database
    database.close()


@pytest.fixture
def other(tmp_path: Path) -> Iterator[Database]:
    """As another process has it."""
    database = database_at(tmp_path, patience=0.2)
    yield database
    database.close()


def test_made_by_the_first_change(one: Database, other: Database, tmp_path: Path) -> None:
    """To read makes no file; what was changed is seen by others, at their next read."""
    assert words(one) is None
    assert os.listdir(tmp_path) == []
    add(one, "a")
    assert (words(one), words(other)) == (["a"], ["a"])
    add(other, "b")
    assert words(one) == ["a", "b"]


def test_private(one: Database, tmp_path: Path) -> None:
    """The file and those that SQLite keeps beside it are their owner's alone, whatever the umask lets through."""
    before = os.umask(0)
    try:
        add(one, "a")
    finally:
        os.umask(before)
    modes = {name.name: name.stat().st_mode & 0o777 for name in tmp_path.glob("words.db*")}
    assert modes == dict.fromkeys(("words.db", "words.db-wal", "words.db-shm"), 0o600)


def test_survives_a_power_cut(one: Database) -> None:
    """Each change is synced before it is done: WAL with FULL, which is 2."""
    add(one, "a")
    with one.change() as connection:
        assert connection.execute("PRAGMA synchronous").fetchall() == [(2,)]
        assert connection.execute("PRAGMA journal_mode").fetchall() == [("wal",)]


def test_wholly_or_not_at_all(one: Database, other: Database) -> None:
    """An error in a change undoes all of it."""
    add(one, "a")
    with pytest.raises(Unavailable, match="UNIQUE"), one.change() as connection:
        connection.executemany("INSERT INTO words VALUES (?)", [("b",), ("a",)])
    assert (words(one), words(other)) == (["a"], ["a"])
    add(one, "c")


def test_reads_wait_for_no_writer(one: Database, other: Database) -> None:
    """While another changes, a read gives what was there before; a change waits so long and then is told."""
    add(one, "a")
    with one.change() as connection:
        connection.execute("INSERT INTO words VALUES ('b')")
        assert words(other) == ["a"]
        with pytest.raises(Unavailable, match="locked"):
            add(other, "c")
    assert words(other) == ["a", "b"]
    add(other, "c")


def test_many_make_it_at_once(tmp_path: Path) -> None:
    """Of processes that make it in the same moment all find one database, and each change is in it."""
    names = [f"word{number}" for number in range(8)]
    starts = [[sys.executable, "-c", _FIRST, str(tmp_path / "words.db"), name] for name in names]
    processes = [subprocess.Popen(start, stdin=subprocess.PIPE, text=True) for start in starts]
    for process in processes:
        assert process.stdin is not None
        process.stdin.write("\n")
        process.stdin.flush()
    for process in processes:
        process.communicate(timeout=60)
    assert [process.returncode for process in processes] == [0] * len(processes)
    with closing(database_at(tmp_path)) as database:
        assert words(database) == names
    assert os.listdir(tmp_path / "new") == []


def test_no_lock_is_lost_by_a_second_opening(one: Database, tmp_path: Path) -> None:
    """That another of the same process finds the file there lets nobody in while it is being changed."""
    add(one, "a")
    with one.change() as connection:
        connection.execute("INSERT INTO words VALUES ('b')")
        with closing(database_at(tmp_path, patience=0.1)) as second, pytest.raises(Unavailable):
            add(second, "c")
        intruder = [sys.executable, "-c", _FIRST.replace("patience=20", "patience=0.1")]
        ran = subprocess.run(
            [*intruder, str(tmp_path / "words.db"), "d"],
            stdin=subprocess.DEVNULL,
            capture_output=True,
            text=True,
            timeout=60,
            check=False,
        )
        assert ran.returncode == 1
        assert "database is locked" in ran.stderr
    assert words(one) == ["a", "b"]


def test_removed_and_made_anew(one: Database, other: Database, tmp_path: Path) -> None:
    """A database that was removed while it was open is gone for everyone; the next one is found by everyone."""
    for round_ in range(3):
        add(one, f"a{round_}")
        assert words(other) == [f"a{round_}"]
        for file in tmp_path.glob("words.db*"):
            file.unlink()
        assert words(other) is None
        add(other, f"b{round_}")
        assert words(one) == [f"b{round_}"]
        one.close()
        assert words(other) == [f"b{round_}"]
        for file in tmp_path.glob("words.db*"):
            file.unlink()


def test_log_of_a_removed_database(one: Database, other: Database, tmp_path: Path) -> None:
    """What a removed database had not yet taken from its log does not come back in the next one."""
    add(one, "old")
    log = tmp_path / "words.db-wal"
    assert log.stat().st_size > 0
    (tmp_path / "words.db").unlink()
    add(other, "new")
    assert words(one) == ["new"]


def test_newer_version(one: Database, tmp_path: Path) -> None:
    """A file of another version is refused, by reads and changes, and stays as it is."""
    with closing(sqlite3.connect(tmp_path / "words.db")) as connection:
        connection.executescript("CREATE TABLE other (word TEXT); PRAGMA user_version = 4")
    before = (tmp_path / "words.db").read_bytes()
    said = r"words\.db is of version 4, and this cargohold knows version 3: use the cargohold that wrote it, or a newer"
    with pytest.raises(DatabaseUnusable, match=said):
        words(one)
    with pytest.raises(DatabaseUnusable, match=said):
        add(one, "a")
    assert (tmp_path / "words.db").read_bytes() == before


@pytest.mark.parametrize("content", [b"no database at all\n" * 1000, b"SQLite format 3\0" + b"\xff" * 9000])
def test_damaged(one: Database, tmp_path: Path, content: bytes) -> None:
    """A damaged file is told with what to do about it, and is never touched."""
    (tmp_path / "words.db").write_bytes(content)
    for attempt in (words, lambda database: add(database, "a")):
        with pytest.raises(
            DatabaseUnusable, match=r"words\.db is damaged \(.+\): put a copy of it back, or stop"
        ):
            attempt(one)
    assert (tmp_path / "words.db").read_bytes() == content
    assert os.listdir(tmp_path) == ["words.db"]


def test_damaged_inside(one: Database, other: Database, tmp_path: Path) -> None:
    """Damage that shows only when its page is read is told in the same way."""
    add_many(one, 200)
    one.close()
    size = (tmp_path / "words.db").stat().st_size
    with (tmp_path / "words.db").open("r+b") as file:
        file.seek(4096)
        file.write(b"\xff" * (size - 4096))
    with pytest.raises(DatabaseUnusable, match="is damaged"):
        words(other)


def test_full_disk(tmp_path: Path) -> None:
    """A disk without room is told as such; reads go on, nothing half made is left, and room is used again."""
    with small_disk(tmp_path / "disk", 512) as disk:
        filler = fill(disk)
        with closing(database_at(disk)) as database:
            with pytest.raises(Full):
                add(database, "a")
            assert words(database) is None
            filler.unlink()
            add(database, "a")
            fill(disk)
            with pytest.raises(Full):
                add_many(database, 10_000)
            kept = words(database)
            assert kept is not None
            assert "a" in kept
            (disk / "filler").unlink()
            add(database, "b")
            assert words(database) == sorted([*kept, "b"])
        assert os.listdir(disk / "new") == []


def test_read_only(tmp_path: Path) -> None:
    """Where nothing can be written the database is read as it is, and seen to change by those who can write."""
    folder = tmp_path / "folder"
    folder.mkdir()
    with (
        read_only_view(folder, tmp_path / "view") as view,
        closing(database_at(view)) as reading,
        closing(database_at(folder)) as changing,
    ):
        assert words(reading) is None
        add(changing, "a")
        assert words(reading) == ["a"]
        changing.close()
        assert words(reading) == ["a"]
        add(changing, "b")
        assert words(reading) == ["a", "b"]
        changing.close()
        assert words(reading) == ["a", "b"]
        with pytest.raises(Unavailable, match=r"readonly|unable to open"):
            add(reading, "c")
        assert words(changing) == ["a", "b"]


def test_read_only_with_a_log(one: Database, tmp_path: Path) -> None:
    """A log that cannot be read is not passed over: what was deleted by it would be there again."""
    add(one, "a")
    one.close()
    with one.change() as connection:
        connection.execute("DELETE FROM words")
    copy = tmp_path / "copy"
    copy.mkdir()
    for name in ("words.db", "words.db-wal"):
        shutil.copy(tmp_path / name, copy / name)
    with (
        read_only_view(copy, tmp_path / "view") as view,
        closing(database_at(view)) as reading,
        pytest.raises(
            Unavailable, match=r"words\.db-wal holds changes that cannot be read from a read-only place"
        ),
    ):
        words(reading)


def test_another_user(one: Database, other: Database, tmp_path: Path) -> None:
    """A file of somebody else is told with its path, to who reads and to who changes."""
    if os.geteuid() != 0:
        pytest.skip("only root can act for another user")
    add(one, "a")
    os.seteuid(65534)
    try:
        for attempt in (words, lambda database: add(database, "b")):
            with pytest.raises(Unavailable, match=re.escape(f"{tmp_path}/words.db: Permission denied")):
                attempt(other)
    finally:
        os.seteuid(0)
    assert words(other) == ["a"]
