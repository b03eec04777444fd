"""What a request's headers must be where a wrong reading would store something wrong."""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from cargohold.messages import RequestHeaders
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
