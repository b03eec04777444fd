"""What was found out about a secret, kept for a while without the secret."""

from __future__ import annotations

import os
import time
from collections import OrderedDict
from hashlib import blake2b
from typing import Generic, TypeVar

MOST = 4096
_KEY_BYTES = 32
_DIGEST_BYTES = 16

Found = TypeVar("Found")


class Remembered(Generic[Found]):
    """Things by secrets, of which nothing is kept but a hash under a key that no other process has.

    Bounded: of more than MOST the oldest goes. Each ends by two clocks: one that nobody sets, and that of the epoch.
    """

    def __init__(self) -> None:
        self._hash = blake2b(key=os.urandom(_KEY_BYTES), digest_size=_DIGEST_BYTES)
        self._entries: OrderedDict[bytes, tuple[Found, float, float]] = OrderedDict()

    def __len__(self) -> int:
        return len(self._entries)

    def get(self, secret: bytes) -> Found | None:
        """What is remembered; None where nothing is, or no longer."""
        name = self._name(secret)
        entry = self._entries.get(name)
        if entry is None:
            return None
        found, end, until = entry
        if time.monotonic() >= end or time.time() >= until:
            del self._entries[name]
            return None
        return found

    def keep(self, secret: bytes, found: Found, *, seconds: float, until: float) -> None:
        """Remember it for so many seconds, and not beyond `until` (seconds of the epoch)."""
        name = self._name(secret)
        self._entries.pop(name, None)
        if len(self._entries) >= MOST:
            self._entries.popitem(last=False)
        self._entries[name] = found, time.monotonic() + seconds, until

    def replace(self, secret: bytes, found: Found) -> None:
        """Remember another thing for as long as the one before."""
        name = self._name(secret)
        _, end, until = self._entries[name]
        self._entries[name] = found, end, until

    def forget(self, secret: bytes) -> None:
        """As if it had never been."""
        self._entries.pop(self._name(secret), None)

    def _name(self, secret: bytes) -> bytes:
        # A copy costs half of what a new hash under the key does.
        name = self._hash.copy()
        name.update(secret)
        return name.digest()
