"""A disk whose calls are noted, for the tests of what is made durable and when."""

from __future__ import annotations

import errno
import os
from typing import TYPE_CHECKING

from cargohold.storage.durable import Disk

if TYPE_CHECKING:
    from collections.abc import Collection, Iterable, Mapping, Sequence

    from cargohold.storage.durable import Unsynced


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
