"""The bytes of manifests in memory: they are named by their digest, and so never stale."""

from __future__ import annotations

import os
from collections import OrderedDict
from functools import lru_cache
from typing import TYPE_CHECKING, Final

from cargohold.types.recurring import Recurring

if TYPE_CHECKING:
    from cargohold.types.digest import Digest

AT_ONCE_BYTES: Final = 16 << 10
_NOWAIT: Final[int | None] = getattr(os, "RWF_NOWAIT", None)  # of Linux alone
_MOST = 16 << 20
_OVERHEAD = 400


class ContentCache:
    """The contents used last, at most 16 MiB of them. For one thread."""

    def __init__(self) -> None:
        self._contents: OrderedDict[Digest, bytes] = OrderedDict()
        self._recurring = Recurring()
        self._size = 0

    def get(self, digest: Digest) -> bytes | None:
        """The content, if it is here."""
        content = self._contents.get(digest)
        if content is not None:
            self._contents.move_to_end(digest)
        return content

    def put_if_recurring(self, digest: Digest, content: bytes) -> None:
        """As `put`, where that digest came before: what is asked for once would take the place of something better."""
        if self._recurring.has(digest):
            self.put(digest, content)

    def put(self, digest: Digest, content: bytes) -> None:
        """Keep a content that has been checked against its digest."""
        if digest in self._contents or len(content) > _MOST // 4:
            return
        self._contents[digest] = content
        self._size += len(content) + _OVERHEAD
        while self._size > _MOST:
            _, dropped = self._contents.popitem(last=False)
            self._size -= len(dropped) + _OVERHEAD


class ReaderAtOnce:
    """Reads small files where that needs no wait. For one thread."""

    def __init__(self) -> None:
        self._buffer = bytearray(AT_ONCE_BYTES)
        self._view = memoryview(self._buffer)

    def read(self, path: str, folder: str) -> bytes | None:
        """The bytes of a file below a folder, if there are fewer than AT_ONCE_BYTES, all of them in memory.

        None where whoever wants them must read the file as usual, and learn there what is in the way.
        """
        if _NOWAIT is None:
            return None
        try:
            descriptor = os.open(path, os.O_RDONLY | os.O_CLOEXEC)
        except OSError:
            return None
        try:
            # File systems in memory do not know the flag.
            length = os.preadv(descriptor, [self._buffer], 0, 0 if _is_memory(folder) else _NOWAIT)
        except OSError:  # not in memory, or a file system that cannot tell
            return None
        finally:
            os.close(descriptor)
        return bytes(self._view[:length]) if length < AT_ONCE_BYTES else None


@lru_cache(maxsize=16)
def _is_memory(folder: str) -> bool:
    """Whether the file system of a folder keeps all files in memory; asked once. Raises OSError."""
    device = os.stat(folder).st_dev
    number = f"{os.major(device)}:{os.minor(device)}"
    with open("/proc/self/mountinfo", encoding="utf-8", errors="surrogateescape") as mounts:
        for mount in mounts:
            # See proc(5): the third word is the device, and the first one after the dash the type.
            place, _, kind = mount.partition(" - ")
            if place.split(" ", 3)[2] == number:
                return kind.startswith(("tmpfs ", "ramfs "))
    return False
