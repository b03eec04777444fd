"""Lists: tags, the catalog, referrers."""

from __future__ import annotations

from typing import TYPE_CHECKING

from cargohold.messages import Bytes
from cargohold.routes.answers import json_answer
from cargohold.types.oci import OCI_INDEX, referrers_index
from cargohold.types.paging import next_link

if TYPE_CHECKING:
    from cargohold.messages import Answer, Headers, Request
    from cargohold.registry.listing import Listed, Lists
    from cargohold.types.operations import ListReferrers, ListRepositories, ListTags


class ListRoutes:
    """The endpoints of lists; `prefix` stands before every path."""

    def __init__(self, lists: Lists, *, prefix: str) -> None:
        self._lists = lists
        self._prefix = prefix

    async def tags(self, asked: ListTags, _request: Request) -> Answer:
        """200 with the repository's tags."""
        listed = await self._lists.tags(asked.repository, asked.page)
        links = self._next(f"/v2/{asked.repository}/tags/list", listed)
        return json_answer(200, {"name": asked.repository, "tags": listed.entries}, links)

    async def repositories(self, asked: ListRepositories, _request: Request) -> Answer:
        """200 with the repositories."""
        listed = await self._lists.repositories(asked.page)
        return json_answer(200, {"repositories": listed.entries}, self._next("/v2/_catalog", listed))

    def _next(self, path: str, listed: Listed) -> Headers:
        if not listed.more:
            return []
        return [next_link(self._prefix + path, n=listed.n, last=listed.entries[-1])]

    async def referrers(self, asked: ListReferrers, _request: Request) -> Answer:
        """200 with an image index, whatever is known of the subject."""
        descriptors, last = await self._lists.referrers(asked)
        headers: Headers = [("content-type", OCI_INDEX)]
        if asked.artifact_type is not None:
            headers.append(("oci-filters-applied", "artifactType"))
        if last is not None:
            filters = {"artifactType": asked.artifact_type} if asked.artifact_type is not None else {}
            path = f"{self._prefix}/v2/{asked.repository}/referrers/{asked.subject}"
            headers.append(next_link(path, last=last, extra=filters))
        return Bytes(200, headers, referrers_index(descriptors))
