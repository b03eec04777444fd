"""What a request's headers must be where a wrong reading would store something wrong; what describes content."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

from cargohold.types.conditions import entity_tag
from cargohold.types.recurring import Recurring

if TYPE_CHECKING:
    from collections.abc import Sequence

    from cargohold.messages import RequestHeaders
    from cargohold.types.digest import Digest
    from cargohold.types.errors import RegistryError


_MOST_KNOWN: Final = 1024
_known: Final[dict[Digest, tuple[str, Sequence[tuple[str, str]]]]] = {}
"""What is said of content that is pulled often, with its media type: a few hundred bytes each."""
_recurring: Final = Recurring()


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


def described(digest: Digest, media_type: str, length: int) -> Sequence[tuple[str, str]]:
    """What an answer with some content, or to a HEAD, says of it; the length, in bytes, is that of the digest."""
    found = _known.get(digest)
    if found is not None and found[0] == media_type:
        return found[1]
    said = *named(digest), ("content-type", media_type), ("content-length", str(length))
    if _recurring.has(digest):
        if len(_known) >= _MOST_KNOWN:
            _known.clear()
        _known[digest] = media_type, said
    return said
