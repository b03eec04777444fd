"""Users and their passwords out of an htpasswd file, which may change while the registry runs."""

from __future__ import annotations

import logging
import os
import time
from concurrent.futures import Future, ThreadPoolExecutor
from hashlib import blake2b
from typing import TYPE_CHECKING

from cargohold.auth.passwords import PasswordChecks
from cargohold.auth.protocols import Proved, Subject
from cargohold.auth.userfile import parse, read_file
from cargohold.types.errors import Unavailable

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from cargohold.auth.identity import Authority

LOOK_SECONDS = 1.0
"""How long a look at the file holds."""
SMALL_BYTES = 256 << 10
"""A file of so many bytes, of some thousands of users, is read in twenty milliseconds."""
SETTLE_SECONDS = 1.0
"""A file that was written to less than this ago may still be being written: Apache's htpasswd writes in place."""

_log = logging.getLogger(__name__)


class HtpasswdUsers:
    """The users of an htpasswd file (see `auth.userfile`); a `Passwords`.

    A change of the file counts for every request that comes LOOK_SECONDS + SETTLE_SECONDS after it, and is read in that
    request, if it is small; a large one is read in a thread, and counts some moments later. While the file is missing
    or faulty the users are those of the last good one, and the log says why. To be made after the fork.

    Raises ValueError where the file cannot be read or is none of users, with a message for people. With `later`, for a
    worker that comes after others, the log says it instead, and until the file is good every question about a user
    raises errors.Unavailable: which users the last good file had is not known here.
    """

    guessable = True

    def __init__(self, path: str, authority_of: Callable[[str], Authority], *, later: bool = False) -> None:
        self._path = path
        self._authority_of = authority_of
        self._checks = PasswordChecks()
        self._reads = ThreadPoolExecutor(1, "htpasswd")
        self._reading: Future[None] | None = None
        self._told: frozenset[str] = frozenset()
        self._version = 0
        self._users, self._digest = parse(b""), b""
        self._look_at = time.monotonic() + LOOK_SECONDS
        self._seen: tuple[int, ...] = ()
        try:
            content, found = read_file(path)
            self._take(content)
        except (OSError, ValueError) as error:
            if not later:
                raise ValueError(f"cannot read the users of {path}: {_reason(error)}") from None
            self._tell([f"nobody can log in until the file can be read: {_reason(error)}"])
        else:
            self._seen = _marks(found) if _settled(found) else ()

    async def prove(self, name: str, password: str) -> Proved | None:
        """See `Passwords`. Raises TooManyRequests where too many passwords wait to be checked."""
        self._keep_up()
        self._require_users()
        users = self._users
        entry = users.entries.get(name)
        if not await self._checks.right(name, password, entry, users.cost) or entry is None:
            return None
        subject = Subject("user", name, key=name, stamp=entry.stamp)
        authority = self.authority(subject)
        return None if authority is None else Proved(subject, authority)

    def authority(self, subject: Subject) -> Authority | None:
        """See `Passwords`: None once the user has another password, too."""
        if subject.kind != "user":
            return None
        self._keep_up()
        self._require_users()
        entry = self._users.entries.get(subject.key)
        if entry is None or entry.stamp != subject.stamp:
            return None
        return self._authority_of(subject.key)

    def version(self) -> int:
        """See `Passwords`."""
        # Mostly without the call, which costs as much as the rest of it.
        if time.monotonic() >= self._look_at:
            self._keep_up()
        return self._version

    def close(self) -> None:
        """End the threads."""
        self._checks.close()
        self._reads.shutdown()

    def _require_users(self) -> None:
        if not self._digest:
            raise Unavailable(
                "the users cannot be read now; the log says why", headers=[("retry-after", "5")]
            )

    def _keep_up(self) -> None:
        """Look at the file where the last look is too old."""
        now = time.monotonic()
        if now >= self._look_at:
            self._look_at = now + LOOK_SECONDS
            self._look()

    def _look(self) -> None:
        """Have the file read where it has changed: here, or in a thread where that would keep the loop."""
        try:
            found = os.stat(self._path)
        except OSError as error:
            self._complain(error)
            return
        if _marks(found) == self._seen or not _settled(found):
            return
        if found.st_size <= SMALL_BYTES:
            self._read(_marks(found))
        elif self._reading is None or self._reading.done():
            self._reading = self._reads.submit(self._read, _marks(found))
            # What is not expected is raised by the callback, which has it logged.
            self._reading.add_done_callback(Future.result)

    def _read(self, marks: tuple[int, ...]) -> None:
        """Take the file's users. One that is faulty is not read again until it has changed from these marks."""
        try:
            content, found = read_file(self._path)
            version = self._version
            self._take(content)
        except (OSError, ValueError) as error:
            self._complain(error)
            self._seen = marks
            return
        if self._version != version:
            _log.info("%s: %d users", self._path, len(self._users.entries))
        self._seen = _marks(found) if _settled(found) else ()

    def _complain(self, error: OSError | ValueError) -> None:
        stays = "the users stay as they were" if self._digest else "nobody can log in"
        self._tell([f"{stays}: the file cannot be read: {_reason(error)}"])

    def _take(self, content: bytes) -> None:
        users, digest = parse(content), _digest(content)
        self._tell(users.oddities)
        if digest != self._digest:
            self._users, self._digest = users, digest
            self._version += 1

    def _tell(self, words: Sequence[str]) -> None:
        """Warn of each thing once, and again only when it had been mended meanwhile."""
        for each in words:
            if each not in self._told:
                _log.warning("%s: %s", self._path, each)
        self._told = frozenset(words)


def _reason(error: OSError | ValueError) -> str:
    return str(error.strerror) if isinstance(error, OSError) else str(error)


def _digest(content: bytes) -> bytes:
    return blake2b(content).digest()


def _marks(found: os.stat_result) -> tuple[int, ...]:
    """What differs once a file has been changed or replaced."""
    return found.st_dev, found.st_ino, found.st_size, found.st_mtime_ns, found.st_ctime_ns


def _settled(found: os.stat_result) -> bool:
    """Whether the file stands unchanged for long enough; one of the future does, as clocks differ."""
    return not 0 <= time.time() - found.st_mtime < SETTLE_SECONDS
