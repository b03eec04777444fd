"""How much is stored, known without looking: sums in a small file that all processes of a machine add to.

What is stored is spread over shards by digest and by repository. Each has its own sums, and counts their changes: so a
walk that counts one shard anew knows whether what it found is still the truth, and the rest goes on meanwhile.
"""

from __future__ import annotations

import logging
import os
import struct
import threading
import time
from typing import TYPE_CHECKING, Final, NamedTuple, TypeVar

from cargohold.storage.durable import write_all
from cargohold.storage.locks import STRIPES, Busy, locked, stripe_of
from cargohold.storage.protocols import Totals

if TYPE_CHECKING:
    from collections.abc import Callable

    from cargohold.types.digest import Digest
    from cargohold.types.names import RepositoryName

T = TypeVar("T")

CONTENT_SHARDS: Final = 256
SHARDS: Final = CONTENT_SHARDS + STRIPES

_WAIT_SECONDS: Final = 0.05
_OPEN: Final = os.O_RDWR | os.O_CREAT | os.O_CLOEXEC | os.O_NOFOLLOW
_MAGIC: Final = b"totals\x00\x01"
_HEADER: Final = struct.Struct("=8s36sd?")
_HEADER_BYTES: Final = 64
_SHARD: Final = struct.Struct("=qqqQ")
_SIZE: Final = _HEADER_BYTES + SHARDS * _SHARD.size
_BOOT: Final = "/proc/sys/kernel/random/boot_id"

_log = logging.getLogger(__name__)


class Sums(NamedTuple):
    """Of a shard, or what is to be added to it: bytes of content, upload sessions, repositories with a manifest."""

    content: int = 0
    uploads: int = 0
    repositories: int = 0


class _Header(NamedTuple):
    """`boot` tells one run of the machine from another; what was noted in an earlier one `is_doubtful`."""

    magic: bytes
    boot: bytes
    counted: float
    is_doubtful: bool


def content_shard(digest: Digest) -> int:
    """Where a blob or manifest is counted: by the folder that it lies in."""
    return int(digest.hex[:2], 16)


def repository_shard(name: RepositoryName) -> int:
    """Where a repository and its upload sessions are counted."""
    return CONTENT_SHARDS + stripe_of(name)


class TotalsFile:
    """The file at `path`, which is made where it is missing and may be removed at any time: then nothing is known.

    To be used after the fork, and then by any thread. Nothing here raises or waits for long; what cannot be noted is
    told in the log, and put right by the next count. Not durable: after the machine has started anew it is to be
    counted again.
    """

    def __init__(self, path: str) -> None:
        self._path = path
        self._thread = threading.Lock()
        self._descriptor: int | None = None
        self._is_told = False

    def close(self) -> None:
        """Let go of the file; the next use opens it again."""
        if self._descriptor is not None:
            os.close(self._descriptor)
            self._descriptor = None

    def add(self, shard: int, sums: Sums) -> None:
        """Note what has just been stored, ended or removed; some microseconds."""

        def add(file: int) -> None:
            found, changes = _read_shard(file, shard)
            added = Sums(*(was + more for was, more in zip(found, sums, strict=True)))
            _write_shard(file, shard, added, changes + 1)

        self._locked(add)

    def read(self) -> Totals | None:
        """The sums of all shards; None where they were never counted."""
        content = self._locked(lambda file: os.pread(file, _SIZE, 0))
        if content is None:
            return None
        header = _Header(*_HEADER.unpack_from(content))
        if not header.counted:
            return None
        bytes_, uploads, repositories, _ = map(
            sum, zip(*_SHARD.iter_unpack(content[_HEADER_BYTES:]), strict=True)
        )
        # Below nothing where something was removed that another server had stored since the last count.
        return Totals(max(bytes_, 0), max(uploads, 0), max(repositories, 0), header.counted)

    def is_due(self, age: float) -> bool:
        """Whether it is to be counted: it never was, over `age` seconds ago, or in another run of the machine."""
        header = self._locked(_read_header)
        if header is None:
            return False
        return header.is_doubtful or not header.counted <= time.time() < header.counted + age

    def changes(self, shard: int) -> int | None:
        """A number that is another one after each `add` to the shard; None where it cannot be had."""
        return self._locked(lambda file: _read_shard(file, shard)[1])

    def replace(self, shard: int, sums: Sums, changes: int | None) -> bool:
        """Take these for the truth, unless there were changes since it had so many (None: in any case).

        Whether that was done.
        """

        def replace(file: int) -> bool:
            _, now = _read_shard(file, shard)
            if changes not in (None, now):
                return False
            _write_shard(file, shard, sums, now)
            return True

        return self._locked(replace) or False

    def finish(self) -> None:
        """All shards have been counted."""
        header = _Header(_MAGIC, _boot(), time.time(), is_doubtful=False)
        self._locked(lambda file: _write(file, _HEADER.pack(*header), 0))

    def _locked(self, function: Callable[[int], T]) -> T | None:
        """What the function gives, while this thread of this process has the file alone; None where that fails."""
        with self._thread:
            try:
                file = self._opened()
                with locked(file, time.monotonic() + _WAIT_SECONDS):
                    found = function(file)
            except (OSError, Busy) as error:
                self.close()
                if not self._is_told:
                    _log.warning("%s cannot be used: what is stored is not counted (%s)", self._path, error)
                self._is_told = True
                return None
            self._is_told = False
            return found

    def _opened(self) -> int:
        if self._descriptor is not None and os.fstat(self._descriptor).st_nlink == 0:
            self.close()
        if self._descriptor is None:
            os.makedirs(os.path.dirname(self._path), exist_ok=True)
            # For its user alone: whoever may open it may hold its lock.
            self._descriptor = os.open(self._path, _OPEN, 0o600)
            with locked(self._descriptor, time.monotonic() + _WAIT_SECONDS):
                _prepare(self._descriptor)
        return self._descriptor


def _prepare(file: int) -> None:
    boot = _boot()
    header = _read_header(file) if os.fstat(file).st_size == _SIZE else None
    if header is None or header.magic != _MAGIC:
        os.ftruncate(file, 0)
        _write(file, bytes(_SIZE), 0)
        header = _Header(_MAGIC, boot, 0.0, is_doubtful=False)
    elif header.boot == boot:
        return
    else:
        header = header._replace(boot=boot, is_doubtful=True)
    _write(file, _HEADER.pack(*header), 0)


def _read_header(file: int) -> _Header:
    return _Header(*_HEADER.unpack(os.pread(file, _HEADER.size, 0)))


def _read_shard(file: int, shard: int) -> tuple[Sums, int]:
    cells = _SHARD.unpack(os.pread(file, _SHARD.size, _HEADER_BYTES + shard * _SHARD.size))
    return Sums(*cells[:3]), cells[3]


def _write_shard(file: int, shard: int, sums: Sums, changes: int) -> None:
    _write(file, _SHARD.pack(*sums, changes), _HEADER_BYTES + shard * _SHARD.size)


def _write(file: int, content: bytes, offset: int) -> None:
    os.lseek(file, offset, os.SEEK_SET)
    write_all(file, content)


def _boot() -> bytes:
    try:
        with open(_BOOT, "rb", buffering=0) as file:
            return file.read().strip()
    except OSError:
        return b""
