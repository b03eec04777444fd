"""A SQLite file that several processes use at once: made whole, opened as it is found, its errors told plainly."""

from __future__ import annotations

import os
import sqlite3
import time
import uuid
from contextlib import closing, contextmanager
from typing import TYPE_CHECKING
from urllib.parse import quote

from cargohold.storage.durable import Disk, remove
from cargohold.storage.filesystem.tree import exists, store_error
from cargohold.storage.locks import PATIENCE, locked, open_lock
from cargohold.storage.protocols import Full, Unavailable

if TYPE_CHECKING:
    from collections.abc import Iterator

_UNWRITABLE = frozenset({sqlite3.SQLITE_CANTOPEN, sqlite3.SQLITE_READONLY})
_DAMAGED = frozenset({sqlite3.SQLITE_CORRUPT, sqlite3.SQLITE_NOTADB})
_BESIDE = ("-wal", "-shm", "-journal")


class DatabaseUnusable(Unavailable):
    """The file is damaged, or of a version that we do not know: somebody must look at it."""


class Database:
    """One connection to a file, for one thread at a time; to be made before the fork and used after it.

    `schema` is the SQL that makes its tables, of version `version`. A call waits `patience` seconds for other
    processes; a read waits for no writer, only for whoever mends what a killed process has left.
    """

    def __init__(self, path: str, *, schema: str, version: int, patience: float) -> None:
        self._path = path
        self._schema = schema
        self._version = version
        self._patience = patience
        self._identity = (0, 0)
        self._connection: sqlite3.Connection | None = None

    @contextmanager
    def read(self) -> Iterator[sqlite3.Connection | None]:
        """The database, to be read; None where there is none. Raises Unavailable.

        A result must be read to its end: until then it holds on to what the database was.
        """
        with self._told():
            try:
                connection = self._find()
            except sqlite3.OperationalError as error:
                if _code(error) not in _UNWRITABLE:
                    raise
                # Not kept: it does not see what others change.
                with closing(self._open_unchanging()) as connection:
                    yield connection
                return
            yield connection

    @contextmanager
    def change(self) -> Iterator[sqlite3.Connection]:
        """The database, which is made where there is none, in a transaction that is durable on leaving.

        An error in the block undoes it. Raises Unavailable, or Full.
        """
        with self._told():
            self._create()
            connection = self._find()
            if connection is None:
                raise Unavailable(f"{self._path} has been removed this moment")
            with connection:
                connection.execute("BEGIN IMMEDIATE")
                yield connection

    def close(self) -> None:
        """Let go of the file; the next call opens it again."""
        connection, self._connection = self._connection, None
        if connection is not None:
            connection.close()

    def _find(self) -> sqlite3.Connection | None:
        """The connection to the file that is at the path now."""
        try:
            status = os.stat(self._path)
        except FileNotFoundError:
            self.close()
            return None
        identity = (status.st_dev, status.st_ino)
        if identity != self._identity:
            self.close()
        if self._connection is None:
            self._connection, self._identity = self._open("mode=rw"), identity
        return self._connection

    def _open(self, way: str) -> sqlite3.Connection:
        connection = _connect(self._path, way, self._patience)
        try:
            self._check_version(connection)
            connection.execute("PRAGMA synchronous = FULL")
        except BaseException:
            connection.close()
            raise
        return connection

    def _check_version(self, connection: sqlite3.Connection) -> None:
        ((version,),) = connection.execute("PRAGMA user_version").fetchall()
        if version != self._version:
            raise DatabaseUnusable(
                f"{self._path} is of version {version}, and this cargohold knows version {self._version}: use the"
                " cargohold that wrote it, or a newer one"
            )

    def _open_unchanging(self) -> sqlite3.Connection:
        """Without a look at the log of changes, which cannot be read where nothing can be written."""
        log = f"{self._path}-wal"
        if exists(log) and os.stat(log).st_size > 0:
            raise Unavailable(
                f"{log} holds changes that cannot be read from a read-only place: open the database once where it"
                " can be written to"
            )
        return self._open("mode=ro&immutable=1")

    def _create(self) -> None:
        if exists(self._path):
            return
        folder, name = os.path.split(self._path)
        lock = open_lock(f"{folder}/locks/{name}")
        try:
            with locked(lock, time.monotonic() + PATIENCE):
                if not exists(self._path):
                    self._make(folder, f"{folder}/new/{uuid.uuid4().hex}")
        finally:
            os.close(lock)

    def _make(self, folder: str, aside: str) -> None:
        """Make it aside and rename it into place: nobody ever sees it without its tables."""
        disk = Disk(os.path.dirname(folder), lambda _: False)
        disk.make_folders(os.path.dirname(aside))
        try:
            os.close(os.open(aside, os.O_CREAT | os.O_EXCL | os.O_CLOEXEC, 0o600))
            with closing(_connect(aside, "mode=rw", self._patience)) as connection:
                connection.execute("PRAGMA journal_mode = WAL")
                connection.executescript(
                    f"BEGIN; {self._schema}; PRAGMA user_version = {self._version}; COMMIT"
                )
            for suffix in _BESIDE:
                # What belonged to a file that was removed would be taken for ours.
                remove(self._path + suffix)
            disk.rename(aside, self._path)
            disk.settle([folder])
        finally:
            for suffix in ("", *_BESIDE):
                remove(aside + suffix)
            disk.close()

    @contextmanager
    def _told(self) -> Iterator[None]:
        try:
            yield
        except OSError as error:
            raise store_error(error) from error
        except sqlite3.Error as error:
            if _code(error) == 0:
                raise
            raise self._store_error(error) from error

    def _store_error(self, error: sqlite3.Error) -> Unavailable:
        code = _code(error)
        if code == sqlite3.SQLITE_FULL:
            return Full(f"{self._path}: no room is left")
        if code in _DAMAGED:
            name = os.path.basename(self._path)
            return DatabaseUnusable(
                f"{self._path} is damaged ({error}): put a copy of it back, or stop every server and remove it, with"
                f" {name}-wal and {name}-shm; what was in it must then be made anew"
            )
        return Unavailable(f"{self._path}: {error}")


def _connect(path: str, way: str, patience: float) -> sqlite3.Connection:
    return sqlite3.connect(
        f"file:{quote(path)}?{way}", timeout=patience, isolation_level=None, check_same_thread=False, uri=True
    )


def _code(error: sqlite3.Error) -> int:
    """What went wrong, without the finer distinctions; 0 where it is our own code that used SQLite wrongly."""
    return getattr(error, "sqlite_errorcode", 0) & 0xFF
