"""What several routes say alike."""

from __future__ import annotations

from typing import TYPE_CHECKING

from cargohold.messages import Bytes, encode_json
from cargohold.types.paging import next_link

if TYPE_CHECKING:
    from cargohold.messages import Headers
    from cargohold.registry.pages import Listed


def json_answer(status: int, value: object, headers: Headers | None = None) -> Bytes:
    """A JSON body."""
    return Bytes(status, [("content-type", "application/json"), *(headers or ())], encode_json(value))


def next_page(path: str, listed: Listed) -> Headers:
    """The `Link` to what follows a page of a list, where something does."""
    return [next_link(path, n=listed.n, last=listed.entries[-1])] if listed.more else []
