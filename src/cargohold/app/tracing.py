"""Traces, put together for one process; nothing of them is imported where the settings ask for none."""

from __future__ import annotations

from typing import TYPE_CHECKING

from cargohold import __version__

if TYPE_CHECKING:
    from cargohold.config import Settings
    from cargohold.http.exchange import Handler


def prepare(settings: Settings) -> None:
    """Before the fork: import what will be used; that it is installed the settings were checked for."""
    if settings.tracing.endpoint is not None:
        from cargohold.http import tracing  # noqa: F401, PLC0415
        from cargohold.observe import spans  # noqa: F401, PLC0415


class Tracing:
    """The traces of one process: made in it, after the fork and after `prepare`."""

    def __init__(self, settings: Settings) -> None:
        self._prefix = settings.prefix
        self._spans = None
        if settings.tracing.endpoint is not None:
            from cargohold.observe.spans import Spans  # noqa: PLC0415

            tracing = settings.tracing
            self._spans = Spans(settings.tracing.endpoint, tracing.sample, tracing.service, __version__)

    def around(self, handler: Handler) -> Handler:
        """The handler, with a span for each request where the settings ask for traces."""
        if self._spans is None:
            return handler
        from cargohold.http.tracing import trace  # noqa: PLC0415

        return trace(handler, self._spans.tracer, prefix=self._prefix)

    def stop(self) -> None:
        """Send what is left, in a time that is bounded."""
        if self._spans is not None:
            self._spans.stop()
