"""Documents of issuers over HTTP: small ones, from the very address that was given, and soon."""

from __future__ import annotations

import asyncio
import re

import httpx2
import msgspec

LONGEST_BYTES = 1 << 20
SECONDS = 10.0

_OK = 200
_MAX_AGE = re.compile(r"(?:^|[\s,])max-age=([0-9]{1,9})(?:$|[\s,])", re.IGNORECASE)


class FetchError(Exception):
    """The document was not to be had; the message says why."""


class Document(msgspec.Struct, frozen=True):
    """A document, and how many seconds its publisher says that it may be kept (None where it does not say)."""

    body: bytes
    max_age: float | None = None


async def fetch(url: str) -> Document:
    """The document at an address. Raises FetchError, and TimeoutError where it takes longer than `SECONDS` in all.

    Redirects are not followed, nothing compressed is taken, and nothing longer than `LONGEST_BYTES`. Certificates are
    checked by the system's authorities, read anew each time.
    """
    async with asyncio.timeout(SECONDS):
        authorities = await asyncio.to_thread(httpx2.create_ssl_context)
        try:
            async with (
                httpx2.AsyncClient(verify=authorities, follow_redirects=False, timeout=SECONDS) as client,
                client.stream("GET", url, headers=_HEADERS) as answer,
            ):
                return await _read(answer)
        except (httpx2.HTTPError, httpx2.InvalidURL) as error:
            raise FetchError(f"{url!r}: {error or type(error).__name__}") from error


_HEADERS = {"accept": "application/json", "accept-encoding": "identity", "user-agent": "cargohold"}


async def _read(answer: httpx2.Response) -> Document:
    if answer.status_code != _OK:
        raise FetchError(f"{answer.url} answers {answer.status_code}")
    if answer.headers.get("content-encoding", "identity") != "identity":
        raise FetchError(f"{answer.url} answers with compressed content, which was not asked for")
    body = bytearray()
    async for piece in answer.aiter_raw():
        body += piece
        if len(body) > LONGEST_BYTES:
            raise FetchError(f"{answer.url} answers with more than {LONGEST_BYTES} bytes")
    found = _MAX_AGE.search(answer.headers.get("cache-control", ""))
    return Document(bytes(body), float(found[1]) if found else None)
