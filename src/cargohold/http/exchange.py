"""What the adapters of all servers do around the application: refuse what is too large, answer faults."""

from __future__ import annotations

import logging
import os
from collections.abc import Awaitable, Callable
from typing import TYPE_CHECKING

from cargohold.messages import Answer, Bytes, File, Request, encode_json
from cargohold.types.errors import AddressTooLong, BlobUnknown, HeadersTooLarge, RegistryError

if TYPE_CHECKING:
    from collections.abc import Iterable

Handler = Callable[[Request], Awaitable[Answer]]

MAX_ADDRESS_BYTES = 8 * 1024
MAX_HEADER_BYTES = 64 * 1024

_FIRST_FINAL_STATUS = 200
_LAST_STATUS = 599

_log = logging.getLogger(__name__)


def error_answer(error: RegistryError) -> Bytes:
    """The answer that tells a client of the error, in the form of the specification ("Error Codes")."""
    headers = [
        ("content-type", "application/json"),
        ("docker-distribution-api-version", "registry/2.0"),
        *error.headers,
    ]
    return Bytes(error.status, headers, encode_json({"errors": error.entries()}))


def refusal(path: str, query: str, header_values: Iterable[str]) -> Bytes | None:
    """The answer to a request with a longer address or larger headers than the registry takes, else None."""
    if len(path) + len(query) > MAX_ADDRESS_BYTES:
        return error_answer(AddressTooLong(f"path and query are longer than {MAX_ADDRESS_BYTES} bytes"))
    if sum(map(len, header_values)) > MAX_HEADER_BYTES:
        return error_answer(HeadersTooLarge(f"the headers are larger than {MAX_HEADER_BYTES} bytes"))
    return None


async def respond(handler: Handler, request: Request) -> Answer:
    """The handler's answer, ready to be sent; our fault is logged and becomes a 500, a lost file a 404."""
    try:
        answer = await handler(request)
        if not _FIRST_FINAL_STATUS <= answer.status <= _LAST_STATUS:
            raise ValueError(f"{answer.status} is no final status")  # noqa: TRY301 - servers die of it
        if type(answer) is File:
            return _located(answer)
    except Exception:  # noqa: BLE001 - whatever it is, the client gets an answer
        _log.exception("%s %s failed", request.method, request.path)
        return error_answer(RegistryError())
    return answer


def _located(answer: File) -> Answer:
    """The answer with its `stop` known; a file that went after the route had found it is an unknown blob.

    What is left between this look and the server's own open is answered by the server, 404 with a plain body.
    """
    try:
        size = os.stat(answer.path).st_size
    except FileNotFoundError:
        return error_answer(BlobUnknown())
    if answer.start and not answer.stop:
        return File(answer.status, answer.headers, answer.path, answer.start, size)
    return answer
