"""Lists, page by page: tags, repositories, referrers."""

from __future__ import annotations

import sys
from typing import TYPE_CHECKING

import msgspec

from cargohold.storage.protocols import NotFound
from cargohold.types.errors import NameUnknown
from cargohold.types.oci import descriptor_artifact_type

if TYPE_CHECKING:
    from cargohold.storage.protocols import MetadataStore
    from cargohold.types.names import RepositoryName, Tag
    from cargohold.types.operations import ListReferrers
    from cargohold.types.paging import Page

_REFERRERS_PAGE = (4 << 20) - 1_024
"""Bytes of descriptors in a page: clients that read one page take a manifest of 4 MiB, and many read no other."""


class Listed(msgspec.Struct, frozen=True):
    """A page; `more` says that entries follow after its last, `n` how long a page was asked for."""

    entries: list[str]
    n: int
    more: bool


class Lists:
    """What there is. `default_page` and `max_page` are numbers of entries."""

    def __init__(self, store: MetadataStore, *, default_page: int, max_page: int) -> None:
        self._store = store
        self._default_page = min(default_page, max_page)
        self._max_page = max_page

    async def tags(self, repository: RepositoryName, page: Page) -> Listed:
        """The repository's tags by their bytes: all of them where no number is asked for. Raises NameUnknown."""
        n = sys.maxsize - 1 if page.n is None else min(page.n, self._max_page)
        try:
            found: list[Tag] = await self._store.list_tags(repository, page.last, _one_more(n))
        except NotFound:
            raise NameUnknown(detail={"name": repository}) from None
        return Listed(list(found[:n]), n, len(found) > n > 0)

    async def repositories(self, page: Page) -> Listed:
        """The repositories that hold a manifest, by their bytes."""
        n = self._default_page if page.n is None else min(page.n, self._max_page)
        found = await self._store.list_repositories(page.last, _one_more(n))
        return Listed(list(found[:n]), n, len(found) > n > 0)

    async def referrers(self, asked: ListReferrers) -> tuple[list[bytes], str | None]:
        """The descriptors of what refers to the subject, and the digest after which the next page starts, if any."""
        found = await self._store.list_referrers(asked.repository, asked.subject)
        if asked.artifact_type is not None:
            found = [each for each in found if descriptor_artifact_type(each) == asked.artifact_type]
        if asked.last is not None:
            found = [each for each in found if _digest_of(each) > asked.last]
        room = _REFERRERS_PAGE
        for index, descriptor in enumerate(found):
            room -= len(descriptor) + 1
            if room < 0 and index > 0:
                return found[:index], _digest_of(found[index - 1])
        return found, None


def _one_more(n: int) -> int:
    """How many to ask for so as to know whether more follow; none where none are wanted."""
    return n + 1 if n else 0


class _Named(msgspec.Struct):
    digest: str


def _digest_of(descriptor: bytes) -> str:
    return msgspec.json.decode(descriptor, type=_Named).digest
