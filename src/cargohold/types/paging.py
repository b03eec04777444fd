"""Pages of a list: `n`, `last`, and the `Link` to what follows (spec.md, "Listing Tags"; RFC 8288)."""

from __future__ import annotations

from typing import TYPE_CHECKING
from urllib.parse import quote, urlencode

import msgspec

from cargohold.types.errors import PaginationInvalid
from cargohold.types.numbers import whole_number

if TYPE_CHECKING:
    from collections.abc import Mapping

Query = dict[str, list[str]]
"""What `urllib.parse.parse_qs(..., keep_blank_values=True)` gives."""


class Page(msgspec.Struct, frozen=True):
    """At most `n` members (None: as many as the registry likes) that sort after `last` (empty: all)."""

    n: int | None
    last: str


def parse_page(query: Query) -> Page:
    """The page that a query asks for; of several values the first counts. Raises PaginationInvalid."""
    n = None
    if "n" in query:
        digits = query["n"][0]
        if not (digits.isascii() and digits.isdigit()):
            raise PaginationInvalid
        n = whole_number(digits)
    return Page(n, query.get("last", [""])[0])


def next_link(
    path: str, *, n: int | None = None, last: str, extra: Mapping[str, str] = {}
) -> tuple[str, str]:
    """The header that leads to the members after `last`. `path` and the parameters are not encoded yet."""
    size = {} if n is None else {"n": str(n)}
    query = urlencode({**size, "last": last, **extra}, quote_via=quote, safe="")
    return "link", f'<{quote(path, safe="/:@")}?{query}>; rel="next"'
