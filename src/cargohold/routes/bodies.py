"""Bodies that are needed whole: in memory, but not more of them than there is room for."""

from __future__ import annotations

import time
from typing import TYPE_CHECKING

from cargohold.types.errors import BodyTimeout, TooLarge, Unavailable

if TYPE_CHECKING:
    from contextlib import AbstractAsyncContextManager

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
        self._budget = _Budget(max(budget, limit - FREE_BYTES))
        self._seconds = seconds

    def whole(self, request: Request) -> AbstractAsyncContextManager[bytes]:
        """The whole body, which is read where the block is entered, and counts as held until it is left.

        To enter raises TooLarge as soon as the body is known to be longer than the limit, BodyTimeout where it takes
        longer than it may, and Unavailable where the budget is used up.
        """
        return _Whole(request, self._limit, self._budget, self._seconds)


class _Whole:
    """What `Bodies.whole` gives. A generator would do the same, and take its time over each small body."""

    __slots__ = ("_budget", "_limit", "_request", "_seconds", "_taken")

    def __init__(self, request: Request, limit: int, budget: _Budget, seconds: float) -> None:
        self._request = request
        self._limit = limit
        self._budget = budget
        self._seconds = seconds
        self._taken = 0

    async def __aenter__(self) -> bytes:
        length = self._request.length
        if length is not None and length > self._limit:
            raise self._too_large()
        try:
            return await self._read()
        except BaseException:
            self._give_back()
            raise

    async def __aexit__(self, *_: object) -> None:
        self._give_back()

    async def _read(self) -> bytes:
        deadline = time.monotonic() + self._seconds
        content = bytearray()  # not a list: pieces of one byte would take forty times their size
        async for piece in self._request.body:
            content += piece
            if len(content) > self._limit:
                raise self._too_large()
            if time.monotonic() > deadline:
                raise BodyTimeout(f"the request's body took longer than {self._seconds:g} seconds")
            self._taken += self._budget.take(len(content) - FREE_BYTES - self._taken)
        return bytes(content)

    def _too_large(self) -> TooLarge:
        return TooLarge(f"the body is larger than {self._limit} bytes")

    def _give_back(self) -> None:
        self._budget.left += self._taken
        self._taken = 0


class _Budget:
    """How many bytes are `left`."""

    __slots__ = ("left",)

    def __init__(self, left: int) -> None:
        self.left = left

    def take(self, wanted: int) -> int:
        """Take so many, if it is any; how many. Raises Unavailable."""
        if wanted <= 0:
            return 0
        if wanted > self.left:
            raise Unavailable(
                "too many large bodies are arriving at once; try again later", headers=[("retry-after", "5")]
            )
        self.left -= wanted
        return wanted
