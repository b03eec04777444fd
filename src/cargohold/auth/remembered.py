"""What was found out about a secret, kept for a while without the secret."""

from __future__ import annotations

import os
import time
from collections import OrderedDict
from hashlib import sha256
from typing import TYPE_CHECKING, Final, Generic, TypeVar

if TYPE_CHECKING:
    from collections.abc import Hashable

MOST = 4096
ROOM = 2 << 20
"""Bytes of secrets: what is found out from a secret grows with it, such as the accesses that a token names."""
NEVER: Final = float("inf")
_KEY_BYTES = 32

Found = TypeVar("Found")


class Entry(Generic[Found]):
    """What is remembered of one secret, to be asked for again without it."""

    __slots__ = ("_end", "_until", "found", "name", "size", "whose")

    def __init__(  # noqa: PLR0913 - all but the first may be left out
        self,
        found: Found,
        *,
        end: float = NEVER,
        until: float = NEVER,
        name: bytes = b"",
        size: int = 0,
        whose: Hashable = None,
    ) -> None:
        self.found = found
        self.name = name
        self.size = size
        self.whose = whose
        self._end = end
        self._until = until

    def is_over(self) -> bool:
        """Whether it holds no longer: its time has come, or it was forgotten."""
        # What has no end by the one clock is asked for the other alone: to look at a clock is most of what this costs.
        return time.time() >= self._until or (self._end is not NEVER and time.monotonic() >= self._end)

    def end(self) -> None:
        """It holds no longer."""
        self._end = float("-inf")


class Remembered(Generic[Found]):
    """Things by secrets, of which nothing is kept but a hash under a key that no other process has.

    Bounded: of more than MOST, or of longer secrets than ROOM holds, the oldest go. Each ends by two clocks: one that
    nobody sets, and that of the epoch.
    """

    def __init__(self) -> None:
        # Nobody sees the hashes, so that nobody can lengthen what was hashed: a key in front is enough.
        self._hash = sha256(os.urandom(_KEY_BYTES))
        self._entries: OrderedDict[bytes, Entry[Found]] = OrderedDict()
        self._size = 0
        self._names_of: dict[Hashable, set[bytes]] = {}

    def __len__(self) -> int:
        return len(self._entries)

    def get(self, secret: bytes) -> Found | None:
        """What is remembered; None where nothing is, or no longer."""
        entry = self.entry(secret)
        return None if entry is None else entry.found

    def entry(self, secret: bytes) -> Entry[Found] | None:
        """The same with what tells how long it holds."""
        name = self._name(secret)
        entry = self._entries.get(name)
        if entry is not None and entry.is_over():
            self._drop(name)
            return None
        return entry

    def keep(
        self, secret: bytes, found: Found, *, seconds: float, until: float, whose: Hashable = None
    ) -> None:
        """Remember it for so many seconds, and not beyond `until` (seconds of the epoch)."""
        name = self._name(secret)
        self._drop(name)
        end, size = NEVER if seconds == NEVER else time.monotonic() + seconds, len(secret)
        self._entries[name] = Entry(found, end=end, until=until, name=name, size=size, whose=whose)
        self._size += len(secret)
        self._names_of.setdefault(whose, set()).add(name)
        # Those that are over are mostly the oldest.
        while self._entries:
            oldest, entry = next(iter(self._entries.items()))
            if len(self._entries) <= MOST and self._size <= ROOM and not entry.is_over():
                break
            self._drop(oldest)

    def forget(self, entry: Entry[Found]) -> None:
        """As if it had never been."""
        if self._entries.get(entry.name) is entry:
            self._drop(entry.name)

    def forget_all(self, whose: Hashable) -> None:
        """As if nothing of theirs had ever been."""
        for name in list(self._names_of.get(whose, ())):
            self._drop(name)

    def _drop(self, name: bytes) -> None:
        entry = self._entries.pop(name, None)
        if entry is None:
            return
        entry.end()
        self._size -= entry.size
        names = self._names_of[entry.whose]
        names.remove(name)
        if not names:
            del self._names_of[entry.whose]

    def _name(self, secret: bytes) -> bytes:
        # A copy costs half of what a new hash with the key does.
        name = self._hash.copy()
        name.update(secret)
        return name.digest()
