"""An upload session's file while a request holds it open: its end, and the session's own."""

from __future__ import annotations

import os
import time
from contextlib import contextmanager, suppress
from typing import TYPE_CHECKING, Final

from cargohold.storage import disk
from cargohold.storage.durable import remove
from cargohold.storage.filesystem.tree import exists, size_of
from cargohold.storage.locks import MOMENT, locked
from cargohold.storage.protocols import Conflict, NotFound, StoreError
from cargohold.storage.totals import Sums, repository_shard

if TYPE_CHECKING:
    from collections.abc import Iterator

    from cargohold.storage.layout import Layout
    from cargohold.storage.totals import TotalsFile
    from cargohold.types.names import RepositoryName, UploadId

SMALL: Final = 64 << 10
"""Bytes that are written and hashed sooner than they are handed to another thread, and synced as soon as any."""


class FileSession:
    """One session; to be opened (in a thread) before anything else, and closed whatever becomes of it.

    The lock is that of the file itself: it is held for one write or one end at a time, never for a whole request.
    """

    def __init__(
        self, layout: Layout, noted: TotalsFile, repository: RepositoryName, upload: UploadId
    ) -> None:
        self.folder = layout.upload(repository, upload)
        self.data = f"{self.folder}/data"
        self.hashing = layout.hashing(repository, upload)
        self.away = f"{layout.new}/{upload}"
        self._started = f"{self.away}.startedat"
        self._noted = noted
        self._shard = repository_shard(repository)
        self._descriptor: int | None = None
        self.is_spoiled = False

    def size(self) -> int:
        """How many bytes it holds. Raises NotFound."""
        try:
            return os.stat(self.data).st_size
        except (FileNotFoundError, NotADirectoryError):
            # Distribution makes the data file with the first bytes that come.
            if exists(f"{self.folder}/startedat"):
                return 0
            raise NotFound(self.folder) from None

    def open(self) -> None:
        """Take hold of the file, which is made where Distribution has not made it yet. Raises NotFound.

        Nothing is done where it is held already.
        """
        if self._descriptor is not None:
            return
        try:
            self._descriptor = disk.open_file(self.data, is_new=False)
        except (FileNotFoundError, NotADirectoryError):
            raise NotFound(self.folder) from None

    def close(self) -> None:
        """Let go of the file, if it is held."""
        if self._descriptor is not None:
            os.close(self._descriptor)
            self._descriptor = None

    def sync(self) -> None:
        """Make its bytes durable."""
        with self.syncing():
            disk.sync_file(self.descriptor)

    @contextmanager
    def syncing(self) -> Iterator[None]:
        """While its bytes are made durable. Where that fails, it is spoiled, and ended unless its end is locked.

        The system may then have forgotten some of them, though it still shows them, and would not say so again to who
        opens the file later: the session must be ended, before anybody is told, so that no other request takes a sync
        that succeeds for a proof.
        """
        self.is_spoiled = True
        try:
            yield
        except OSError:
            with suppress(OSError, StoreError), self.ending(os.fstat(self.descriptor).st_size):
                pass
            raise
        self.is_spoiled = False

    @property
    def descriptor(self) -> int:
        """The open file."""
        assert self._descriptor is not None
        return self._descriptor

    @property
    def is_small(self) -> bool:
        """Whether it holds at most SMALL bytes."""
        return os.fstat(self.descriptor).st_size <= SMALL

    @contextmanager
    def at_end(self, size: int) -> Iterator[None]:
        """Hold the lock while the file that is held is the session's, and ends at `size`.

        Raises Busy; NotFound where the session is gone; Conflict where it has grown.
        """
        with locked(self.descriptor, time.monotonic() + MOMENT):
            status = os.fstat(self.descriptor)
            try:
                is_same = os.path.samestat(os.stat(self.data), status)
            except FileNotFoundError:
                is_same = False
            if not is_same:
                raise NotFound("another request has ended the session")
            if status.st_size != size:
                raise Conflict(f"another request has written to the session: it holds {status.st_size} bytes")
            yield

    @contextmanager
    def leaving(self, size: int) -> Iterator[None]:
        """End the session while its end is locked: whoever comes finds it whole or gone, and writes to it or does not.

        Raises what `at_end` raises; then it stays. It also stays where the body fails before it has moved the data.
        When it has ended, what `left` says is to be removed. That is not done here: file systems without a journal go
        through all that was removed of late to make the next file.
        """
        with self.at_end(size):
            is_done = is_dateless = False
            with suppress(FileNotFoundError):
                # Without it, a session that has no data any more is not taken for one that has none yet.
                disk.rename(f"{self.folder}/startedat", self._started)
                is_dateless = True
            try:
                yield
                is_done = True
            finally:
                if is_done or not exists(self.data):
                    self._end()
                elif is_dateless:
                    # We could go on without it; Distribution could not.
                    with suppress(OSError):
                        disk.rename(self._started, f"{self.folder}/startedat")

    def _end(self) -> None:
        is_away = False
        try:
            disk.rename(self.folder, self.away)
            is_away = True
        finally:
            # What has no data any more is no session, even where its folder cannot be renamed.
            if is_away or not exists(self.data):
                self._noted.add(self._shard, Sums(uploads=-1))

    @contextmanager
    def ending(self, size: int) -> Iterator[None]:
        """As `leaving`; and then nothing is left of it."""
        with self.leaving(size):
            yield
        for path in self.left():
            remove(path)

    def left(self) -> list[str]:
        """What there is still of a session that has ended: the folder that was its own among it."""
        left = [self._started, self.away]
        return left if size_of(self.hashing) is None else [*left, self.hashing]

    def last_change(self) -> float:
        """When it last grew, by the clock of the file system; now, where it is just ending."""
        times = []
        for path in (self.data, f"{self.folder}/startedat", self.folder):
            with suppress(FileNotFoundError, NotADirectoryError):
                times.append(os.stat(path).st_mtime)
        return max(times, default=time.time())
