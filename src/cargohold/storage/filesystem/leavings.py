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
from cargohold.storage.durable import remove, remove_folder
from cargohold.storage.filesystem.tree import folder_names

if TYPE_CHECKING:
    from concurrent.futures import Executor

_MOST_FOLDERS: Final = 64
_MOST_WAITING: Final = 256
LARGE: Final = 8 << 20
"""Bytes of a session from which on the disk has been told to take some of them before they are synced."""

_log = logging.getLogger(__name__)


class Leavings:
    """Of the sessions that a process has ended. What it leaves when it is killed goes as all that is half made.

    Safe for threads.
    """

    def __init__(self) -> None:
        self._folders: list[str] = []
        self._waiting: set[str] = set()

    def take(self, path: str) -> bool:
        """Whether a folder, which is empty, is at this path now."""
        while self._folders:
            # Another thread may have the last one, or somebody have cleared up.
            with suppress(IndexError, FileNotFoundError):
                disk.rename(self._folders.pop(), path)
                return True
        return False

    def put(self, folder: str, size: int, background: Executor) -> None:
        """Take over the folder of a session that has ended, which nobody else knows; it held so many bytes."""
        if size >= LARGE and os.path.lexists(f"{folder}/data"):
            self._remove_later(folder, background)
            return
        with suppress(FileNotFoundError):
            disk.remove_file(f"{folder}/data")
        if len(self._folders) < _MOST_FOLDERS and not folder_names(folder):
            self._folders.append(folder)
        else:
            remove(folder)

    def _remove_later(self, folder: str, background: Executor) -> None:
        if len(self._waiting) >= _MOST_WAITING:
            remove(folder)
            return
        self._waiting.add(folder)
        background.submit(self._remove, folder)

    def _remove(self, folder: str) -> None:
        try:
            remove_folder(folder)
        except OSError as error:
            _log.warning("%s cannot be removed: %s", folder, error)
        finally:
            self._waiting.discard(folder)

    def clear(self) -> None:
        """Remove the folders that nobody has taken, and what was not come to."""
        for folder in (*self._folders, *self._waiting):
            self._remove(folder)
        self._folders.clear()
