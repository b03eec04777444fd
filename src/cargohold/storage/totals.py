"""How much is stored, known without looking: sums in a small file that all processes of a machine add to.

What is stored is spread over shards by digest and by repository. Each has its own sums, and counts their changes: so a
walk that counts one shard anew knows whether what it found is still the truth, and the rest goes on meanwhile.

The file lies where others can do with it what they like. So each part of it has a checksum, and where anything is not
as it was written the file is made anew, with nothing in it.
"""

from __future__ import annotations

import logging
import os
import secrets
import stat
import struct
import threading
import time
import zlib
from contextlib import contextmanager, suppress
from typing import TYPE_CHECKING, Any, Final, NamedTuple, TypeVar

from cargohold.storage.durable import write_all
from cargohold.storage.locks import STRIPES, Busy, OpenFile, locked, stripe_of
from cargohold.storage.protocols import Totals

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Iterator

    from cargohold.types.digest import Digest
    from cargohold.types.names import RepositoryName

T = TypeVar("T")

CONTENT_SHARDS: Final = 256
SHARDS: Final = CONTENT_SHARDS + STRIPES

_WAIT_SECONDS: Final = 0.05
_OPEN: Final = os.O_RDWR | os.O_CREAT | os.O_CLOEXEC | os.O_NOFOLLOW
_MAGIC: Final = b"totals\x00\x02"
_CHECKSUM_BYTES: Final = 4
_HEADER: Final = struct.Struct("=8s36sd?I")
_HEADER_BYTES: Final = 64
_SHARD: Final = struct.Struct("=qqqI")
# No part lies on two pages of memory: who is killed while it writes could leave half of such a one.
_SHARD_BYTES: Final = _SHARD.size + _CHECKSUM_BYTES
_SIZE: Final = _HEADER_BYTES + SHARDS * _SHARD_BYTES
_BITS: Final = 32
_BOOT: Final = "/proc/sys/kernel/random/boot_id"
_BOOT_BYTES: Final = 36

_log = logging.getLogger(__name__)


class Sums(NamedTuple):
    """Of a shard, or what is to be added to it: bytes of content, upload sessions, repositories with a manifest."""

    content: int = 0
    uploads: int = 0
    repositories: int = 0


class _Header(NamedTuple):
    """`boot` tells one run of the machine from another; what was noted in an earlier one `is_doubtful`.

    `number` is that of the count which began last; 0 where none has, since the file was made.
    """

    magic: bytes
    boot: bytes
    counted: float
    is_doubtful: bool
    number: int


class _DamagedError(Exception):
    """What is there is not what was written."""


def content_shard(digest: Digest) -> int:
    """Where a blob or manifest is counted: by the folder that it lies in."""
    return int(digest.hex[:2], 16)


def repository_shard(name: RepositoryName) -> int:
    """Where a repository and its upload sessions are counted."""
    return CONTENT_SHARDS + stripe_of(name)


class TotalsFile:
    """The file at `path`, which is made where it is missing.

    It may be removed, overwritten or shortened at any time, and something else be put in its place: then it is made
    anew, nothing is known, and it is due to be counted. A folder makes way only if it is empty, a file that may not be
    read only if it is our user's or root's. To be used after the fork, and then by any thread. Nothing here raises or
    waits for long; what cannot be noted is told in the log, and put right by the next count. Not durable: after the
    machine has started anew it is to be counted again.
    """

    def __init__(self, path: str) -> None:
        self._path = path
        self._thread = threading.Lock()
        self._own = threading.local()
        self._file: OpenFile | None = None
        self._is_told = False

    def close(self) -> None:
        """Let go of the file; the next use opens it again."""
        if self._file is not None:
            os.close(self._file.descriptor)
            self._file = None

    def add(self, shard: int, sums: Sums) -> None:
        """Note what has just been stored, ended or removed; some microseconds."""
        self.add_all([(shard, sums)])

    def add_all(self, noted: Iterable[tuple[int, Sums]]) -> None:
        """As `add` of each shard, at once."""
        waiting: list[tuple[int, Sums]] | None = getattr(self._own, "waiting", None)
        if waiting is not None:
            waiting += noted
        elif todo := list(noted):
            self._locked(lambda file: _add_all(file, todo))

    @contextmanager
    def together(self) -> Iterator[None]:
        """What this thread adds until the end of the block is noted there, at once; not within another such block."""
        waiting: list[tuple[int, Sums]] = []
        self._own.waiting = waiting
        try:
            yield
        finally:
            self._own.waiting = None
            self.add_all(waiting)

    def read(self) -> Totals | None:
        """The sums of all shards; None where they were never counted."""
        found = self._locked(_read_all)
        if found is None or not found[0].counted:
            return None
        header, shards = found
        bytes_, uploads, repositories = map(sum, zip(*shards, strict=True))
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

    def begin(self) -> int | None:
        """All shards are going to be counted, in the count whose number this is; None where that cannot be done."""

        def begin(file: int) -> int:
            number = secrets.randbelow((1 << _BITS) - 1) + 1
            _write_header(file, _read_header(file)._replace(number=number))
            return number

        return self._locked(begin)

    def finish(self, number: int) -> bool:
        """All shards have been counted since `begin`; False where the file has been made anew meanwhile."""

        def finish(file: int) -> bool:
            if _read_header(file).number != number:
                return False
            _write_header(file, _Header(_MAGIC, _boot(), time.time(), is_doubtful=False, number=number))
            return True

        return self._locked(finish) or False

    def _locked(self, function: Callable[[int], T]) -> T | None:
        """What the function gives, while this thread of this process has the file alone; None where that fails."""
        with self._thread:
            try:
                file = self._opened()
                with locked(file, time.monotonic() + _WAIT_SECONDS):
                    found = self._on_whole(file, function)
            except (OSError, Busy, _DamagedError) as error:
                self.close()
                if not self._is_told:
                    _log.warning("%s cannot be used: what is stored is not counted (%s)", self._path, error)
                self._is_told = True
                return None
            self._is_told = False
            return found

    def _opened(self) -> int:
        if self._file is not None and not self._file.is_at(self._path):
            self.close()
        if self._file is None:
            os.makedirs(os.path.dirname(self._path), exist_ok=True)
            _make_way(self._path)
            # For its user alone: whoever may open it may hold its lock.
            self._file = OpenFile.of(os.open(self._path, _OPEN, 0o600))
            with locked(self._file.descriptor, time.monotonic() + _WAIT_SECONDS):
                self._on_whole(self._file.descriptor, _doubt)
        return self._file.descriptor

    def _on_whole(self, file: int, function: Callable[[int], T]) -> T:
        """What the function gives of the file, which is made anew where it is damaged."""
        size = os.fstat(file).st_size
        if size == _SIZE:
            with suppress(_DamagedError):
                return function(file)
        if size:
            _log.warning("%s was damaged: what is stored is counted anew", self._path)
        _make_anew(file)
        return function(file)


def _make_way(path: str) -> None:
    """Remove what cannot be opened as our file. Raises OSError."""
    with suppress(FileNotFoundError):
        found = os.lstat(path)
        if stat.S_ISDIR(found.st_mode):
            os.rmdir(path)
        elif not stat.S_ISREG(found.st_mode) or _is_locked_up(path, found.st_uid):
            os.unlink(path)


def _is_locked_up(path: str, owner: int) -> bool:
    """Whether it may not be opened, and nobody else needs it.

    Root can use what another user makes in its place; two others would go on removing each other's.
    """
    return owner in {0, os.geteuid()} and not os.access(path, os.R_OK | os.W_OK, effective_ids=True)


def _make_anew(file: int) -> None:
    os.ftruncate(file, 0)
    header = _packed(_HEADER, *_Header(_MAGIC, _boot(), 0.0, is_doubtful=False, number=0))
    _write(file, header.ljust(_HEADER_BYTES, b"\0") + SHARDS * _packed(_SHARD, *Sums(), 0), 0)


def _doubt(file: int) -> None:
    """Doubt what was noted in another run of the machine."""
    header, boot = _read_header(file), _boot()
    if header.boot != boot:
        _write_header(file, header._replace(boot=boot, is_doubtful=True))


def _read_all(file: int) -> tuple[_Header, list[Sums]]:
    content = os.pread(file, _SIZE, 0)
    shards = [_shard(content[_place(shard) :][:_SHARD_BYTES])[0] for shard in range(SHARDS)]
    return _header(content[:_HEADER_BYTES]), shards


def _read_header(file: int) -> _Header:
    return _header(os.pread(file, _HEADER_BYTES, 0))


def _header(content: bytes) -> _Header:
    header = _Header(*_unpacked(_HEADER, content))
    if header.magic != _MAGIC:
        raise _DamagedError("it is of another version")
    return header


def _write_header(file: int, header: _Header) -> None:
    _write(file, _packed(_HEADER, *header), 0)


def _read_shard(file: int, shard: int) -> tuple[Sums, int]:
    return _shard(os.pread(file, _SHARD_BYTES, _place(shard)))


def _shard(content: bytes) -> tuple[Sums, int]:
    *sums, changes = _unpacked(_SHARD, content)
    return Sums(*sums), changes


def _add_all(file: int, noted: Iterable[tuple[int, Sums]]) -> None:
    for shard, sums in noted:
        found, changes = _read_shard(file, shard)
        added = Sums(*(was + more for was, more in zip(found, sums, strict=True)))
        _write_shard(file, shard, added, (changes + 1) % (1 << _BITS))


def _write_shard(file: int, shard: int, sums: Sums, changes: int) -> None:
    _write(file, _packed(_SHARD, *sums, changes), _place(shard))


def _place(shard: int) -> int:
    return _HEADER_BYTES + shard * _SHARD_BYTES


def _packed(form: struct.Struct, *values: object) -> bytes:
    """With its checksum. Raises _DamagedError where there is no room for numbers so large: nobody stores so much."""
    try:
        content = form.pack(*values)
    except struct.error as error:
        raise _DamagedError(str(error)) from None
    return content + zlib.crc32(content).to_bytes(_CHECKSUM_BYTES)


def _unpacked(form: struct.Struct, content: bytes) -> tuple[Any, ...]:
    """Raises _DamagedError where the checksum is another one, or there is too little."""
    end = form.size + _CHECKSUM_BYTES
    if zlib.crc32(content[: form.size]).to_bytes(_CHECKSUM_BYTES) != content[form.size : end]:
        raise _DamagedError("a checksum does not hold")
    return form.unpack_from(content)


def _write(file: int, content: bytes, offset: int) -> None:
    os.lseek(file, offset, os.SEEK_SET)
    write_all(file, content)


def _boot() -> bytes:
    try:
        with open(_BOOT, "rb", buffering=0) as file:
            return file.read().strip().ljust(_BOOT_BYTES, b"\0")
    except OSError:
        return bytes(_BOOT_BYTES)
