"""What another server does to a tree: it knows nothing of our marks, records and locks."""

from __future__ import annotations

import os
import shutil
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from cargohold.storage.layout import Layout
    from cargohold.types.digest import Digest
    from cargohold.types.names import RepositoryName, Tag

    from .contract.base import Sample


class Foreign:
    """Writes to a tree as Distribution does, step by step."""

    def __init__(self, layout: Layout) -> None:
        self.layout = layout

    def content(self, of: Sample) -> None:
        """The content of a manifest alone."""
        put(self.layout.data(of.digest), of.manifest.content)

    def revision(self, repository: RepositoryName, digest: Digest) -> None:
        """The link of a manifest alone."""
        put(f"{self.layout.revision(repository, digest)}/link", digest.encode())

    def tag(self, repository: RepositoryName, tag: Tag, digest: Digest) -> None:
        """Point a tag to a manifest."""
        put(f"{self.layout.tag_index(repository, tag, digest)}/link", digest.encode())
        put(self.layout.tag_current(repository, tag), digest.encode())

    def push(self, repository: RepositoryName, of: Sample, *tags: Tag) -> None:
        """All of a push."""
        self.content(of)
        self.revision(repository, of.digest)
        for tag in tags:
            self.tag(repository, tag, of.digest)

    def delete(self, repository: RepositoryName, of: Sample, *tags: Tag) -> None:
        """Delete a manifest and its tags: the folder of the revision stays."""
        for tag in tags:
            shutil.rmtree(self.layout.tag(repository, tag))
        os.unlink(f"{self.layout.revision(repository, of.digest)}/link")

    def collect(self, of: Sample) -> None:
        """Remove the content of what was deleted."""
        shutil.rmtree(self.layout.blob(of.digest))


def put(path: str, content: bytes) -> None:
    """Write a file, and the folders above it."""
    os.makedirs(os.path.dirname(path), exist_ok=True)
    with open(path, "wb") as file:
        file.write(content)
