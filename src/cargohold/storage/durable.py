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
from contextlib import suppress
from typing import TYPE_CHECKING, Self, TypeVar

from cargohold.storage import disk
from cargohold.storage.removals import Removals
from cargohold.storage.settled import Settled
from cargohold.storage.spares import Spares

if TYPE_CHECKING:
    from collections.abc import Callable, Collection, Iterable, Mapping

    from cargohold.storage.proofs import Proof

T = TypeVar("T")

_PARALLEL_SYNCS = 8
_TRIES = 5
_TICKS, _TICK_SECONDS = 50, 0.001
_NO_EXCHANGE = frozenset({errno.EINVAL, errno.ENOSYS, errno.EOPNOTSUPP})

_NOT_EMPTY = frozenset({errno.ENOTEMPTY, errno.EEXIST, errno.ENOENT})

UNPLACED = ".new"
"""How the names end of files that were written beside their place."""


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

    def write_files(self, contents: Mapping[str, bytes], small: Collection[str] = ()) -> None:
        """Make new files at these paths, and the folders above them that are missing, and sync them all at once.

        Those that are `small`, a block at most, may be made of files that were replaced before.
        """
        opened: list[int] = []
        try:
            for path, content in contents.items():
                spare = self._spares.open(path, len(content)) if path in small else None
                opened.append(self._open_new(path) if spare is None else spare)
                write_all(opened[-1], content)
            disk.sync_all(opened, (), self.each)
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
        self._lost: set[str] = set()
        self._replacing: set[str] = set()
        self._former: list[str] = []
        self._folders_first: list[str] = []
        self._made: list[str] = []
        self._changed: dict[str, None] = {}
        self._relied: dict[str, None] = {}

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.discard()

    @property
    def is_placed(self) -> bool:
        """Whether nothing is left to be put into place."""
        return not self._renames

    def discard(self) -> None:
        """Remove whatever was made and not put into place."""
        for staged, _target in self._renames:
            if staged in self._contents:
                remove(staged)
        self._renames.clear()
        while self._made:
            remove_empty(self._made.pop())

    def file(
        self, target: str, content: bytes, *, may_be_lost: bool = False, folder_first: bool = False
    ) -> None:
        """A file that takes the place of what is at `target`.

        Of one that `may_be_lost` the name is not made durable: after a power cut it is there, and whole, or it is not.
        Where a folder without its file says nothing to anybody, `stage` may make the `folder_first`.
        """
        staged = f"{self._aside}-{len(self._contents)}"
        self._contents[staged] = content
        if may_be_lost:
            self._lost.add(target)
        if folder_first:
            self._folders_first.append(_folder_of(target))
        self._renames.append((staged, target))

    def replace(self, target: str, content: bytes) -> None:
        """As `file`, for a small one whose target is often there already: what was there is kept to be used again.

        Where nothing was settled, that stays in the folder aside, for whoever removes what is forgotten there: before
        its successor's name is durable, its content must not be lost.
        """
        self.file(target, content)
        self._replacing.add(self._renames[-1][0])

    def move(self, source: str, target: str) -> None:
        """A file that is written and synced already, to be renamed into place; it stays where it is until then."""
        self._renames.append((source, target))

    def rely_on(self, path: str) -> None:
        """What another process may just have put there: make sure that it is durable too."""
        self._relied[_folder_of(path)] = None

    def stage(self) -> None:
        """Write and sync everything aside, and make the folders that may come first, if those above them are there.

        To make a folder takes a file system as long as all that is done under a lock besides.
        """
        self._disk.write_files(self._contents, self._replacing)
        for folder in self._folders_first:
            with suppress(FileNotFoundError):
                if self._disk.make_folder(folder):
                    self._made.append(folder)

    def place(self) -> None:
        """Rename everything into place, making the folders above."""
        while self._renames:
            staged, target = self._renames[0]
            if target not in self._lost:
                self._changed[_folder_of(target)] = None
            self._put(staged, target)
            del self._renames[0]
        self._made.clear()

    def _put(self, staged: str, target: str) -> None:
        """Another server, which takes no lock, may be removing the folders above: they are made more than once."""
        for _ in range(_TRIES):
            try:
                self._put_once(staged, target)
            except FileNotFoundError:
                with suppress(FileNotFoundError):
                    self._disk.make_folders(os.path.dirname(target))
            else:
                return
        self._put_once(staged, target)

    def _put_once(self, staged: str, target: str) -> None:
        if staged not in self._replacing:
            self._disk.rename(staged, target)
        elif self._disk.replace(staged, target):
            self._former.append(staged)

    def settle(self) -> None:
        """Make the names durable."""
        self._disk.settle(self._changed, self._relied)
        while self._former:
            self._disk.spare(self._former.pop())


def _folder_of(path: str) -> str:
    """As `os.path.dirname`, in a tenth of the time, of a path such as is made here."""
    return path.rpartition("/")[0]


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
