"""How much is used of one quota, as far as it is known: never less than there is, and perhaps more.

What is to be stored is added before it is stored. What was removed is not taken off: the tree knows, and is counted
when there seems to be no room left. So nothing goes beyond a quota, whatever a process had done when it died.

Who stores something holds the ledger together with others meanwhile; who counts holds it alone, so that all is either
stored and in the tree, or not yet added.
"""

from __future__ import annotations

import fcntl
import os
import struct
import time
import zlib
from typing import TYPE_CHECKING, Final, NamedTuple, Self

from cargohold.storage.boot import boot_id
from cargohold.storage.locks import locked, open_lock

if TYPE_CHECKING:
    from contextlib import AbstractContextManager

_BOOT_BYTES: Final = 40
_FORM: Final = struct.Struct(f"=8s{_BOOT_BYTES}sqdd")
_CHECKSUM_BYTES: Final = 4
_BYTES: Final = _FORM.size + _CHECKSUM_BYTES
_MAGIC: Final = b"quota\x00\x00\x01"
_TRUSTED_SECONDS: Final = 10.0
_SHARE: Final = 50


class Entry(NamedTuple):
    """The bytes that are `used` at most, as `counted` then, to be trusted `until` then (monotonic seconds)."""

    used: int
    counted: float
    until: float

    @classmethod
    def of(cls, used: int, began: float) -> Entry:
        """What a count has found that began then and ends now.

        It is trusted for ten seconds, or fifty times as long as it took: what is stored by others than servers with
        the same quota is not added, and is to be found soon.
        """
        now = time.monotonic()
        return cls(used, began, now + max(_TRUSTED_SECONDS, _SHARE * (now - began)))


class Ledger:
    """The file at `path`, open until the block is left; it is made where it is missing.

    It may be lost, spoiled or old: then it says nothing, and the tree is counted.
    """

    def __init__(self, path: str) -> None:
        self._descriptor = open_lock(path)

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        os.close(self._descriptor)

    def share(self) -> bool:
        """Hold it together with others, until it is closed; False where somebody has it alone."""
        try:
            fcntl.flock(self._descriptor, fcntl.LOCK_SH | fcntl.LOCK_NB)
        except BlockingIOError:
            return False
        return True

    def alone(self, seconds: float) -> AbstractContextManager[None]:
        """Hold it alone. Raises Busy when `seconds` have passed."""
        return locked(self._descriptor, time.monotonic() + seconds)

    def read(self) -> Entry | None:
        """What is known; None where it is nothing, or was true too long ago."""
        content = os.pread(self._descriptor, _BYTES, 0)
        if len(content) != _BYTES or _checksum(content[: _FORM.size]) != content[_FORM.size :]:
            return None
        magic, of_boot, *rest = _FORM.unpack_from(content)
        entry = Entry(*rest)
        is_good = (magic, of_boot) == (_MAGIC, _boot()) and entry.counted <= time.monotonic() < entry.until
        return entry if is_good else None

    def write(self, entry: Entry) -> None:
        """Keep what is known. Not durable: after a power cut it says nothing."""
        content = _FORM.pack(_MAGIC, _boot(), *entry)
        os.pwrite(self._descriptor, content + _checksum(content), 0)


def _checksum(content: bytes) -> bytes:
    return zlib.crc32(content).to_bytes(_CHECKSUM_BYTES)


def _boot() -> bytes:
    return boot_id().encode().ljust(_BOOT_BYTES, b"\0")
