"""What stands around the routes: each layer takes a handler and gives one back."""

from __future__ import annotations

import logging
from contextlib import suppress
from typing import TYPE_CHECKING, Any

from cargohold.http.exchange import error_answer
from cargohold.http.router import route
from cargohold.messages import Empty
from cargohold.storage import protocols as storage
from cargohold.types.errors import EndpointUnknown, MethodNotAllowed, RegistryError, StorageFull, Unavailable

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable, Iterator, Mapping, Sequence

    from cargohold.http.exchange import Handler
    from cargohold.http.guard import Guard
    from cargohold.messages import Answer, Headers, Request
    from cargohold.types.operations import Operation, Permission

    # Of one kind of operation each; which, the table says that it stands in.
    Route = Callable[[Any, Request], Awaitable[Answer]]

_METHODS = ("GET", "HEAD", "POST", "PUT", "PATCH", "DELETE")
API_VERSION = ("docker-distribution-api-version", "registry/2.0")
_EXPOSED = (
    "docker-content-digest, docker-upload-uuid, etag, link, location, oci-filters-applied, oci-subject, oci-tag,"
    " range, retry-after, www-authenticate, x-ratelimit-limit, x-ratelimit-remaining, x-ratelimit-reset"
)
_VARY = ("vary", "Origin")

_log = logging.getLogger(__name__)


def dispatch(
    routes: Mapping[type[Operation], Route],
    *,
    prefix: str,
    closed: frozenset[Permission],
    guard: Guard | None,
) -> Handler:
    """The innermost handler: finds the operation that a request asks, and calls its route.

    `prefix` stands before every path; what needs a `closed` permission is refused whoever asks (405). `guard` lets
    through who may; without one everyone may do everything.
    """

    async def handle(request: Request) -> Answer:
        path = request.path
        if prefix:
            if not path.startswith(f"{prefix}/"):
                raise EndpointUnknown
            path = path[len(prefix) :]
        operation = request.operation = route(request.method, path, request.query)
        if closed:
            for access in operation.needs():
                if access.permission in closed:
                    raise MethodNotAllowed(
                        f"{access.permission.value} is switched off on this registry",
                        headers=[("allow", ", ".join(_left(path, request.query, closed)))],
                    )
        if guard is not None and not guard.admits_again(operation, request):
            await guard.admit(operation, request)
        return await routes[type(operation)](operation, request)

    return handle


def _left(path: str, query: str, closed: frozenset[Permission]) -> Iterator[str]:
    """The methods that an address still has (RFC 9110, 15.5.6); none of them where all need what is closed."""
    for method in _METHODS:
        with suppress(RegistryError):
            if all(access.permission not in closed for access in route(method, path, query).needs()):
                yield method


def answer_errors(handler: Handler) -> Handler:
    """Turn what the registry raises into answers; nothing else does. A store's trouble is logged with its cause."""

    async def handle(request: Request) -> Answer:
        try:
            answer = await handler(request)
        except RegistryError as error:
            return error_answer(error)
        except storage.Full as full:
            _log.error("%s %s: %s", request.method, request.path, full)
            return error_answer(StorageFull())
        except storage.Unavailable:
            _log.exception("%s %s: the storage is unavailable", request.method, request.path)
            return error_answer(Unavailable(headers=[("retry-after", "5")]))
        answer.headers.append(API_VERSION)
        return answer

    return handle


def allow_origins(handler: Handler, origins: Sequence[str]) -> Handler:
    """Let pages of these origins (`*`: of all) read answers, and ask before they write.

    See the Fetch standard, "CORS protocol". Every answer says that it depends on the origin: without that, a cache
    gives a page what was stored for no page.
    """
    everyone = "*" in origins

    def granted(origin: str) -> Headers:
        allowed = "*" if everyone else origin
        return [
            ("access-control-allow-origin", allowed),
            ("access-control-expose-headers", _EXPOSED),
            _VARY,
        ]

    async def handle(request: Request) -> Answer:
        origin = request.headers.get("origin")
        if origin is None or not (everyone or origin in origins):
            answer = await handler(request)
            answer.headers.append(_VARY)
            return answer
        if request.method == "OPTIONS" and request.headers.get("access-control-request-method"):
            asked = request.headers.get("access-control-request-headers") or "authorization, content-type"
            preflight = [
                ("access-control-allow-methods", ", ".join(_METHODS)),
                ("access-control-allow-headers", asked),
                ("access-control-max-age", "600"),
            ]
            return Empty(204, [API_VERSION, *preflight, *granted(origin)])
        answer = await handler(request)
        answer.headers.extend(granted(origin))
        return answer

    return handle
