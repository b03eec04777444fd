"""A change of several files that a power cut does not undo, nor leaves half done under anybody's eyes."""

from __future__ import annotations

import os
import uuid
from contextlib import suppress
from typing import TYPE_CHECKING, Self

from cargohold.storage.durable import remove, remove_empty

if TYPE_CHECKING:
    from cargohold.storage.durable import Disk, Unsynced

_TRIES = 5


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
        self._alike: dict[str, bytes] = {}
        self._lost: set[str] = set()
        self._unsynced: list[Unsynced] = []
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

    def has_placed(self, target: str) -> bool:
        """Whether what was to be put there, if anything was, is in its place."""
        return all(target != waiting for _, waiting in self._renames)

    def discard(self) -> None:
        """Remove whatever was made and not put into place."""
        for staged, _target in self._renames:
            if staged in self._contents:
                remove(staged)
        self._renames.clear()
        while self._made:
            remove_empty(self._made.pop())

    def file(self, target: str, content: bytes, *, folder_first: bool = False) -> None:
        """A file that takes the place of what is at `target`.

        Where a folder without its file says nothing to anybody, `stage` may make the `folder_first`.
        """
        if folder_first:
            self._folders_first.append(_folder_of(target))
        self._renames.append((self._aside_of(content), target))

    def _aside_of(self, content: bytes) -> str:
        """Where a file of this content is written before it is put into its place."""
        staged = f"{self._aside}-{len(self._contents)}"
        self._contents[staged] = content
        return staged

    def alike(self, target: str, source: str, content: bytes, *, is_lasting: bool = True) -> None:
        """A file of the same content as the one at `source`, unless there is one at `target`; neither ever changes.

        The source is in place by then, its bytes durable. It is one file of two names, where the file system has such.
        Of one that is not `is_lasting` the name is not made durable: after a power cut it is there, and whole, or it is
        not; and `stage` may make its folder.
        """
        self._alike[target] = content
        if not is_lasting:
            self._lost.add(target)
            self._folders_first.append(_folder_of(target))
        self._renames.append((source, target))

    def replace(self, target: str, content: bytes) -> None:
        """As `file`, for a small one whose target is often there already: what was there is kept to be used again.

        Where nothing was settled, that stays in the folder aside, for whoever removes what is forgotten there: before
        its successor's name is durable, its content must not be lost.
        """
        self.file(target, content)
        self._replacing.add(self._renames[-1][0])

    def move(self, source: str, target: str, unsynced: Unsynced | None = None) -> None:
        """A file that is written and synced already, to be renamed into place; it stays where it is until then.

        One that is `unsynced` is synced with all else by `stage`.
        """
        if unsynced is not None:
            self._unsynced.append(unsynced)
        self._renames.append((source, target))

    def rely_on(self, path: str) -> None:
        """What another process may just have put there: make sure that it is durable too."""
        self._relied[_folder_of(path)] = None

    def stage(self) -> None:
        """Write and sync everything aside, and make the folders that may come first, if those above them are there.

        To make a folder takes a file system as long as all that is done under a lock besides.
        """
        self._disk.write_files(self._contents, self._replacing, self._unsynced)
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
        if target in self._alike:
            self._put_alike(target)
        elif staged not in self._replacing:
            self._disk.rename(staged, target)
        elif self._disk.replace(staged, target):
            self._former.append(staged)

    def _put_alike(self, target: str) -> None:
        """The first that is to be put into place: a link, or where there can be none a file of its own."""
        staged = self._renames[0][0]
        if staged not in self._contents:
            if self._disk.link(staged, target):
                return
            staged = self._aside_of(self._alike[target])
            self._renames[0] = staged, target  # so that it is removed where that fails
            self._disk.write_files({staged: self._contents[staged]})
        self._disk.rename(staged, target)

    def settle(self) -> None:
        """Make the names durable."""
        self._disk.settle(self._changed, self._relied)
        while self._former:
            self._disk.spare(self._former.pop())


def _folder_of(path: str) -> str:
    """As `os.path.dirname`, in a tenth of the time, of a path such as is made here."""
    return path.rpartition("/")[0]
