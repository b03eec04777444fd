"""`GET /v2/`: is this a registry; and what is answered where there is no token service."""

from __future__ import annotations

from typing import TYPE_CHECKING

from cargohold.messages import Bytes
from cargohold.types.errors import EndpointUnknown

if TYPE_CHECKING:
    from cargohold.messages import Answer, Request
    from cargohold.types.operations import CheckSupport, PublishKeys, ReadMetrics, RequestToken


async def check_support(_asked: CheckSupport, _request: Request) -> Answer:
    """200 with an empty object."""
    return Bytes(200, [("content-type", "application/json")], b"{}")


async def no_metrics(_asked: ReadMetrics, _request: Request) -> Answer:
    """404: the settings show them to nobody."""
    raise EndpointUnknown("this registry counts nothing: metrics.access is nobody")


async def no_token_service(_asked: RequestToken | PublishKeys, _request: Request) -> Answer:
    """404: nobody needs a token here."""
    raise EndpointUnknown("this registry asks nobody for a login, and issues no tokens")
