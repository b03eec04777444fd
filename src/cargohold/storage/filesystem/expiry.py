"""What nobody goes on with: idle upload sessions, and what processes that died have left half made."""

from __future__ import annotations

import logging
import os
import time
from contextlib import suppress
from typing import TYPE_CHECKING

from cargohold.storage import disk
from cargohold.storage.durable import UNPLACED, remove
from cargohold.storage.filesystem.session import FileSession
from cargohold.storage.filesystem.tree import Tree, exists, folder_names
from cargohold.storage.filesystem.walk import repositories
from cargohold.storage.locks import Busy, open_lock, try_lock
from cargohold.storage.protocols import Conflict, NotFound
from cargohold.types.errors import BlobUploadUnknown
from cargohold.types.names import UploadId

if TYPE_CHECKING:
    from cargohold.types.names import RepositoryName

_FORGOTTEN = 3_600.0
"""Seconds after which something half made, left by a process that died, is removed."""

_log = logging.getLogger(__name__)


class FileExpiry(Tree):
    """The part of the store that ends idle sessions."""

    async def expire_uploads(self, idle: float) -> int:
        return await self.in_background(self._expire_uploads, idle)

    def _expire_uploads(self, idle: float) -> int:
        descriptor = open_lock(f"{self.layout.locks}/expiry")
        try:
            if not try_lock(descriptor):
                return 0
            for name in folder_names(self.layout.new):
                _remove_forgotten(f"{self.layout.new}/{name}")
            _remove_unplaced(self.layout.own)
            before = time.time() - idle
            return sum(self._expire_in(name, before) for name in repositories(self.layout.repositories))
        finally:
            os.close(descriptor)

    def _expire_in(self, repository: RepositoryName, before: float) -> int:
        """One that cannot be ended must not keep the others: it is told of in the log and passed over."""
        expired = 0
        if self.closing:
            return expired
        try:
            for name in folder_names(self.layout.uploads(repository)):
                with suppress(BlobUploadUnknown):
                    session = FileSession(self.layout, self.noted, repository, UploadId(name))
                    expired += self._expire(session, before)
            self._forget_hashes(repository)
        except OSError as error:
            _log.warning("%s: idle upload sessions cannot be ended: %s", repository, error)
        return expired

    def _expire(self, session: FileSession, before: float) -> bool:
        """End a session that has not grown since; whether that was done."""
        if session.last_change() >= before:
            return False
        try:
            size, lacks_data = session.size(), not exists(session.data)
            session.open()
            with session.at_end(size):
                # Who died while he made it may have left no file, and the one that is made now is not older than now.
                is_idle = lacks_data or session.last_change() < before
            if is_idle:
                with session.ending(size):
                    pass
        except (Busy, Conflict):
            return False
        except NotFound:
            return _remove_empty(session.folder)
        except OSError as error:
            _log.warning("%s cannot be ended: %s", session.folder, error)
            return False
        else:
            return is_idle
        finally:
            session.close()

    def _forget_hashes(self, repository: RepositoryName) -> None:
        """Another server may have ended a session that we had hashed a part of."""
        folder = os.path.dirname(self.layout.hashing(repository, UploadId.new()))
        for name in folder_names(folder):
            if not exists(f"{self.layout.uploads(repository)}/{name}"):
                _remove_forgotten(f"{folder}/{name}")
        _remove_unplaced(os.path.dirname(folder))


def _remove_empty(folder: str) -> bool:
    """Left by a process that died while it ended a session; a folder that holds anything is not ours to judge."""
    try:
        disk.remove_folder(folder)
    except OSError:
        return False
    return True


def _remove_unplaced(folder: str) -> None:
    for name in folder_names(folder):
        if name.endswith(UNPLACED):
            _remove_forgotten(f"{folder}/{name}")


def _remove_forgotten(path: str) -> None:
    try:
        if os.lstat(path).st_ctime < time.time() - _FORGOTTEN:
            remove(path)
    except FileNotFoundError:
        return
    except OSError as error:
        _log.warning("%s cannot be removed: %s", path, error)
