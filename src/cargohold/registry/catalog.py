"""The repositories of the registry, page by page."""

from __future__ import annotations

from typing import TYPE_CHECKING

from cargohold.registry.pages import Listed, asked_of_store, cut

if TYPE_CHECKING:
    from cargohold.storage.protocols import MetadataStore, View
    from cargohold.types.paging import Page


class Catalog:
    """Lists repositories: `default_page` of them where no number is asked for, `max_page` at most."""

    def __init__(self, store: MetadataStore, *, default_page: int, max_page: int) -> None:
        self._store = store
        self._default_page = min(default_page, max_page)
        self._max_page = max_page

    async def list(self, page: Page, visible: View | None) -> Listed:
        """The repositories that hold a manifest and are visible (None: all are), by their bytes."""
        n = self._default_page if page.n is None else min(page.n, self._max_page)
        return cut(await self._store.list_repositories(page.last, asked_of_store(n), visible), n)
