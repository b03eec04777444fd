"""The composition root: the only place that makes things and puts them together."""

from __future__ import annotations

import logging
import os
import sys
from typing import TYPE_CHECKING

from cargohold import __version__
from cargohold.app.gate import Gate, prepare
from cargohold.app.keeping import PullRecord, begin_recording
from cargohold.app.meter import Meter, shared_counts
from cargohold.app.routes import routes
from cargohold.app.scheduling import collector
from cargohold.app.tracing import Tracing
from cargohold.app.tracing import prepare as prepare_tracing
from cargohold.config import load
from cargohold.config.checks import IN_THE_CLEAR, sends_passwords_in_the_clear
from cargohold.http.access_log import access_log
from cargohold.http.application import Application
from cargohold.http.exchange import answer_faults
from cargohold.http.middleware import allow_origins, answer_errors, dispatch
from cargohold.http.observing import REQUEST_ID, TRACE_ID, observe
from cargohold.http.server import serve as serve_http
from cargohold.http.tls import Tls
from cargohold.observe import logs
from cargohold.registry.expiry import Expiry
from cargohold.registry.readiness import Readiness
from cargohold.storage.filesystem import FilesystemStore
from cargohold.storage.filesystem.leases import Terms
from cargohold.storage.protocols import StoreError, Unavailable
from cargohold.types.operations import Permission, ReadMetrics
from cargohold.types.quotas import Quota, Quotas

if TYPE_CHECKING:
    import asyncio
    from collections.abc import Callable

    from cargohold.config import Settings
    from cargohold.http.asgi import AsgiApplication
    from cargohold.http.exchange import Handler
    from cargohold.http.observing import Observer
    from cargohold.observe.counts import Counts
    from cargohold.observe.logs import Log
    from cargohold.registry.pulls import Pulls
    from cargohold.storage.protocols import Store

    Hook = Callable[[asyncio.AbstractEventLoop], None]


_log = logging.getLogger(__name__)


def serve(settings: Settings) -> int:
    """Serve until a signal ends it; gives the exit code of the program."""
    log = logs.set_up(settings.log.level, settings.log.format, _ids)
    problem = _prepared(settings)
    if problem is not None:
        sys.stderr.write(f"cargohold: {problem}\n")
        return 1
    if sends_passwords_in_the_clear(settings):
        _log.warning(IN_THE_CLEAR)

    def ready(address: str) -> None:
        workers = "1 worker" if settings.workers == 1 else f"{settings.workers} workers"
        where = f"{address}{settings.prefix}"
        logs.tell(
            _log, f"cargohold {__version__} serving on {where}, storage {settings.storage.path}, {workers}"
        )

    counts = shared_counts(settings)
    return serve_http(
        lambda place, expires: application(settings, log, counts, place, expires),
        host=settings.host,
        port=settings.port,
        socket=settings.socket,
        workers=settings.workers,
        http2=settings.http2,
        tls=tls_of(settings),
        redirect_port=settings.tls.redirect_port,
        public_url=settings.server.public_url,
        share_port=settings.server.reuse_port,
        drain=settings.server.drain,
        stop_timeout=settings.server.stop_timeout,
        ready=ready,
        chore=collector(settings, lambda: FilesystemStore(settings.storage.path, terms_of(settings))),
    )


def _prepared(settings: Settings) -> str | None:
    """Make what will be needed on disk, before the fork; what is in the way of that, in words for people."""
    store = FilesystemStore(settings.storage.path, terms_of(settings))
    try:
        store.prepare(read_only=settings.read_only)
        begin_recording(settings, store)
        prepare(settings)
        prepare_tracing(settings)
    except ValueError as error:
        return str(error)
    except StoreError as error:
        problem = f"cannot serve {store.layout.root}: {error}"
        if isinstance(error, Unavailable):
            verb = "read" if settings.read_only else "write"
            problem += f"; let user {os.getuid()} {verb} there, or choose another place with --storage-path"
        return problem
    finally:
        store.close()
    return None


def terms_of(settings: Settings) -> Terms:
    """How long what nobody uses, and what was deleted, stays; and how much may be stored."""
    quotas = Quotas([Quota(quota.repository, quota.size, quota.each) for quota in settings.quotas])
    return Terms(settings.gc.grace, settings.trash.keep, leases=not settings.read_only, quotas=quotas)


def tls_of(settings: Settings) -> Tls | None:
    """What connections are secured with; None where the settings do not name both a certificate and its key."""
    tls = settings.tls
    if not tls.certificate or not tls.key:
        return None
    return Tls(tls.certificate, tls.key, tls.minimum, tls.client_ca, tls.client_certificates)


def application(
    settings: Settings, log: Log, counts: Counts, place: int, expires: float | None
) -> Application:
    """The registry on a store of its own, for one process: it is made after the fork. The store must be prepared.

    It counts at its `place` among all processes that share the counts, and its certificate `expires` then.
    """
    store, gate = FilesystemStore(settings.storage.path, terms_of(settings)), Gate(settings)
    meter, tracing = Meter(settings, store, counts, place, expires), Tracing(settings)
    record = PullRecord(settings, store)
    start, stop = _background(settings, store, gate, log, meter, tracing, record)
    readiness = Readiness(store, writes=not settings.read_only)
    return Application(
        handler(
            settings,
            store,
            gate,
            log=log,
            readiness=readiness,
            meter=meter,
            tracing=tracing,
            pulls=record.pulls,
        ),
        headers=list(settings.http.headers.items()),
        start=start,
        stop=stop,
        leave=readiness.leave,
        stall_timeout=settings.uploads.stall_timeout,
    )


def asgi() -> AsgiApplication:
    """The registry for any ASGI server, with the settings of the environment and of the file that it names.

    Raises SettingsError, StoreError where the storage cannot be served, and ValueError where a file that the settings
    name cannot be used.
    """
    # Not wanted where `serve` is, and so not imported there.
    from cargohold.http.asgi import AsgiApplication  # noqa: PLC0415

    settings = load({}, os.environ)
    log = logs.set_up_as_guest(settings.log.level, settings.log.format, _ids)
    store = FilesystemStore(settings.storage.path, terms_of(settings))
    store.prepare(read_only=settings.read_only)
    begin_recording(settings, store)
    prepare(settings)
    prepare_tracing(settings)
    gate, meter, tracing = Gate(settings), Meter(settings, store), Tracing(settings)
    record = PullRecord(settings, store)
    start, stop = _background(settings, store, gate, log, meter, tracing, record)
    return AsgiApplication(
        handler(settings, store, gate, log=log, meter=meter, tracing=tracing, pulls=record.pulls),
        headers=list(settings.http.headers.items()),
        start=start,
        stop=stop,
        stall_timeout=settings.uploads.stall_timeout,
    )


def _background(  # noqa: PLR0913, PLR0917 - all that has a beginning and an end
    settings: Settings,
    store: FilesystemStore,
    gate: Gate,
    log: Log | None,
    meter: Meter,
    tracing: Tracing,
    record: PullRecord,
) -> tuple[Hook, Hook]:
    """What begins and what ends the tasks of a process, on its loop."""
    expiry = Expiry(store, settings.uploads.timeout)

    def start(loop: asyncio.AbstractEventLoop) -> None:
        if log is not None:
            log.start(loop)
        if not settings.read_only:
            expiry.start(loop)
        meter.start(loop, log)
        record.start(loop)

    def stop(_loop: asyncio.AbstractEventLoop) -> None:
        expiry.stop()
        record.stop()
        meter.stop()
        gate.close()
        store.close()
        tracing.stop()
        if log is not None:
            log.stop()

    return start, stop


def handler(  # noqa: PLR0913 - all but the first three may be left out
    settings: Settings,
    store: Store,
    gate: Gate,
    *,
    log: Log | None = None,
    readiness: Readiness | None = None,
    meter: Meter | None = None,
    tracing: Tracing | None = None,
    pulls: Pulls | None = None,
) -> Handler:
    """The whole registry as one function from a request to its answer; without a log of its own it uses the host's."""
    readiness = readiness or Readiness(store, writes=not settings.read_only)
    meter = meter or Meter(settings, store)
    dispatched = dispatch(
        {**routes(settings, store, readiness, pulls), ReadMetrics: meter.route, **gate.routes},
        prefix=settings.prefix,
        closed=frozenset(_closed(settings)),
        guard=gate.guard,
    )
    handle = answer_faults(answer_errors(gate.limited(dispatched)))
    if settings.http.cors.origins:
        handle = allow_origins(handle, settings.http.cors.origins)
    if tracing is not None:
        handle = tracing.around(handle)
    return gate.believed(observe(handle, [*meter.observers, *_observers(settings, log)]))


def _observers(settings: Settings, log: Log | None) -> list[Observer]:
    observers: list[Observer] = []
    if settings.log.requests:
        observers.append(access_log(logs.hand_on if log is None else log.request, settings.log.level))
    return observers


def _ids() -> tuple[str, str]:
    return REQUEST_ID.get(), TRACE_ID.get()


def _closed(settings: Settings) -> set[Permission]:
    closed = {Permission.PUSH, Permission.DELETE} if settings.read_only else set()
    return closed if settings.deletion else closed | {Permission.DELETE}
