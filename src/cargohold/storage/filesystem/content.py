"""The bytes of manifests in memory: they are named by their digest, and so never stale."""

from __future__ import annotations

from collections import OrderedDict
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from cargohold.types.digest import Digest

_MOST = 16 << 20
_OVERHEAD = 400


class ContentCache:
    """The contents used last, at most 16 MiB of them. For one thread."""

    def __init__(self) -> None:
        self._contents: OrderedDict[Digest, bytes] = OrderedDict()
        self._size = 0

    def get(self, digest: Digest) -> bytes | None:
        """The content, if it is here."""
        content = self._contents.get(digest)
        if content is not None:
            self._contents.move_to_end(digest)
        return content

    def put(self, digest: Digest, content: bytes) -> None:
        """Keep a content that has been checked against its digest."""
        if digest in self._contents or len(content) > _MOST // 4:
            return
        self._contents[digest] = content
        self._size += len(content) + _OVERHEAD
        while self._size > _MOST:
            _, dropped = self._contents.popitem(last=False)
            self._size -= len(dropped) + _OVERHEAD
