"""Referrers: the list."""

from __future__ import annotations

from typing import TYPE_CHECKING

from cargohold.messages import Bytes
from cargohold.types.oci import OCI_INDEX, referrers_index
from cargohold.types.paging import next_link

if TYPE_CHECKING:
    from cargohold.messages import Answer, Headers, Request
    from cargohold.registry.referrers import Referrers
    from cargohold.types.operations import ListReferrers


class ReferrerRoutes:
    """The endpoint of referrers; `prefix` stands before every path."""

    def __init__(self, referrers: Referrers, *, prefix: str) -> None:
        self._referrers = referrers
        self._prefix = prefix

    async def list(self, asked: ListReferrers, _request: Request) -> Answer:
        """200 with an image index, whatever is known of the subject."""
        descriptors, last = await self._referrers.list(asked)
        headers: Headers = [("content-type", OCI_INDEX)]
        if asked.artifact_type is not None:
            headers.append(("oci-filters-applied", "artifactType"))
        if last is not None:
            filters = {"artifactType": asked.artifact_type} if asked.artifact_type is not None else {}
            path = f"{self._prefix}/v2/{asked.repository}/referrers/{asked.subject}"
            headers.append(next_link(path, last=last, extra=filters))
        return Bytes(200, headers, referrers_index(descriptors))
