"""What was found out about a secret, kept for a while without the secret."""

from __future__ import annotations

import os
import time
from collections import OrderedDict
from hashlib import sha256
from typing import TYPE_CHECKING, Generic, NamedTuple, TypeVar

if TYPE_CHECKING:
    from collections.abc import Hashable

MOST = 4096
ROOM = 2 << 20
"""Bytes of secrets: what is found out from a secret grows with it, such as the accesses that a token names."""
_KEY_BYTES = 32

Found = TypeVar("Found")


class _Entry(NamedTuple, Generic[Found]):
    found: Found
    end: float
    until: float
    size: int
    whose: Hashable

    def is_over(self) -> bool:
        return time.monotonic() >= self.end or time.time() >= self.until


class Remembered(Generic[Found]):
    """Things by secrets, of which nothing is kept but a hash under a key that no other process has.

    Bounded: of more than MOST, or of longer secrets than ROOM holds, the oldest go. Each ends by two clocks: one that
    nobody sets, and that of the epoch.
    """

    def __init__(self) -> None:
        # Nobody sees the hashes, so that nobody can lengthen what was hashed: a key in front is enough.
        self._hash = sha256(os.urandom(_KEY_BYTES))
        self._entries: OrderedDict[bytes, _Entry[Found]] = OrderedDict()
        self._size = 0
        self._names_of: dict[Hashable, set[bytes]] = {}

    def __len__(self) -> int:
        return len(self._entries)

    def get(self, secret: bytes) -> Found | None:
        """What is remembered; None where nothing is, or no longer."""
        # At every request: what `_name` and `is_over` do is written out.
        hashed = self._hash.copy()
        hashed.update(secret)
        entry = self._entries.get(hashed.digest())
        if entry is None:
            return None
        found, end, until, _, _ = entry
        if time.monotonic() < end and time.time() < until:
            return found
        self._drop(hashed.digest())
        return None

    def keep(
        self, secret: bytes, found: Found, *, seconds: float, until: float, whose: Hashable = None
    ) -> None:
        """Remember it for so many seconds, and not beyond `until` (seconds of the epoch)."""
        name = self._name(secret)
        self._drop(name)
        self._entries[name] = _Entry(found, time.monotonic() + seconds, until, len(secret), whose)
        self._size += len(secret)
        self._names_of.setdefault(whose, set()).add(name)
        # Those that are over are mostly the oldest.
        while self._entries:
            oldest, entry = next(iter(self._entries.items()))
            if len(self._entries) <= MOST and self._size <= ROOM and not entry.is_over():
                break
            self._drop(oldest)

    def replace(self, secret: bytes, found: Found) -> None:
        """Remember another thing for as long as the one before."""
        name = self._name(secret)
        self._entries[name] = self._entries[name]._replace(found=found)

    def forget(self, secret: bytes) -> None:
        """As if it had never been."""
        self._drop(self._name(secret))

    def forget_all(self, whose: Hashable) -> None:
        """As if nothing of theirs had ever been."""
        for name in list(self._names_of.get(whose, ())):
            self._drop(name)

    def _drop(self, name: bytes) -> None:
        entry = self._entries.pop(name, None)
        if entry is None:
            return
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
