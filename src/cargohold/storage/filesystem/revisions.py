"""All manifests of a repository, whether tags lead to them or not."""

from __future__ import annotations

from typing import TYPE_CHECKING

from cargohold.storage.filesystem.collection.links import digests_in
from cargohold.storage.filesystem.tree import exists, told
from cargohold.types.digest import Algorithm

if TYPE_CHECKING:
    from collections.abc import Iterator

    from cargohold.storage.layout import Layout
    from cargohold.types.digest import Digest
    from cargohold.types.names import RepositoryName


def revisions(layout: Layout, repository: RepositoryName) -> Iterator[Digest]:
    """The digests of the manifests that the repository holds, in no order. Raises Unavailable."""
    with told():
        for algorithm in Algorithm:
            for path, digest in digests_in(f"{layout.revisions(repository)}/{algorithm.value}", algorithm):
                if exists(f"{path}/link"):
                    yield digest
