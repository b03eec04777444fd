"""The tags of a repository, page by page."""

from __future__ import annotations

import sys
from typing import TYPE_CHECKING

from cargohold.registry.pages import Listed, asked_of_store, cut
from cargohold.storage.protocols import NotFound
from cargohold.types.errors import NameUnknown

if TYPE_CHECKING:
    from cargohold.storage.protocols import MetadataStore
    from cargohold.types.names import RepositoryName
    from cargohold.types.paging import Page

_ALL = sys.maxsize - 1


class Tags:
    """Lists tags; a page that is asked for has at most `max_page` entries."""

    def __init__(self, store: MetadataStore, *, max_page: int) -> None:
        self._store = store
        self._max_page = max_page

    async def list(self, repository: RepositoryName, page: Page) -> Listed:
        """The repository's tags by their bytes: all of them where no number is asked for. Raises NameUnknown."""
        n = _ALL if page.n is None else min(page.n, self._max_page)
        try:
            return cut(await self._store.list_tags(repository, page.last, asked_of_store(n)), n)
        except NotFound:
            raise NameUnknown(detail={"name": repository}) from None
