"""What refers to a subject (OCI Distribution Specification, "Listing Referrers")."""

from __future__ import annotations

from typing import TYPE_CHECKING

import msgspec

if TYPE_CHECKING:
    from cargohold.storage.protocols import MetadataStore
    from cargohold.types.operations import ListReferrers

_PAGE = (4 << 20) - 1_024
"""Bytes of descriptors in a page: clients that read one page take a manifest of 4 MiB, and many read no other."""


class Referrers:
    """Lists the manifests that name a subject."""

    def __init__(self, store: MetadataStore) -> None:
        self._store = store

    async def list(self, asked: ListReferrers) -> tuple[list[bytes], str | None]:
        """The descriptors, in JSON, and the digest after which the next page starts, if there is one."""
        found = await self._store.list_referrers(
            asked.repository,
            asked.subject,
            after=asked.last or "",
            artifact_type=asked.artifact_type,
            room=_PAGE,
        )
        room = _PAGE
        for index, descriptor in enumerate(found):
            room -= len(descriptor) + 1
            if room < 0 and index > 0:
                return found[:index], _digest_of(found[index - 1])
        return found, None


class _Named(msgspec.Struct):
    digest: str


def _digest_of(descriptor: bytes) -> str:
    return msgspec.json.decode(descriptor, type=_Named).digest
