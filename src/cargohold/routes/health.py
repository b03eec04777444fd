"""What load balancers and supervisors ask: is this process alive, and can requests be sent to it."""

from __future__ import annotations

from typing import TYPE_CHECKING

from cargohold.messages import Bytes

if TYPE_CHECKING:
    from cargohold.messages import Answer, Request
    from cargohold.types.operations import CheckHealth, CheckReady

_JSON = ("content-type", "application/json")


async def check_health(_asked: CheckHealth, _request: Request) -> Answer:
    """200: whoever answers is alive."""
    return Bytes(200, [_JSON], b'{"status":"ok"}')


async def check_ready(_asked: CheckReady, _request: Request) -> Answer:
    """200."""
    return Bytes(200, [_JSON], b'{"status":"ready"}')
