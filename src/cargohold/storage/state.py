"""What the processes of a registry share beside its images, in SQLite: access tokens and refresh tokens.

No image depends on it. It is to be imported only where a login is configured. Of secrets it has the hashes alone:
with what can be read in the file nobody can log in.
"""

from __future__ import annotations

import asyncio
import logging
import sqlite3
import time
from concurrent.futures import ThreadPoolExecutor
from typing import TYPE_CHECKING, Any, TypeVar

import msgspec

from cargohold.storage.database import Database, DatabaseUnusable
from cargohold.storage.generation import Generation
from cargohold.storage.locks import PATIENCE
from cargohold.storage.protocols import Conflict, Unavailable
from cargohold.storage.threads import to_the_end

if TYPE_CHECKING:
    from collections.abc import Callable

T = TypeVar("T")

_VERSION = 1
_SCHEMA = """
CREATE TABLE robots (
    id TEXT PRIMARY KEY,
    name TEXT NOT NULL UNIQUE,
    hash BLOB NOT NULL UNIQUE,
    grants TEXT NOT NULL,
    created REAL NOT NULL,
    expires REAL NOT NULL
) WITHOUT ROWID;
CREATE TABLE refresh_tokens (
    hash BLOB PRIMARY KEY,
    kind TEXT NOT NULL,
    name TEXT NOT NULL,
    key TEXT NOT NULL,
    stamp TEXT NOT NULL,
    lifetime REAL NOT NULL,
    expires REAL NOT NULL
) WITHOUT ROWID;
CREATE INDEX refresh_tokens_of_subject ON refresh_tokens (kind, key, expires);
CREATE INDEX refresh_tokens_by_end ON refresh_tokens (expires);
CREATE TABLE revision (number INTEGER NOT NULL);
INSERT INTO revision VALUES (random())
"""

_READ_PATIENCE = 0.1
_LOOK_SECONDS = 5.0

_log = logging.getLogger(__name__)


class Robot(msgspec.Struct, frozen=True):
    """An access token as it is kept; `grants` as `auth.grants` writes them, times in seconds of the epoch."""

    id: str
    name: str
    hash: bytes
    grants: str
    created: float
    expires: float


class RefreshToken(msgspec.Struct, frozen=True):
    """A refresh token as it is kept: whose it is, how many seconds it lives after a use (0: no longer), and its end."""

    hash: bytes
    kind: str
    name: str
    key: str
    stamp: str
    lifetime: float
    expires: float


class State:
    """The database `state.db` in a folder, and the generation by which processes learn of its changes.

    To be made before the fork and used after it. What was written is durable when the call returns. To read one
    record takes microseconds and is done at once; what writes waits in a thread. No file is made until something is
    written. Every call but `version` may raise Unavailable, and Full where it writes.
    """

    def __init__(self, folder: str) -> None:
        path = f"{folder}/state.db"
        self._generation = Generation(f"{folder}/generation")
        self._reader = Database(path, schema=_SCHEMA, version=_VERSION, patience=_READ_PATIENCE)
        self._writer = Database(path, schema=_SCHEMA, version=_VERSION, patience=PATIENCE)
        self._thread = ThreadPoolExecutor(1, "state")
        self._seen = self._revision = self._version = 0
        self._due = 0.0

    def open(self) -> None:
        """Open what is there: what is in the way of that is then told at the start of a server, and not later.

        Raises Conflict where the database is damaged, or of another version, and Unavailable where the system is in
        the way.
        """
        try:
            self._generation.read()
            self._read_revision()
        except DatabaseUnusable as error:
            raise Conflict(str(error)) from error

    def version(self) -> int:
        """Another number once a robot has been added or removed, by any process. It takes half a microsecond.

        Five seconds late where the process that did it was killed before it could tell.
        """
        words = self._generation.words
        generation = words[0] if words is not None else self._read_generation()
        if generation != self._seen or time.monotonic() >= self._due:
            self._look(generation)
        return self._version

    def _read_generation(self) -> int:
        try:
            return self._generation.read()
        except Unavailable:
            return 0

    def _look(self, generation: int) -> None:
        try:
            self._generation.follow()
            self._revision = self._read_revision()
        except Unavailable as error:
            # A login that needs no robot must not fail of it; one that does will say so itself.
            _log.warning("cannot see whether access tokens have changed: %s", error)
        self._seen, self._version = generation, generation ^ self._revision
        self._due = time.monotonic() + _LOOK_SECONDS

    def _read_revision(self) -> int:
        rows = self._read("SELECT number FROM revision")
        return int(rows[0][0]) if rows else 0

    def find_robot(self, identifier: str) -> Robot | None:
        """The robot of this id, also where it has expired."""
        rows = self._read("SELECT * FROM robots WHERE id = ?", identifier)
        return Robot(*rows[0]) if rows else None

    def find_robot_by_hash(self, secret_hash: bytes) -> Robot | None:
        """The robot whose secret has this hash, also where it has expired."""
        rows = self._read("SELECT * FROM robots WHERE hash = ?", secret_hash)
        return Robot(*rows[0]) if rows else None

    def list_robots(self) -> list[Robot]:
        """All of them by name, also those that have expired. Ten thousand take ten milliseconds."""
        return [Robot(*row) for row in self._read("SELECT * FROM robots ORDER BY name")]

    async def add_robot(self, robot: Robot) -> None:
        """Add one, in the place of one of its name that has expired before. Raises Conflict where that has not."""

        def add(database: sqlite3.Connection) -> None:
            database.execute(
                "DELETE FROM robots WHERE name = ? AND expires <= ?", (robot.name, robot.created)
            )
            try:
                database.execute(
                    "INSERT INTO robots VALUES (?, ?, ?, ?, ?, ?)", msgspec.structs.astuple(robot)
                )
            except sqlite3.IntegrityError:
                raise Conflict(f"there is a robot {robot.name} already") from None

        await self._write(add, robots=True)

    async def remove_robot(self, name: str) -> bool:
        """Remove a robot, and its refresh tokens; whether there was one."""

        def remove(database: sqlite3.Connection) -> bool:
            database.execute(
                "DELETE FROM refresh_tokens"
                " WHERE kind = 'robot' AND key = (SELECT id FROM robots WHERE name = ?)",
                (name,),
            )
            return database.execute("DELETE FROM robots WHERE name = ?", (name,)).rowcount > 0

        there = self._read("SELECT id FROM robots WHERE name = ?", name)
        return bool(there) and await self._write(remove, robots=True)

    def find_refresh_token(self, token_hash: bytes) -> RefreshToken | None:
        """The refresh token that has this hash, also where it has expired."""
        rows = self._read("SELECT * FROM refresh_tokens WHERE hash = ?", token_hash)
        return RefreshToken(*rows[0]) if rows else None

    async def add_refresh_token(self, token: RefreshToken, *, now: float, most: int) -> None:
        """Add one; remove those that have expired, and those of its subject that end first, beyond `most`."""

        def add(database: sqlite3.Connection) -> None:
            database.execute("DELETE FROM refresh_tokens WHERE expires <= ?", (now,))
            database.execute(
                "INSERT INTO refresh_tokens VALUES (?, ?, ?, ?, ?, ?, ?)", msgspec.structs.astuple(token)
            )
            database.execute(
                "DELETE FROM refresh_tokens WHERE hash IN (SELECT hash FROM refresh_tokens"
                " WHERE kind = ? AND key = ? ORDER BY expires DESC LIMIT -1 OFFSET ?)",
                (token.kind, token.key, most),
            )

        await self._write(add)

    async def extend_refresh_token(self, token_hash: bytes, expires: float) -> None:
        """Let it end later; nothing where it is gone."""
        statement = "UPDATE refresh_tokens SET expires = max(expires, ?) WHERE hash = ?"
        await self._write(lambda database: database.execute(statement, (expires, token_hash)))

    async def remove_refresh_token(self, token_hash: bytes) -> None:
        """Remove it; nothing where it is gone."""
        statement = "DELETE FROM refresh_tokens WHERE hash = ?"
        await self._write(lambda database: database.execute(statement, (token_hash,)))

    def _read(self, statement: str, *values: object) -> list[tuple[Any, ...]]:
        with self._reader.read() as database:
            return [] if database is None else database.execute(statement, values).fetchall()

    async def _write(self, change: Callable[[sqlite3.Connection], T], *, robots: bool = False) -> T:
        """Make the change in the thread, wholly or not at all; `robots` is whether everyone must learn of it."""

        def commit() -> T:
            with self._writer.change() as database:
                result = change(database)
                if robots:
                    # A number that was not there before, in a database that was made anew either.
                    database.execute("UPDATE revision SET number = random()")
            if robots:
                self._tell()
            return result

        return await to_the_end(asyncio.get_running_loop().run_in_executor(self._thread, commit))

    def _tell(self) -> None:
        try:
            self._generation.change()
        except Unavailable as error:
            _log.warning("servers that run learn of this within %g seconds: %s", _LOOK_SECONDS, error)

    def close(self) -> None:
        """Wait for what is being written, and let go of the files; the next call opens them again."""
        self._thread.shutdown()
        self._thread = ThreadPoolExecutor(1, "state")
        self._writer.close()
        self._reader.close()
        self._generation.close()
