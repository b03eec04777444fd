"""Bodies that are needed whole: in memory, but not more of them than there is room for."""

from __future__ import annotations

import time
from contextlib import asynccontextmanager
from typing import TYPE_CHECKING

from cargohold.types.errors import BodyTimeout, TooLarge, Unavailable

if TYPE_CHECKING:
    from collections.abc import AsyncIterator

    from cargohold.messages import Request

# As much of each body is always taken: nearly all manifests are smaller, and there are only so many connections.
FREE_BYTES = 64 << 10
BUDGET_BYTES = 64 << 20
LONGEST_SECONDS = 300.0


class Bodies:
    """Takes bodies of up to `limit` bytes into memory, each within `seconds` from its first byte to its last.

    What goes beyond FREE_BYTES of a body comes out of `budget`, which all that are held at once share; it is
    never less than the largest body needs.
    """

    def __init__(self, limit: int, *, budget: int = BUDGET_BYTES, seconds: float = LONGEST_SECONDS) -> None:
        self._limit = limit
        self._left = max(budget, limit - FREE_BYTES)
        self._seconds = seconds

    @asynccontextmanager
    async def whole(self, request: Request) -> AsyncIterator[bytes]:
        """The whole body, which counts as held until the block is left.

        Raises TooLarge as soon as it is known to be longer than the limit, BodyTimeout where it takes longer
        than it may, and Unavailable where the budget is used up.
        """
        if request.length is not None and request.length > self._limit:
            raise TooLarge(f"the body is larger than {self._limit} bytes")
        deadline = time.monotonic() + self._seconds
        content, taken = bytearray(), 0  # not a list: pieces of one byte would take forty times their size
        try:
            async for piece in request.body:
                content += piece
                if len(content) > self._limit:
                    raise TooLarge(f"the body is larger than {self._limit} bytes")
                if time.monotonic() > deadline:
                    raise BodyTimeout(f"the request's body took longer than {self._seconds:g} seconds")
                taken += self._take(len(content) - FREE_BYTES - taken)
            whole = bytes(content)
            content.clear()
            yield whole
        finally:
            self._left += taken

    def _take(self, wanted: int) -> int:
        if wanted <= 0:
            return 0
        if wanted > self._left:
            raise Unavailable(
                "too many large bodies are arriving at once; try again later", headers=[("retry-after", "5")]
            )
        self._left -= wanted
        return wanted
