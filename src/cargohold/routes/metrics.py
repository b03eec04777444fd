"""`GET /metrics`."""

from __future__ import annotations

from typing import TYPE_CHECKING

from cargohold.messages import Bytes
from cargohold.observe.exposition import OPEN_METRICS, TEXT, write
from cargohold.types.accept import Accept

if TYPE_CHECKING:
    from cargohold.messages import Answer, Request
    from cargohold.observe.metrics import Metrics
    from cargohold.registry.inventory import Holder
    from cargohold.types.operations import ReadMetrics


class MetricsRoutes:
    """The answers about what was counted."""

    def __init__(self, metrics: Metrics, holder: Holder) -> None:
        self._metrics = metrics
        self._holder = holder

    async def read(self, _asked: ReadMetrics, request: Request) -> Answer:
        """200: as OpenMetrics for those who name that in `Accept`, otherwise as Prometheus' own text."""
        holdings = await self._holder.holdings()
        ranges = Accept.parse(request.headers.get_all("accept")).ranges
        open_metrics = ranges.get("application/openmetrics-text", False)
        body = write(self._metrics.collect(*holdings), open_metrics=open_metrics)
        headers = [("content-type", OPEN_METRICS if open_metrics else TEXT), ("cache-control", "no-store")]
        return Bytes(200, headers, body)
