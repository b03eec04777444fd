"""Conditional requests (RFC 9110, section 13): the entity tag of content is its digest in quotes."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Sequence

    from cargohold.types.digest import Digest

_ENTITY_TAG = re.compile(r'(?:W/)?("[\x21\x23-\x7e]*")')


def entity_tag(digest: Digest) -> str:
    """The entity tag of content."""
    return '"' + digest + '"'


def none_match(lines: Sequence[str], digest: Digest) -> bool:
    """Whether `If-None-Match` lets the content be sent: true without the header (section 13.1.2, weak comparison)."""
    if not lines:
        return True
    value = ", ".join(lines)
    return value.strip() != "*" and entity_tag(digest) not in _ENTITY_TAG.findall(value)


def range_applies(if_range: str | None, digest: Digest) -> bool:
    """Whether `If-Range` lets a range be sent: true without the header (section 13.1.5, strong comparison).

    A date never does: content has no date here.
    """
    return if_range is None or if_range.strip() == entity_tag(digest)
