"""Counts that all processes of a machine share: a table of a fixed size in a file that each of them maps.

Who floods it with keys gains little. It never grows; of the few entries that a key may stand in, the one that has
counted least gives way, which is another of the flood's; and the entry of a key cannot be aimed at, since its place
is a keyed hash. Only a flood of keys that all count much makes the table forget, and who has so many addresses to
come from is not held by a count an address.
"""

from __future__ import annotations

import fcntl
import hashlib
import logging
import mmap
import os
import struct
import time
from typing import NamedTuple

from cargohold.storage.locks import PATIENCE, Busy, locked, try_lock

ENTRIES = 65_536
WAIT_SECONDS = 0.005
"""For how long another process is waited for, before a request is held against the counts and not counted."""

_GRUDGE_SECONDS = 0.05  # for which a lock that was waited for in vain is not waited for again
_SPIN_SECONDS = 0.00002
_LOOK_SECONDS = 1.0
_MOST = 2**32 - 1

_OPEN = os.O_RDWR | os.O_CREAT | os.O_CLOEXEC | os.O_NOFOLLOW
_MAGIC = b"counts\x00\x01"
_KEY = slice(8, 24)
_HEADER_BYTES = 64
_WAYS = 8
_HASH = struct.Struct("=Q")
_HASHES = struct.Struct(f"={_WAYS}Q")
_ENTRY = struct.Struct("=ddII")
_BUCKET_BYTES = _HASHES.size + _WAYS * _ENTRY.size
_BUCKETS = ENTRIES // _WAYS
_SIZE = _HEADER_BYTES + _BUCKETS * _BUCKET_BYTES

_log = logging.getLogger(__name__)


class Window(NamedTuple):
    """What was counted in the window of time that runs, and in the one before it.

    Windows follow the clock: each begins at a multiple of its length. Seconds, of the epoch for `start`.
    """

    start: float
    period: float
    current: int
    previous: int

    def at(self, now: float, period: float) -> Window:
        """The same counts seen from a moment; none of a time that has passed, or that is far in the future."""
        start = now - now % period
        if self.period != period or not -period <= start - self.start <= period:
            return Window(start, period, 0, 0)
        if self.start < start:
            return Window(start, period, 0, self.current)
        return self  # or of the next window, where the clock was set back a little

    def weight(self, now: float) -> float:
        """How many the last `period` seconds have seen, if those of the window before were spread evenly."""
        left = min(max(self.start + self.period - now, 0.0), self.period)
        return self.previous * left / self.period + self.current

    def worth(self, now: float) -> int:
        """How much is lost where these counts are forgotten: nothing, once their time has passed."""
        alive = self.start - self.period <= now < self.start + 2 * self.period
        return self.current + self.previous if alive else 0


_NOTHING = Window(0.0, 0.0, 0, 0)


class Counters:
    """The table in the file at `path`, which is made where it is missing, and kept when the server stops.

    To be opened after the fork, and used by one thread of each process. Where the file cannot be made, the process
    counts by itself, and the log says so. A file that is removed is made again within a second or so; its counts are
    lost. Nothing here raises, waits for longer than `WAIT_SECONDS`, or is durable.
    """

    def __init__(self, path: str) -> None:
        self._path = path
        self._descriptor: int | None = None
        self._patient_from = 0.0
        self._open()

    def _open(self) -> None:
        try:
            os.makedirs(os.path.dirname(self._path), exist_ok=True)
            # For its user alone: whoever may open it may hold its lock.
            self._descriptor = os.open(self._path, _OPEN, 0o600)
            with locked(self._descriptor, time.monotonic() + PATIENCE):
                self._table = _mapped(self._descriptor)
        except (OSError, Busy) as error:
            self.close()
            self._table = mmap.mmap(-1, _SIZE)
            _prepare(self._table)
            _log.warning("%s cannot be used (%s): each worker counts requests by itself", self._path, error)
        self._key = self._table[_KEY]
        self._look_at = time.monotonic() + _LOOK_SECONDS

    def close(self) -> None:
        """Give the file back; nothing may be counted after it."""
        if self._descriptor is not None:
            os.close(self._descriptor)
            self._descriptor = None

    def add(self, key: str, period: int, amount: int = 1, *, limit: int | None = None) -> int | None:
        """Count so many; None, and nothing is counted, where the last `period` seconds had then seen more than `limit`.

        Otherwise what the running window has counted. Exact over all processes, but for one that waits in vain while
        another sleeps with the lock: it counts nothing, and sees what others count.
        """
        self._look()
        now = time.time()
        base, mark = self._place(key)
        has_lock = self._lock()
        try:
            slot, found = self._find(base, mark, now)
            window = found.at(now, period)
            if limit is not None and int(window.weight(now)) + amount > limit:
                return None
            current = min(window.current + amount, _MOST)
            if has_lock:  # else others count meanwhile, and what is written from before would undo it
                entry = _entry(base, slot)
                _ENTRY.pack_into(self._table, entry, window.start, period, current, window.previous)
                _HASH.pack_into(self._table, base + slot * _HASH.size, mark)
        finally:
            if has_lock:
                self._unlock()
        return current

    def read(self, key: str) -> Window:
        """What was counted under a key, as it was when it was last added to."""
        base, mark = self._place(key)
        _, window = self._find(base, mark, time.time())
        return window

    def clear(self, key: str) -> None:
        """Forget what was counted under a key."""
        base, mark = self._place(key)
        slot, _ = self._find(base, mark, time.time())
        _ENTRY.pack_into(self._table, _entry(base, slot), *_NOTHING)

    def clear_all(self) -> None:
        """Forget all counts."""
        self._table[_HEADER_BYTES:] = bytes(_SIZE - _HEADER_BYTES)

    def _place(self, key: str) -> tuple[int, int]:
        """Where the bucket of a key begins, and what marks the key in it."""
        hashed = hashlib.blake2b(key.encode("utf-8", "surrogatepass"), digest_size=8, key=self._key).digest()
        mark = int.from_bytes(hashed, "little")
        return _HEADER_BYTES + mark % _BUCKETS * _BUCKET_BYTES, mark

    def _find(self, base: int, mark: int, now: float) -> tuple[int, Window]:
        """The slot of a key, and what it holds; where it has none, the one to overwrite, and nothing."""
        marks = _HASHES.unpack_from(self._table, base)
        if mark in marks:
            slot = marks.index(mark)
            return slot, self._window(base, slot)
        least = min(range(_WAYS), key=lambda slot: self._window(base, slot).worth(now))
        return least, _NOTHING

    def _window(self, base: int, slot: int) -> Window:
        return Window(*_ENTRY.unpack_from(self._table, _entry(base, slot)))

    def _lock(self) -> bool:
        """Take the lock of the table, if it is to be had in a moment; a table of one's own has none."""
        if self._descriptor is None or try_lock(self._descriptor):
            return True
        if time.monotonic() < self._patient_from:
            return False
        began = time.monotonic()
        while (waited := time.monotonic() - began) < WAIT_SECONDS:
            # It is held for microseconds, unless who holds it waits for a processor: then it is let have this one.
            time.sleep(0.0 if waited < _SPIN_SECONDS else _SPIN_SECONDS)
            if try_lock(self._descriptor):
                return True
        self._patient_from = time.monotonic() + _GRUDGE_SECONDS
        return False

    def _unlock(self) -> None:
        if self._descriptor is not None:
            fcntl.flock(self._descriptor, fcntl.LOCK_UN)

    def _look(self) -> None:
        """Once in a while, see whether the file was removed."""
        if self._descriptor is None or time.monotonic() < self._look_at:
            return
        self._look_at = time.monotonic() + _LOOK_SECONDS
        if os.fstat(self._descriptor).st_nlink == 0:
            self.close()
            self._open()


def _mapped(descriptor: int) -> mmap.mmap:
    """The table in an open file, whose lock is held."""
    if os.fstat(descriptor).st_blocks * 512 < _SIZE:
        os.posix_fallocate(
            descriptor, 0, _SIZE
        )  # a page for which a full disk has no room would kill the process
    table = mmap.mmap(descriptor, _SIZE)
    if table[: len(_MAGIC)] != _MAGIC:
        _prepare(table)
    return table


def _prepare(table: mmap.mmap) -> None:
    table[_HEADER_BYTES:] = bytes(_SIZE - _HEADER_BYTES)
    table[_KEY] = os.urandom(_KEY.stop - _KEY.start)
    table[: len(_MAGIC)] = _MAGIC


def _entry(base: int, slot: int) -> int:
    return base + _HASHES.size + slot * _ENTRY.size
