"""`GET /v2/`: is this a registry."""

from __future__ import annotations

from typing import TYPE_CHECKING

from cargohold.messages import Bytes

if TYPE_CHECKING:
    from cargohold.messages import Answer, Request
    from cargohold.types.operations import CheckSupport


async def check_support(_asked: CheckSupport, _request: Request) -> Answer:
    """200 with an empty object."""
    return Bytes(200, [("content-type", "application/json")], b"{}")
