"""What load balancers and supervisors ask: is this process alive, and can requests be sent to it."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

from cargohold.messages import Bytes, encode_json

if TYPE_CHECKING:
    from cargohold.messages import Answer, Request
    from cargohold.registry.readiness import Readiness
    from cargohold.types.operations import CheckHealth, CheckReady

RETRY_SECONDS: Final = 5


class HealthRoutes:
    """The answers about health. They say nothing of paths: everyone may read them."""

    def __init__(self, readiness: Readiness) -> None:
        self._readiness = readiness

    async def check_health(self, _asked: CheckHealth, _request: Request) -> Answer:
        """200: whoever answers is alive."""
        return Bytes(200, _headers(), encode_json({"status": "ok"}))

    async def check_ready(self, _asked: CheckReady, _request: Request) -> Answer:
        """200, or 503 with the reason."""
        obstacle = await self._readiness.obstacle()
        if obstacle is None:
            return Bytes(200, _headers(), encode_json({"status": "ready"}))
        headers = [*_headers(), ("retry-after", str(RETRY_SECONDS))]
        return Bytes(503, headers, encode_json({"status": "unavailable", "reason": obstacle}))


def _headers() -> list[tuple[str, str]]:
    """None of it may be kept: what holds now need not hold in a second."""
    return [("content-type", "application/json"), ("cache-control", "no-store")]
