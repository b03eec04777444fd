"""Changes that a power cut does not undo: write, sync, rename, sync the folder.

Whatever of a change can be synced at the same time is: a file system puts the syncs that wait together into one
commit of its journal, so ten in parallel take little longer than one.
"""

from __future__ import annotations

import os
import time
import uuid
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from typing import TYPE_CHECKING, Self

from cargohold.storage import disk

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable

_PARALLEL_SYNCS = 8
_REMEMBERED = 65_536
_TRIES = 5
_TICKS, _TICK_SECONDS = 50, 0.001

UNPLACED = ".new"
"""How the names end of files that were written beside their place."""


class Disk:
    """The calls that change a disk, and the memory of which folders are known to be durable.

    `top` is the folder above which nothing is ours to sync; `lasts` says of a folder below it whether it is never
    removed once it is there. Safe for threads; to be used after the fork alone.
    """

    def __init__(self, top: str, lasts: Callable[[str], bool]) -> None:
        self._top = top
        self._lasts = lasts
        self._pool = ThreadPoolExecutor(_PARALLEL_SYNCS, "sync")
        self._durable: dict[str, int] = {}

    def write_file(self, path: str, content: bytes) -> None:
        """Make a new file, and the folders above it that are missing, and sync it."""
        try:
            descriptor = disk.open_file(path)
        except FileNotFoundError:
            self.make_folders(os.path.dirname(path))
            descriptor = disk.open_file(path)
        try:
            write_all(descriptor, content)
            disk.sync_file(descriptor)
        finally:
            os.close(descriptor)

    def sync_folder(self, path: str) -> None:
        """Make the names in a folder durable."""
        disk.sync_folder(path)

    def make_folder(self, path: str) -> None:
        """Make one folder; no harm where it is there already."""
        with suppress(FileExistsError):
            disk.make_folder(path)
            self._forget(path)

    def renew(self, folder: str) -> None:
        """Give a folder, or a file, the present time, as the file system has it. Not made durable."""
        disk.set_time(folder)

    def touch(self, folder: str) -> None:
        """Give a folder, or a file, a time that it has not had before: the present, to the nanosecond. Not durable.

        To what is another user's, and we may write to, the system gives its own time alone: then the next one that it
        comes to, some milliseconds later.
        """
        now = time.time_ns()
        try:
            disk.set_time(folder, now)
        except PermissionError:
            before = min(os.stat(folder).st_mtime_ns, now)
            disk.set_time(folder)
            for _ in range(_TICKS):
                if os.stat(folder).st_mtime_ns > before:
                    break
                time.sleep(_TICK_SECONDS)
                disk.set_time(folder)

    def rename(self, old: str, new: str) -> None:
        """Put a file or folder in place, atomically."""
        disk.rename(old, new)

    def each(self, function: Callable[[str], None], paths: Iterable[str]) -> None:
        """Call the function with every path, several at a time; raises the first error when all have ended."""
        todo = list(paths)
        if len(todo) <= 1:
            for path in todo:
                function(path)
            return
        futures = [self._pool.submit(function, path) for path in todo]
        errors = [error for future in futures if (error := future.exception()) is not None]
        if errors:
            raise errors[0]

    def make_folders(self, path: str) -> None:
        """Make a folder and those above it that are missing."""
        make_folders(path, self._forget)

    def _forget(self, path: str) -> None:
        self._durable.pop(path, None)

    def settle(self, folders: Iterable[str]) -> None:
        """Make durable the names in these folders, and those of the folders themselves up to the top; each once.

        What is known to be durable is not synced again: the inode is remembered with the path, and only of folders
        that last, since a file system gives a removed folder's inode to the next that is made. A folder that another
        request has removed meanwhile has nothing left to be synced.
        """
        touched, known = dict.fromkeys(folders), []
        for folder in list(touched):
            above = folder
            while above != self._top:
                with suppress(FileNotFoundError):
                    inode = os.stat(above).st_ino
                    if self._durable.get(above) == inode:
                        break
                    known.append((above, inode))
                above = os.path.dirname(above)
                touched[above] = None
        self.each(self._sync_if_there, touched)
        if len(self._durable) > _REMEMBERED:
            self._durable.clear()
        self._durable.update(entry for entry in known if self._lasts(entry[0]))

    def _sync_if_there(self, folder: str) -> None:
        with suppress(FileNotFoundError):
            self.sync_folder(folder)

    def close(self) -> None:
        """Wait for the syncs under way and end the threads."""
        self._pool.shutdown()
        self._pool = ThreadPoolExecutor(_PARALLEL_SYNCS, "sync")


class Change:
    """Several files that become durable together, in three steps: stage, place, settle.

    `stage` writes and syncs everything aside, `place` renames it into place in the order of the calls that added it
    (a reader never sees a later one without the earlier), `settle` syncs the folders. Only `place` needs a lock.
    Used as a context manager, it removes on leaving whatever it wrote and did not place.
    """

    def __init__(self, disk: Disk, aside: str) -> None:
        self._disk = disk
        self._aside = f"{aside}/{uuid.uuid4().hex}"
        self._contents: dict[str, bytes] = {}
        self._renames: list[tuple[str, str]] = []
        self._folders: dict[str, None] = {}

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.discard()

    def discard(self) -> None:
        """Remove whatever was written and not placed."""
        for staged, _target in self._renames:
            if staged in self._contents:
                remove(staged)
        self._renames.clear()

    def file(self, target: str, content: bytes) -> None:
        """A file that takes the place of what is at `target`."""
        staged = f"{self._aside}-{len(self._contents)}"
        self._contents[staged] = content
        self._renames.append((staged, target))

    def move(self, source: str, target: str) -> None:
        """A file that is written and synced already, to be renamed into place; it stays where it is until then."""
        self._renames.append((source, target))

    def rely_on(self, path: str) -> None:
        """What another process may just have put there: make sure that it is durable too."""
        self._folders[os.path.dirname(path)] = None

    def stage(self) -> None:
        """Write and sync everything aside."""
        self._disk.each(lambda path: self._disk.write_file(path, self._contents[path]), self._contents)

    def place(self) -> None:
        """Rename everything into place, making the folders above."""
        while self._renames:
            staged, target = self._renames[0]
            self._folders[os.path.dirname(target)] = None
            self._put(staged, target)
            del self._renames[0]

    def _put(self, staged: str, target: str) -> None:
        """Another server, which takes no lock, may be removing the folders above: they are made more than once."""
        for _ in range(_TRIES):
            with suppress(FileNotFoundError):
                self._disk.rename(staged, target)
                return
            with suppress(FileNotFoundError):
                self._disk.make_folders(os.path.dirname(target))
        self._disk.rename(staged, target)

    def settle(self) -> None:
        """Make the names durable."""
        self._disk.settle(self._folders)


def write_all(descriptor: int, content: bytes) -> None:
    """Write every byte at the file's position. Raises OSError."""
    view = memoryview(content)
    while view:
        view = view[disk.write(descriptor, view) :]


def write_unsynced(path: str, content: bytes) -> None:
    """Make a new file. Not made durable. Raises OSError, and then leaves none."""
    descriptor = disk.open_file(path)
    try:
        write_all(descriptor, content)
    except OSError:
        remove(path)
        raise
    finally:
        os.close(descriptor)


def replace_unsynced(path: str, content: bytes) -> None:
    """Put a file into place, atomically, and the folders above it that are missing. Not made durable.

    A process that dies meanwhile may leave one beside it whose name ends in `UNPLACED`.
    """
    aside = f"{path}.{uuid.uuid4().hex}{UNPLACED}"
    try:
        write_unsynced(aside, content)
    except FileNotFoundError:
        make_folders(os.path.dirname(path))
        write_unsynced(aside, content)
    try:
        disk.rename(aside, path)
    except OSError:
        remove(aside)
        raise


def make_folders(path: str, made: Callable[[str], None] = lambda _: None) -> None:
    """Make a folder and those above it that are missing; `made` is told of each."""
    try:
        disk.make_folder(path)
    except FileExistsError:
        return
    except FileNotFoundError:
        make_folders(os.path.dirname(path), made)
        with suppress(FileExistsError):
            disk.make_folder(path)
    made(path)


def remove(path: str) -> None:
    """Remove a file or a folder with all that is in it; nothing where there is nothing. Not made durable."""
    try:
        disk.remove_file(path)
    except FileNotFoundError:
        return
    except (IsADirectoryError, PermissionError):
        remove_folder(path)


def remove_folder(path: str) -> None:
    """Remove a folder with all that is in it, without following links; what others remove at once is no error."""
    with suppress(FileNotFoundError):
        with os.scandir(path) as entries:
            inside = [(entry.path, entry.is_dir(follow_symlinks=False)) for entry in entries]
        for inner, is_folder in inside:
            if is_folder:
                remove_folder(inner)
            else:
                with suppress(FileNotFoundError):
                    disk.remove_file(inner)
        disk.remove_folder(path)
