"""A disk, or a store, whose calls are noted, for the tests of what is made durable and when."""

from __future__ import annotations

import errno
import os
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any

from cargohold.storage.durable import Disk
from tests.crash.calls import surrounded

if TYPE_CHECKING:
    from collections.abc import Callable, Collection, Iterable, Iterator, Mapping, Sequence

    import pytest

    from cargohold.storage.durable import Unsynced
    from cargohold.storage.filesystem import FilesystemStore


class Recorder(Disk):
    """A real disk that notes its syncs and renames, and fails where it is told to."""

    def __init__(self, top: str) -> None:
        super().__init__(top, lambda folder: "/goes" not in folder)
        self.events: list[tuple[str, str]] = []
        self.fail_at = ""

    def _note(self, kind: str, path: str) -> None:
        self.events.append((kind, path))
        if kind == self.fail_at:
            raise OSError(errno.ENOSPC, "No space left on device")

    def write_files(
        self, contents: Mapping[str, bytes], small: Collection[str] = (), unsynced: Sequence[Unsynced] = ()
    ) -> None:
        super().write_files(contents, small, unsynced)
        for path in contents:
            self._note("file", path)

    def sync_folders(self, paths: Iterable[str]) -> None:
        there = list(filter(os.path.isdir, paths))
        super().sync_folders(paths)
        for path in there:
            self._note("folder", path)

    def rename(self, old: str, new: str) -> None:
        if self.fail_at == "rename":
            self._note("rename", new)
        super().rename(old, new)
        self._note("rename", new)

    def taken(self, kind: str) -> list[str]:
        """The paths of one kind of event since the last time, and no more of them."""
        found = [path for each, path in self.events if each == kind]
        self.events = [event for event in self.events if event[0] != kind]
        return found


def folders_read(monkeypatch: pytest.MonkeyPatch, call: str) -> list[str]:
    """The paths of the folders that are read by this call of `os` from now on."""
    read: list[str] = []
    real = getattr(os, call)

    def recorded(path: str) -> Any:
        read.append(path)
        return real(path)

    monkeypatch.setattr(os, call, recorded)
    return read


@contextmanager
def synced_folders(below: str) -> Iterator[list[str]]:
    """The folders that are synced meanwhile, each as often as it is, by their paths from there."""
    synced: list[str] = []

    def around(name: str, call: Callable[..., Any], /, *arguments: Any, **named: Any) -> Any:
        if name == "sync_folder":
            synced.append(os.path.relpath(arguments[0], below))
        return call(*arguments, **named)

    with surrounded(around):
        yield synced


def nothing_is_left(store: FilesystemStore) -> bool:
    """Whether a store that is closed leaves nothing beside its tree."""
    store.close()
    return os.listdir(store.layout.new) == []
