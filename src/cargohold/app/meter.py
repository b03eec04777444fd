"""What is counted for the metrics, put together for one process; nothing, where the settings show them to nobody."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

from cargohold import __version__
from cargohold.http.counting import ROUTES, counting
from cargohold.observe.counts import Counts
from cargohold.observe.metrics import Metrics
from cargohold.registry.inventory import Holder, Recount
from cargohold.routes.base import no_metrics
from cargohold.routes.metrics import MetricsRoutes

if TYPE_CHECKING:
    import asyncio

    from cargohold.config import Settings
    from cargohold.http.middleware import Route
    from cargohold.http.observing import Observer
    from cargohold.observe.counts import Area
    from cargohold.observe.logs import Log
    from cargohold.storage.protocols import Store

PLACES_EACH: Final = 16
"""How many places there are for each worker: its own, its heirs', and those of workers that still send something."""
_DROPPED_SECONDS: Final = 2.0


def shared_counts(settings: Settings) -> Counts:
    """What all processes of a server count in; to be made before the fork."""
    return Counts(ROUTES, PLACES_EACH * settings.workers)


class Meter:
    """The counting of one process: made in it, after the fork.

    `counts` are those that it shares with others, where its place is; without them it counts by itself. `expires` is
    when the certificate of its connections does.
    """

    def __init__(
        self,
        settings: Settings,
        store: Store,
        counts: Counts | None = None,
        place: int = 0,
        expires: float | None = None,
    ) -> None:
        self.observers: list[Observer] = []
        self.route: Route = no_metrics
        self._recount: Recount | None = None
        self._area: Area | None = None
        if settings.metrics.access == "nobody":
            return
        counts = counts or Counts(ROUTES, 1)
        self._area = counts.area(place)
        self.observers.append(counting(self._area))
        metrics = Metrics(counts, __version__, expires)
        asks_quotas = bool(settings.quotas) and not settings.read_only
        self.route = MetricsRoutes(metrics, Holder(store, asks_quotas=asks_quotas)).read
        self._recount = Recount(store, settings.metrics.recount)

    def start(self, loop: asyncio.AbstractEventLoop, log: Log | None) -> None:
        """Begin what is done in the background."""
        if self._recount is not None:
            self._recount.start(loop)
        if self._area is not None and log is not None:
            self._count_dropped(loop, self._area, log)

    def stop(self) -> None:
        """End it."""
        if self._recount is not None:
            self._recount.stop()

    def _count_dropped(self, loop: asyncio.AbstractEventLoop, area: Area, log: Log) -> None:
        area.dropped(log.dropped)
        loop.call_later(_DROPPED_SECONDS, self._count_dropped, loop, area, log)
