"""What ended upload sessions leave: empty folders, which the next ones take, and bytes that nobody wants any more.

To give back a folder, or bytes that the disk has, takes milliseconds where the file system tells the disk at once
(`discard`), and longer the more do so. So it is done behind the answer, and a folder is kept for another session.
"""

from __future__ import annotations

import logging
from contextlib import suppress
from typing import TYPE_CHECKING, Final

from cargohold.storage import disk
from cargohold.storage.durable import remove
from cargohold.storage.filesystem.tree import folder_names

if TYPE_CHECKING:
    from cargohold.storage.removals import Removals

_MOST: Final = 64

_log = logging.getLogger(__name__)


class Leavings:
    """Of the sessions that a process has ended. What it leaves when it is killed goes as all that is half made.

    Safe for threads.
    """

    def __init__(self, removals: Removals) -> None:
        self._removals = removals
        self._folders: list[str] = []

    def take(self, path: str) -> bool:
        """Whether a folder, which is empty and stays so after a power cut, is at this path now."""
        while self._folders:
            # Another thread may have the last one, or somebody have cleared up.
            with suppress(IndexError, FileNotFoundError):
                disk.rename(self._folders.pop(), path)
                return True
        return False

    def put(self, folder: str) -> None:
        """Take over the folder of a session that has ended, which nobody else knows."""
        self._removals.later(folder, self._empty)

    def _empty(self, folder: str) -> None:
        with suppress(FileNotFoundError):
            disk.remove_file(f"{folder}/data")
        if len(self._folders) >= _MOST or folder_names(folder):
            remove(folder)
            return
        # Or a power cut might bring back these bytes as those of the session that has the folder then.
        disk.sync_folder(folder)
        self._folders.append(folder)

    def clear(self) -> None:
        """Remove the folders that nobody has taken."""
        while self._folders:
            try:
                remove(self._folders.pop())
            except OSError as error:
                _log.warning("the folder of an upload session that has ended cannot be removed: %s", error)
