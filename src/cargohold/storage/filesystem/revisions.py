"""All manifests of a repository, whether tags lead to them or not."""

from __future__ import annotations

import os
from contextlib import suppress
from typing import TYPE_CHECKING

from cargohold.storage.filesystem.tree import exists, told
from cargohold.types.digest import Algorithm, Digest
from cargohold.types.errors import DigestInvalid

if TYPE_CHECKING:
    from collections.abc import Iterator

    from cargohold.storage.layout import Layout
    from cargohold.types.names import RepositoryName


def revisions(layout: Layout, repository: RepositoryName) -> Iterator[Digest]:
    """The digests of the manifests that the repository holds, in no order. Raises Unavailable."""
    with told():
        for algorithm in Algorithm:
            with (
                suppress(FileNotFoundError, NotADirectoryError),
                os.scandir(f"{layout.revisions(repository)}/{algorithm.value}") as entries,
            ):
                for entry in entries:
                    with suppress(DigestInvalid):
                        digest = Digest(f"{algorithm.value}:{entry.name}")
                        if exists(f"{entry.path}/link"):
                            yield digest
