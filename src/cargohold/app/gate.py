"""What a request passes before it comes to its route: whom to believe, how many are let through, who may do what."""

from __future__ import annotations

import os
from typing import TYPE_CHECKING

from cargohold.config.checks import asks_for_login
from cargohold.http.proxies import forwarded
from cargohold.routes.base import no_token_service
from cargohold.storage.layout import Layout
from cargohold.types.operations import PublishKeys, RequestToken

if TYPE_CHECKING:
    from cargohold.app.logins import Logins
    from cargohold.config import Settings
    from cargohold.http.exchange import Handler
    from cargohold.http.guard import Guard
    from cargohold.http.limiting import Limiter
    from cargohold.http.middleware import Route
    from cargohold.storage.counters import Counters
    from cargohold.types.operations import Operation

# What a registry does not use is not imported: without logins and limits it has half the size.


class Gate:
    """All of it, for one process: made in it, after the fork and after `prepare`."""

    def __init__(self, settings: Settings) -> None:
        self._settings = settings
        self._counters = _counters(settings)
        self._limiter = _limiter(settings, self._counters)
        self._logins = self._make_logins() if asks_for_login(settings) else None

    def _make_logins(self) -> Logins:
        from cargohold.app.logins import Logins  # noqa: PLC0415 - see above

        admitted = self._limiter.by_user if self._limiter is not None else None
        return Logins(self._settings, later=True, counters=self._counters, admitted=admitted)

    @property
    def guard(self) -> Guard | None:
        """Who lets operations through; None where everyone may do everything."""
        return None if self._logins is None else self._logins.guard

    @property
    def routes(self) -> dict[type[Operation], Route]:
        """The endpoints of the token service."""
        if self._logins is None:
            return {RequestToken: no_token_service, PublishKeys: no_token_service}
        return self._logins.routes

    def limited(self, handler: Handler) -> Handler:
        """Within what answers errors: let through no more requests than the limits say."""
        if self._limiter is None:
            return handler
        from cargohold.http.limiting import limit  # noqa: PLC0415 - see above

        return limit(handler, self._limiter)

    def believed(self, handler: Handler) -> Handler:
        """Around everything: take from proxies that are trusted who really asks, and leave files to them."""
        server = self._settings.server
        if not server.trusted_proxies:
            return handler
        handler = forwarded(handler, server.trusted_proxies)
        if not server.accel_redirect:
            return handler
        from cargohold.http.accel import hand_over  # noqa: PLC0415 - see above

        root = os.path.abspath(self._settings.storage.path)
        return hand_over(handler, location=server.accel_redirect, root=root, trusted=server.trusted_proxies)

    def close(self) -> None:
        """Let go of files and threads."""
        if self._logins is not None:
            self._logins.close()
        if self._counters is not None:
            self._counters.close()


def prepare(settings: Settings) -> None:
    """Before the fork: make on disk what will be needed, import what will be used, and see that the files are good.

    Raises ValueError, with a message for people, where a file that the settings name cannot be used, and StoreError.
    """
    if asks_for_login(settings):
        from cargohold.app import logins  # noqa: PLC0415 - see above

        logins.prepare(settings)
    Gate(settings).close()


def _has_limits(settings: Settings) -> bool:
    limits = settings.limits
    return any((limits.address.reads, limits.address.writes, limits.user.reads, limits.user.writes))


def _counters(settings: Settings) -> Counters | None:
    if not _has_limits(settings) and not (settings.limits.failed_logins and asks_for_login(settings)):
        return None
    from cargohold.storage.counters import Counters  # noqa: PLC0415 - see above

    return Counters(Layout(settings.storage.path).counters)


def _limiter(settings: Settings, counters: Counters | None) -> Limiter | None:
    if counters is None or not _has_limits(settings):
        return None
    from cargohold.http.limiting import Limiter  # noqa: PLC0415 - see above

    limits = settings.limits
    return Limiter(
        counters,
        address_reads=limits.address.reads,
        address_writes=limits.address.writes,
        user_reads=limits.user.reads,
        user_writes=limits.user.writes,
        allow=limits.allow,
        prefix=settings.prefix,
    )
