"""Upload sessions: a file that grows at its end under its own lock, until it is renamed into the blobs."""

from __future__ import annotations

import os
import time
from contextlib import asynccontextmanager, contextmanager, suppress
from datetime import UTC, datetime
from typing import TYPE_CHECKING

from cargohold.storage.durable import Change, remove, remove_folder
from cargohold.storage.filesystem.blobs import FileBlobs
from cargohold.storage.filesystem.hashing import hash_from, load_hasher, save_hasher
from cargohold.storage.filesystem.tree import exists, folder_names
from cargohold.storage.filesystem.walk import repositories
from cargohold.storage.filesystem.writer import FileUploadWriter, check_end
from cargohold.storage.locks import PATIENCE, locked, open_lock, try_lock
from cargohold.storage.protocols import Conflict, DigestMismatch, NotFound, Unavailable
from cargohold.types.digest import Algorithm, Hasher
from cargohold.types.errors import BlobUploadUnknown
from cargohold.types.names import UploadId

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Iterator

    from cargohold.types.digest import Digest
    from cargohold.types.names import RepositoryName

_RETRIES = 8
_FORGOTTEN = 3_600.0
"""Seconds after which something half made, left by a process that died, is removed."""


class FileUploads(FileBlobs):
    """The part of the store that is an `UploadStore`."""

    async def create_upload(self, repository: RepositoryName, algorithm: Algorithm) -> UploadId:
        return await self.in_metadata(self._create_upload, repository, algorithm)

    def _create_upload(self, repository: RepositoryName, algorithm: Algorithm) -> UploadId:
        """Built aside and renamed in, so that no one sees half a session. It need not survive a power cut."""
        upload = UploadId.new()
        made, folder = f"{self.layout.new}/{upload}", self.layout.upload(repository, upload)
        os.mkdir(made)
        started = datetime.now(UTC).strftime("%Y-%m-%dT%H:%M:%SZ")
        for name, content in (("startedat", started.encode()), ("data", b"")):
            with open(f"{made}/{name}", "xb") as file:
                file.write(content)
        if algorithm is not Algorithm.SHA256:
            save_hasher(self.layout.hashing(repository, upload), Hasher(algorithm))
        self.disk.make_folders(os.path.dirname(folder))
        os.rename(made, folder)
        return upload

    async def upload_size(self, repository: RepositoryName, upload: UploadId) -> int:
        return await self.in_metadata(self._upload_size, repository, upload)

    def _upload_size(self, repository: RepositoryName, upload: UploadId) -> int:
        folder = self.layout.upload(repository, upload)
        try:
            return os.stat(f"{folder}/data").st_size
        except FileNotFoundError:
            if "startedat" in folder_names(folder):
                # Distribution makes the data file with the first bytes that come.
                return 0
            raise NotFound(upload) from None

    @asynccontextmanager
    async def append_upload(
        self, repository: RepositoryName, upload: UploadId, offset: int | None
    ) -> AsyncIterator[FileUploadWriter]:
        path, hashing = self._data(repository, upload), self.layout.hashing(repository, upload)
        writer = FileUploadWriter(self, path, hashing)
        try:
            await self.in_bulk(self._open_writer, writer, repository, upload, offset)
            yield writer
        finally:
            await writer.finish()

    def _data(self, repository: RepositoryName, upload: UploadId) -> str:
        return f"{self.layout.upload(repository, upload)}/data"

    def _open_writer(
        self, writer: FileUploadWriter, repository: RepositoryName, upload: UploadId, offset: int | None
    ) -> None:
        size = self._upload_size(repository, upload)
        if offset is not None and offset != size:
            raise Conflict(f"the session holds {size} bytes")
        try:
            writer.open(size)
        except FileNotFoundError:
            raise NotFound(upload) from None

    async def commit_upload(
        self, repository: RepositoryName, upload: UploadId, digest: Digest, size: int
    ) -> None:
        await self.in_bulk(self._commit_upload, repository, upload, digest, size)

    def _commit_upload(self, repository: RepositoryName, upload: UploadId, digest: Digest, size: int) -> None:
        """Hash and sync without the lock: the bytes below the end never change, and the end is checked under it."""
        if self._upload_size(repository, upload) != size:
            raise Conflict(f"the session does not hold {size} bytes")
        with self._opened(repository, upload) as descriptor:
            kept = load_hasher(self.layout.hashing(repository, upload))
            found = hash_from(descriptor, size, digest.algorithm, kept)
            if not found.equals(digest):
                with self._ending(repository, upload, descriptor, size):
                    pass
                raise DigestMismatch(f"the session's bytes are {found}")
            self._place(repository, upload, digest, descriptor, size)

    def _place(
        self, repository: RepositoryName, upload: UploadId, digest: Digest, descriptor: int, size: int
    ) -> None:
        target = self.layout.data(digest)
        with Change(self.disk, self.layout.new) as change:
            if _is_stored(target, size):
                change.rely_on(target)
            elif size == 0:
                # The empty file stays with the session, where a writer may have opened it at this very end.
                change.file(target, b"")
            else:
                self.disk.sync_file(descriptor)
                change.move(self._data(repository, upload), target)
            self.link_blob(change, repository, digest)
            change.stage()
            with self._ending(repository, upload, descriptor, size):
                change.place()
            change.settle()

    @contextmanager
    def _opened(self, repository: RepositoryName, upload: UploadId) -> Iterator[int]:
        try:
            descriptor = os.open(self._data(repository, upload), os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o666)
        except FileNotFoundError:
            raise NotFound(upload) from None
        try:
            yield descriptor
        finally:
            os.close(descriptor)

    @contextmanager
    def _ending(
        self, repository: RepositoryName, upload: UploadId, descriptor: int, size: int
    ) -> Iterator[None]:
        """End a session while its end is locked: whoever comes finds it whole or gone, and writes to it or not at all.

        Raises NotFound, or Conflict where it does not end at `size`; then it stays.
        """
        folder, away = self.layout.upload(repository, upload), f"{self.layout.new}/{upload}"
        with locked(descriptor, time.monotonic() + PATIENCE):
            check_end(f"{folder}/data", descriptor, size)
            with suppress(FileNotFoundError):
                # Without it, a session that has no data any more is not taken for one that has none yet.
                os.unlink(f"{folder}/startedat")
            is_over = False
            try:
                yield
                is_over = True
            finally:
                if is_over or not exists(f"{folder}/data"):
                    os.rename(folder, away)
        remove(self.layout.hashing(repository, upload))
        remove_folder(away)

    async def cancel_upload(self, repository: RepositoryName, upload: UploadId) -> None:
        await self.in_metadata(self._cancel_upload, repository, upload)

    def _cancel_upload(self, repository: RepositoryName, upload: UploadId) -> None:
        """However much the session holds; a writer that is just adding to it is waited for."""
        for _ in range(_RETRIES):
            size = self._upload_size(repository, upload)
            with (
                suppress(Conflict),
                self._opened(repository, upload) as descriptor,
                self._ending(repository, upload, descriptor, size),
            ):
                return
        raise Unavailable("the upload session is growing too fast to be ended")

    async def expire_uploads(self, idle: float) -> int:
        return await self.in_metadata(self._expire_uploads, idle)

    def _expire_uploads(self, idle: float) -> int:
        descriptor = open_lock(f"{self.layout.locks}/expiry")
        try:
            if not try_lock(descriptor):
                return 0
            for name in folder_names(self.layout.new):
                self._remove_forgotten(f"{self.layout.new}/{name}")
            return sum(
                self._expire_in(name, time.time() - idle) for name in repositories(self.layout.repositories)
            )
        finally:
            os.close(descriptor)

    def _expire_in(self, repository: RepositoryName, before: float) -> int:
        expired = 0
        for name in folder_names(self.layout.uploads(repository)):
            try:
                upload = UploadId(name)
            except BlobUploadUnknown:
                continue
            if _last_change(self.layout.upload(repository, upload)) < before:
                try:
                    self._expire(repository, upload, before)
                except Conflict:
                    continue
                except NotFound:
                    # Left by a process that died while it ended the session, or just ended by another.
                    with suppress(OSError):
                        os.rmdir(self.layout.upload(repository, upload))
                expired += 1
        self._forget_hashes(repository)
        return expired

    def _forget_hashes(self, repository: RepositoryName) -> None:
        """Another server may have ended a session that we had hashed a part of."""
        folder = os.path.dirname(self.layout.hashing(repository, UploadId.new()))
        for name in folder_names(folder):
            if not exists(f"{self.layout.uploads(repository)}/{name}"):
                self._remove_forgotten(f"{folder}/{name}")

    def _expire(self, repository: RepositoryName, upload: UploadId, before: float) -> None:
        size = self._upload_size(repository, upload)
        if _last_change(self.layout.upload(repository, upload)) >= before:
            raise Conflict("the session has just grown")
        with (
            self._opened(repository, upload) as descriptor,
            self._ending(repository, upload, descriptor, size),
        ):
            pass

    def _remove_forgotten(self, path: str) -> None:
        """Remove what a process that died has left half made."""
        with suppress(FileNotFoundError):
            if os.lstat(path).st_ctime < time.time() - _FORGOTTEN:
                remove(path)


def _is_stored(target: str, size: int) -> bool:
    try:
        return os.stat(target).st_size == size
    except FileNotFoundError:
        return False


def _last_change(folder: str) -> float:
    """When a session last grew, by the clock of the file system; now, where it is just ending."""
    times = []
    for path in (f"{folder}/data", f"{folder}/startedat", folder):
        try:
            times.append(os.stat(path).st_mtime)
        except FileNotFoundError:
            continue
    return max(times, default=time.time())
