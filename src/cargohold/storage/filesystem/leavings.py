"""What ended upload sessions leave: empty folders, which the next ones take, and bytes that nobody wants any more.

To give back a folder, or bytes that the disk has, takes milliseconds where the file system tells the disk at once
(`discard`), and longer the more do so. So a folder is kept for another session, and what is large is removed behind
the answer.
"""

from __future__ import annotations

import logging
import os
from contextlib import suppress
from typing import TYPE_CHECKING, Final

from cargohold.storage import disk
from cargohold.storage.durable import remove
from cargohold.storage.filesystem.tree import folder_names

if TYPE_CHECKING:
    from cargohold.storage.removals import Removals

_MOST_FOLDERS: Final = 64
_LARGE: Final = 8 << 20
"""Bytes of a session from which on some are on the disk before they are synced; fewer are not, if it was quick."""

_log = logging.getLogger(__name__)


class Leavings:
    """Of the sessions that a process has ended. What it leaves when it is killed goes as all that is half made.

    Safe for threads.
    """

    def __init__(self, removals: Removals) -> None:
        self._removals = removals
        self._folders: list[str] = []

    def take(self, path: str) -> bool:
        """Whether a folder, which is empty, is at this path now."""
        while self._folders:
            # Another thread may have the last one, or somebody have cleared up.
            with suppress(IndexError, FileNotFoundError):
                disk.rename(self._folders.pop(), path)
                return True
        return False

    def put(self, folder: str, size: int) -> None:
        """Take over the folder of a session that has ended, which nobody else knows; it held so many bytes.

        Raises OSError; then the folder stays for whoever removes what is forgotten.
        """
        if size >= _LARGE and os.path.lexists(f"{folder}/data"):
            self._removals.later(folder)
            return
        with suppress(FileNotFoundError):
            disk.remove_file(f"{folder}/data")
        if len(self._folders) < _MOST_FOLDERS and not folder_names(folder):
            self._folders.append(folder)
        else:
            self._removals.later(folder)

    def clear(self) -> None:
        """Remove the folders that nobody has taken."""
        while self._folders:
            try:
                remove(self._folders.pop())
            except OSError as error:
                _log.warning("the folder of an upload session that has ended cannot be removed: %s", error)
