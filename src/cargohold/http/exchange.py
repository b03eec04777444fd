"""What holds for the answers of all servers: what is too large is refused, faults are answered, files are there."""

from __future__ import annotations

import logging
import os
from collections.abc import Awaitable, Callable

from cargohold.messages import Answer, Bytes, File, Request, encode_json
from cargohold.types.errors import AddressTooLong, BlobUnknown, HeadersTooLarge, RegistryError

Handler = Callable[[Request], Awaitable[Answer]]

MAX_ADDRESS_BYTES = 8 * 1024
MAX_HEADER_BYTES = 64 * 1024
SMALL_FILE_BYTES = 64 * 1024

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


def announced(answer: File) -> int:
    """How many bytes of its file an answer announces."""
    return int(next(value for name, value in reversed(answer.headers) if name == "content-length"))


def answer_faults(handler: Handler) -> Handler:
    """Give every request an answer that can be sent, which is what the adapters count on.

    What is too large is refused, our fault is logged and becomes a 500, a lost file a 404.
    """

    async def handle(request: Request) -> Answer:
        if len(request.path) + len(request.query) > MAX_ADDRESS_BYTES:
            return error_answer(AddressTooLong(f"path and query are longer than {MAX_ADDRESS_BYTES} bytes"))
        if request.width > MAX_HEADER_BYTES:
            return error_answer(HeadersTooLarge(f"the headers are larger than {MAX_HEADER_BYTES} bytes"))
        try:
            answer = await handler(request)
            if not _FIRST_FINAL_STATUS <= answer.status <= _LAST_STATUS:
                raise ValueError(f"{answer.status} is no final status")  # noqa: TRY301 - servers die of it
            if type(answer) is File:
                return _found(answer)
        except Exception:  # noqa: BLE001 - whatever it is, the client gets an answer
            _log.exception("%s %s failed", request.method, request.path)
            return error_answer(RegistryError())
        return answer

    return handle


def _found(answer: File) -> Answer:
    """The answer, when its file can be opened; an unknown blob where it went after the route had found it.

    A small file is read here, which costs less than handing it on. A large one is opened by the server later, when the
    answer has been logged and counted as a good one: it is tried here, so that only what goes wrong in between is so.
    """
    length = announced(answer)
    try:
        if length <= SMALL_FILE_BYTES:
            return Bytes(answer.status, answer.headers, _read(answer.path, answer.start, length))
        os.close(_open(answer.path))
    except FileNotFoundError:
        return error_answer(BlobUnknown())
    if answer.start and not answer.stop:
        return File(answer.status, answer.headers, answer.path, answer.start, answer.start + length)
    return answer


def _read(path: str, start: int, length: int) -> bytes:
    descriptor = _open(path)
    try:
        content = os.pread(descriptor, length, start)
    finally:
        os.close(descriptor)
    if len(content) < length:
        raise EOFError(f"{path} has {len(content)} of {length} bytes from {start}")
    return content


def _open(path: str) -> int:
    return os.open(path, os.O_RDONLY | os.O_CLOEXEC)
