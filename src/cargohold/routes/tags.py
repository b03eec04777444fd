"""Tags: the list."""

from __future__ import annotations

from typing import TYPE_CHECKING

from cargohold.routes.answers import json_answer, next_page

if TYPE_CHECKING:
    from cargohold.messages import Answer, Request
    from cargohold.registry.tags import Tags
    from cargohold.types.operations import ListTags


class TagRoutes:
    """The endpoint of tags; `prefix` stands before every path."""

    def __init__(self, tags: Tags, *, prefix: str) -> None:
        self._tags = tags
        self._prefix = prefix

    async def list(self, asked: ListTags, _request: Request) -> Answer:
        """200 with the repository's tags."""
        listed = await self._tags.list(asked.repository, asked.page)
        links = next_page(f"{self._prefix}/v2/{asked.repository}/tags/list", listed)
        return json_answer(200, {"name": asked.repository, "tags": listed.entries}, links)
