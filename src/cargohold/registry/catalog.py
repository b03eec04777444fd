"""The repositories of the registry, page by page."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING

from cargohold.registry.pages import Listed, asked_of_store, cut

if TYPE_CHECKING:
    from collections.abc import Callable

    from cargohold.storage.protocols import MetadataStore
    from cargohold.types.names import RepositoryName
    from cargohold.types.paging import Page

_LOOKED_AT_ONCE = 1_000


class Catalog:
    """Lists repositories: `default_page` of them where no number is asked for, `max_page` at most."""

    def __init__(self, store: MetadataStore, *, default_page: int, max_page: int) -> None:
        self._store = store
        self._default_page = min(default_page, max_page)
        self._max_page = max_page

    async def list(self, page: Page, visible: Callable[[RepositoryName], bool] | None) -> Listed:
        """The repositories that hold a manifest and are visible (None: all are), by their bytes."""
        n = self._default_page if page.n is None else min(page.n, self._max_page)
        if visible is None:
            return cut(await self._store.list_repositories(page.last, asked_of_store(n)), n)
        return cut(await _visible(self._store, page.last, asked_of_store(n), visible), n)


async def _visible(
    store: MetadataStore, after: str, limit: int, visible: Callable[[RepositoryName], bool]
) -> list[RepositoryName]:
    """At most `limit` visible repositories that sort after `after`."""
    found: list[RepositoryName] = []
    while len(found) < limit:
        names = await store.list_repositories(after, _LOOKED_AT_ONCE)
        found += filter(visible, names)
        if len(names) < _LOOKED_AT_ONCE:
            break
        after = names[-1]
        await asyncio.sleep(0)  # a list that is at hand comes without a pause
    return found[:limit]
