"""The catalog: the list of repositories."""

from __future__ import annotations

from typing import TYPE_CHECKING

from cargohold.routes.answers import json_answer, next_page

if TYPE_CHECKING:
    from cargohold.messages import Answer, Request
    from cargohold.registry.catalog import Catalog
    from cargohold.types.operations import ListRepositories


class CatalogRoutes:
    """The endpoint of the catalog; `prefix` stands before every path."""

    def __init__(self, catalog: Catalog, *, prefix: str) -> None:
        self._catalog = catalog
        self._prefix = prefix

    async def list(self, asked: ListRepositories, request: Request) -> Answer:
        """200 with the repositories that the asker may pull."""
        listed = await self._catalog.list(asked.page, request.identity.catalog_view())
        return json_answer(
            200, {"repositories": listed.entries}, next_page(f"{self._prefix}/v2/_catalog", listed)
        )
