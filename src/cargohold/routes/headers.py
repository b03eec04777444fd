"""What a request's headers must be where a wrong reading would store something wrong; what describes content."""

from __future__ import annotations

from functools import lru_cache
from typing import TYPE_CHECKING

from cargohold.types.conditions import entity_tag

if TYPE_CHECKING:
    from collections.abc import Sequence

    from cargohold.messages import RequestHeaders
    from cargohold.types.digest import Digest
    from cargohold.types.errors import RegistryError


def only_value(headers: RequestHeaders, name: str, error: type[RegistryError]) -> str | None:
    """The value of a header that may stand once; None without it.

    Raises `error` where several lines have the name, and where the value is not ASCII.
    """
    values = headers.get_all(name)
    if len(values) > 1:
        raise error(f"{name.title()} must be a single line; there are {len(values)}")
    if values:
        return values[0]
    if name in headers:
        raise error(f"{name.title()} has characters outside ASCII")
    return None


def named(digest: Digest) -> Sequence[tuple[str, str]]:
    """What every answer about some content says of it."""
    return ("docker-content-digest", digest), ("etag", entity_tag(digest))


@lru_cache(maxsize=1024)  # of what is pulled often: a few hundred bytes each
def described(digest: Digest, media_type: str, length: int) -> Sequence[tuple[str, str]]:
    """What an answer with some content, or to a HEAD, says of it; the length is in bytes."""
    return *named(digest), ("content-type", media_type), ("content-length", str(length))
