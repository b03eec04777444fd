"""Leaves files to nginx, which stands in front: an answer says which one is to be sent (`X-Accel-Redirect`)."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

from cargohold.messages import Empty, File
from cargohold.types.addresses import Networks

if TYPE_CHECKING:
    from collections.abc import Sequence

    from cargohold.http.exchange import Handler
    from cargohold.messages import Answer, Request

# What nginx says by itself: it has the file, and serves parts of it.
_OF_THE_BYTES: Final = frozenset({"content-length", "content-range", "accept-ranges"})
_OK: Final = 200


def hand_over(handler: Handler, *, location: str, root: str, trusted: Sequence[str]) -> Handler:
    """Answer requests for files below `root` with their path there, after `location`, in place of their bytes.

    Those that one of the `trusted` proxies has handed on, and says so by `X-Forwarded-For`, are answered so; whoever
    asks directly gets the bytes. A part that was asked for nginx finds again by the request that it has. To be put
    around `forwarded`, with the same proxies. Raises ValueError for what is no network.
    """
    networks, below = Networks(trusted), f"{root}/"

    async def handle(request: Request) -> Answer:
        is_handed_on = "x-forwarded-for" in request.headers and request.client in networks
        answer = await handler(request)
        if not is_handed_on or type(answer) is not File or not answer.path.startswith(below):
            return answer
        headers = [header for header in answer.headers if header[0] not in _OF_THE_BYTES]
        headers.append(("x-accel-redirect", f"{location}/{answer.path.removeprefix(below)}"))
        return Empty(_OK, headers)

    return handle
