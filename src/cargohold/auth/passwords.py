"""Checking passwords against hashes of bcrypt, in threads, so that neither time nor a crowd tells who is a user."""

from __future__ import annotations

import asyncio
from concurrent.futures import Future, ThreadPoolExecutor
from typing import TYPE_CHECKING

import bcrypt

from cargohold.auth.robots import SECRET
from cargohold.types.errors import TooManyRequests

if TYPE_CHECKING:
    from cargohold.auth.userfile import Entry

LONGEST_PASSWORD = 72
"""Bytes: bcrypt takes no more."""
THREADS = 2
WAITING = 64
"""Checks that may wait for a thread."""


class PasswordChecks:
    """Checks of passwords in threads of their own. To be used by one loop, after the fork alone."""

    def __init__(self) -> None:
        self._pool = ThreadPoolExecutor(THREADS, "bcrypt")
        self._under_way: dict[tuple[str, bytes, bytes | None, int], Future[bool]] = {}

    async def right(self, name: str, password: str, entry: Entry | None, cost: int) -> bool:
        """Whether the password is the entry's, which is that of this name; without an entry it is not.

        When it is not, that takes as long as one hash of this cost, which is no less than the entry's. The same
        question asked several times at once is answered once. Raises TooManyRequests where too many wait.
        """
        given = password.encode("utf-8", "surrogatepass")
        # Without the name all who are unknown would ask the same, and who waits for a check of their own be known.
        question = name, given, None if entry is None else entry.hash, cost
        answer = self._under_way.get(question)
        if answer is None:
            if len(self._under_way) >= THREADS + WAITING:
                raise TooManyRequests(
                    "too many passwords wait to be checked; try again soon", headers=[("retry-after", "1")]
                )
            answer = self._under_way[question] = self._pool.submit(is_right, *question[1:])
            answer.add_done_callback(lambda _: self._under_way.pop(question))
        # Whoever goes away leaves the answer to the others.
        return await asyncio.shield(asyncio.wrap_future(answer))

    def close(self) -> None:
        """Give up what waits, wait for what runs, and end the threads."""
        self._pool.shutdown(cancel_futures=True)


def check_password(password: str) -> None:
    """Raises ValueError where nobody could log in by it: bcrypt cannot hash the whole, or it looks like a secret."""
    if not password:
        raise ValueError("the password is empty")
    if "\0" in password:
        raise ValueError("a password holds no NUL")
    if SECRET.fullmatch(password):
        raise ValueError("a password does not look like the secret of a robot: chd_ and 43 letters")
    length = len(password.encode())
    if length > LONGEST_PASSWORD:
        raise ValueError(f"a password has at most {LONGEST_PASSWORD} bytes in UTF-8, this one has {length}")


def hash_password(password: str, cost: int) -> str:
    """A new hash of a password, to stand in a file of users. Raises as `check_password` does."""
    check_password(password)
    # Apache's own programs know the same hash by this name alone.
    return "$2y$" + bcrypt.hashpw(password.encode(), bcrypt.gensalt(cost)).decode()[4:]


def is_right(password: bytes, stored: bytes | None, cost: int) -> bool:
    """See `PasswordChecks.right`.

    A NUL is refused since bcrypt reads a password over and over with a NUL between: `a` and `a NUL a` are one to it.
    """
    cut = password[:LONGEST_PASSWORD]
    if stored is None:
        bcrypt.hashpw(cut, bcrypt.gensalt(cost))
        return False
    if bcrypt.checkpw(cut, stored) and cut == password and b"\0" not in password:
        return True
    # A hash of each cost from that of the entry up to the one below: together as long as one of the cost asked for.
    for each in range(int(stored[4:6]), cost):
        bcrypt.hashpw(cut, bcrypt.gensalt(each))
    return False
