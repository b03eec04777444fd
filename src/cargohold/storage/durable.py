"""Changes that a power cut does not undo: write, sync, rename, sync the folder.

Whatever of a change can be synced at the same time is: a file system puts the syncs that wait together into one
commit of its journal, so ten in parallel take little longer than one.
"""

from __future__ import annotations

import errno
import os
import time
import uuid
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack, suppress
from typing import TYPE_CHECKING, Protocol, TypeVar

from cargohold.storage import disk
from cargohold.storage.removals import Removals
from cargohold.storage.settled import Settled
from cargohold.storage.spares import Spares

if TYPE_CHECKING:
    from collections.abc import Callable, Collection, Iterable, Mapping, Sequence
    from contextlib import AbstractContextManager

    from cargohold.storage.proofs import Proof

T = TypeVar("T")

_PARALLEL_SYNCS = 8
_TICKS, _TICK_SECONDS = 50, 0.001
_NO_EXCHANGE = frozenset({errno.EINVAL, errno.ENOSYS, errno.EOPNOTSUPP})
# What the file system does not have, or does not let us do, or has done too often for this file.
_NO_LINK = frozenset({errno.EPERM, errno.EACCES, errno.EMLINK, errno.EXDEV, errno.ENOSYS, errno.EOPNOTSUPP})

_NOT_EMPTY = frozenset({errno.ENOTEMPTY, errno.EEXIST, errno.ENOENT})

UNPLACED = ".new"
"""How the names end of files that were written beside their place."""


class Unsynced(Protocol):
    """An open file with bytes that are to be made durable; within `syncing` they may be lost to an error."""

    @property
    def descriptor(self) -> int:
        """The open file."""
        ...

    @property
    def is_small(self) -> bool:
        """Whether to sync it takes about as long as to sync other files."""
        ...

    def syncing(self) -> AbstractContextManager[None]:
        """To be around the sync; left by its error."""
        ...


class Disk:
    """The calls that change a disk, and the memory of which folders are known to be durable.

    `top` is the folder above which nothing is ours to sync; `lasts` says of a folder below it whether it is never
    removed once it is there. Safe for threads; to be used after the fork alone.
    """

    def __init__(self, top: str, lasts: Callable[[str], bool]) -> None:
        self._pool = ThreadPoolExecutor(_PARALLEL_SYNCS, "sync")
        self.removals = Removals(remove)
        self._settled = Settled(top, lasts)
        self._spares = Spares()
        self._exchanges = True

    def write_files(
        self, contents: Mapping[str, bytes], small: Collection[str] = (), unsynced: Sequence[Unsynced] = ()
    ) -> None:
        """Make new files at these paths, and the folders above them that are missing, and sync them all at once.

        Those that are `small`, a block at most, may be made of files that were replaced before. What is `unsynced` is
        synced with them.
        """
        opened: list[int] = []
        try:
            for path, content in contents.items():
                spare = self._spares.open(path, len(content)) if path in small else None
                opened.append(self._open_new(path) if spare is None else spare)
                write_all(opened[-1], content)
            with ExitStack() as syncing:
                for each in unsynced:
                    syncing.enter_context(each.syncing())
                files = [*(each.descriptor for each in unsynced), *opened]
                disk.sync_all(files, (), self.each, are_small=all(each.is_small for each in unsynced))
        finally:
            for descriptor in opened:
                os.close(descriptor)

    def replace(self, path: str, target: str) -> bool:
        """Put a small file in the place of the one at `target`, atomically; whether that one is at `path` now."""
        if self._exchanges:
            try:
                disk.exchange(path, target)
            except FileNotFoundError:
                pass
            except OSError as error:
                if error.errno not in _NO_EXCHANGE:
                    raise
                self._exchanges = False
            else:
                return True
        self.rename(path, target)
        return False

    def spare(self, path: str) -> None:
        """A file that was replaced, durably: it is written again, or removed some time."""
        for dropped in self._spares.put(path):
            self.removals.later(dropped)

    def _open_new(self, path: str) -> int:
        try:
            return disk.open_file(path)
        except FileNotFoundError:
            self.make_folders(os.path.dirname(path))
            return disk.open_file(path)

    def sync_folder(self, path: str) -> None:
        """Make the names in a folder durable."""
        disk.sync_folder(path)

    def sync_folders(self, paths: Iterable[str]) -> None:
        """Make the names in these folders durable, all at once, as far as they are there."""
        disk.sync_all((), paths, self.each)

    def make_folder(self, path: str) -> bool:
        """Make one folder; False where it is there already."""
        try:
            disk.make_folder(path)
        except FileExistsError:
            return False
        self._forget(path)
        return True

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

    def link(self, path: str, name: str) -> bool:
        """Give a file a second name, unless there is a file of that name. Raises FileNotFoundError without its folder.

        False where that cannot be done here, another server has just removed the file, or what has that name is none.
        """
        try:
            disk.link(path, name)
        except FileExistsError:
            return os.path.isfile(name)
        except FileNotFoundError:
            if os.path.lexists(path):
                raise
            return False
        except OSError as error:
            if error.errno not in _NO_LINK:
                raise
            return False
        return True

    def rename(self, old: str, new: str) -> None:
        """Put a file or folder in place, atomically."""
        disk.rename(old, new)

    def each(self, function: Callable[[T], None], arguments: Iterable[T]) -> None:
        """Call the function with each of them, several at a time; raises the first error when all have ended."""
        todo = list(arguments)
        if len(todo) <= 1:
            for argument in todo:
                function(argument)
            return
        futures = [self._pool.submit(function, argument) for argument in todo]
        errors = [error for future in futures if (error := future.exception()) is not None]
        if errors:
            raise errors[0]

    def make_folders(self, path: str) -> None:
        """Make a folder and those above it that are missing."""
        make_folders(path, self._forget)

    def _forget(self, path: str) -> None:
        self._settled.forget(path)

    def settle(self, changed: Iterable[str], relied: Iterable[str] = ()) -> None:
        """Make durable the names in these folders, and those of the folders themselves up to the top; each once.

        What is known to be durable is not synced again: so those that are only `relied` on, where we have changed
        nothing, are mostly not synced. A folder that another request has removed meanwhile has nothing left to be
        synced.
        """
        todo = self._settled.look(changed, relied)
        self.sync_folders(todo.folders)
        self._settled.remember(todo)

    def has_settled(self, folder: str, proof: Proof) -> bool:
        """Whether the names in a folder that has this proof now are known to be durable, and those above it."""
        return self._settled.knows(folder, proof)

    def close(self) -> None:
        """Wait for the syncs under way and end the threads; removals are given a second."""
        self._pool.shutdown()
        self._pool = ThreadPoolExecutor(_PARALLEL_SYNCS, "sync")
        for path in self._spares.clear():
            self.removals.later(path)
        self.removals.close()


def write_all(descriptor: int, content: bytes | memoryview) -> None:
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


def remove_empty(path: str) -> None:
    """Remove a folder, unless there is something in it."""
    try:
        disk.remove_folder(path)
    except OSError as error:
        if error.errno not in _NOT_EMPTY:
            raise


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
