"""All that can be pulled: the repositories, and the manifests of each, whether tags lead to them or not."""

from __future__ import annotations

from typing import TYPE_CHECKING

from cargohold.storage.filesystem.collection.links import digests_in
from cargohold.storage.filesystem.tree import exists, told
from cargohold.storage.filesystem.walk import all_repositories
from cargohold.types.digest import Algorithm

if TYPE_CHECKING:
    from collections.abc import Iterator

    from cargohold.storage.filesystem import FilesystemStore
    from cargohold.storage.layout import Layout
    from cargohold.types.digest import Digest
    from cargohold.types.names import RepositoryName


def pullable_repositories(store: FilesystemStore) -> list[RepositoryName]:
    """The repositories that hold manifests, in order, those behind symbolic links too. Raises Unavailable."""
    with told():
        found = all_repositories(store.layout.repositories)
        return sorted(name for name, _ in found if store.has_manifest(name))


def revisions(layout: Layout, repository: RepositoryName) -> Iterator[Digest]:
    """The digests of the manifests that the repository holds, in no order. Raises Unavailable."""
    with told():
        for algorithm in Algorithm:
            for path, digest in digests_in(f"{layout.revisions(repository)}/{algorithm.value}", algorithm):
                if exists(f"{path}/link"):
                    yield digest
