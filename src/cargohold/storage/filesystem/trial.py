"""Trying whether the disk can be used, for whoever asks after the server's health."""

from __future__ import annotations

import os
import uuid

from cargohold.storage import disk
from cargohold.storage.durable import remove, write_all
from cargohold.storage.filesystem.tree import Tree
from cargohold.storage.protocols import Unavailable

_CONTENT = bytes(range(256)) * 16  # a whole block: smaller ones may find a place on a disk that is full


class FileTrial(Tree):
    """The part of the store that is tried, in a thread of its own: on a disk that hangs it holds up nobody else."""

    _was_there = False

    async def try_reading(self) -> None:
        await self._run(self._trials, self._try_reading)

    async def try_writing(self) -> None:
        await self._run(self._trials, self._try_writing)

    def _try_reading(self) -> None:
        try:
            _look_into(self.layout.registry)
            self._was_there = True
        except FileNotFoundError:
            # A read-only registry may have nothing to show yet. But where it had, its disk is gone, and what is seen
            # in the root is the folder below that.
            if self._was_there:
                raise
            _look_into(self.layout.root)

    def _try_writing(self) -> None:
        os.stat(
            self.layout.blobs
        )  # gone with the disk, it must not be made anew below where that was mounted
        path = f"{self.layout.new}/{uuid.uuid4().hex}"
        try:
            descriptor = disk.open_file(path)
        except FileNotFoundError:
            self.disk.make_folders(self.layout.new)
            descriptor = disk.open_file(path)
        try:
            write_all(descriptor, _CONTENT)
            if os.pread(descriptor, len(_CONTENT), 0) != _CONTENT:
                raise Unavailable(f"{path}: what was written is not what is read")
        except OSError as error:
            error.filename = path
            raise
        finally:
            os.close(descriptor)
            remove(path)


def _look_into(folder: str) -> None:
    with os.scandir(folder) as entries:
        next(entries, None)
