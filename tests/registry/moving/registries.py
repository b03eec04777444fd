"""Registries to move images between: real trees, filled as clients fill them, and looked at as clients do."""

from __future__ import annotations

import asyncio
import os
from pathlib import Path
from typing import TYPE_CHECKING, NamedTuple

from cargohold.registry.blobs import Blobs
from cargohold.registry.manifests import Manifests
from cargohold.registry.moving.exporting import Export, Exported
from cargohold.registry.moving.importing import Import, Imported
from cargohold.registry.moving.names import Place
from cargohold.registry.moving.selection import Selection
from cargohold.registry.uploads import Uploads
from cargohold.storage.archive.docker import open_images
from cargohold.storage.archive.reading import DirectoryArchive, TarArchive
from cargohold.storage.archive.writing import DirectoryTarget, TarTarget
from cargohold.storage.filesystem import FilesystemStore
from cargohold.storage.filesystem.revisions import pullable_repositories, revisions
from cargohold.storage.protocols import ContentFile, NotFound
from cargohold.types.digest import Algorithm, Digest
from cargohold.types.names import RepositoryName, Tag
from tests.registry.documents import CONFIG, EMPTY

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Sequence

    from cargohold.storage.archive.images import Images


class Held(NamedTuple):
    """What a repository holds: tags, and manifests and blobs by their digests; and what refers to what."""

    tags: dict[str, str]
    manifests: dict[str, bytes]
    blobs: dict[str, bytes]
    referrers: dict[str, list[bytes]]


class Registry:
    """A registry in a folder."""

    def __init__(self, folder: Path) -> None:
        self.store = FilesystemStore(str(folder))
        self.store.prepare()
        self.uploads = Uploads(self.store)

    def manifests(self, *, sparse: bool = False) -> Manifests:
        return Manifests(self.store, allow_sparse=sparse)

    def push_blob(self, repository: str, content: bytes, algorithm: str = "sha256") -> Digest:
        async def body() -> AsyncIterator[bytes]:
            yield content

        digest = Digest.of(content, Algorithm(algorithm))
        asyncio.run(self.uploads.receive(RepositoryName(repository), digest, body()))
        return digest

    def push(
        self,
        repository: str,
        content: bytes,
        *tags: str,
        blobs: Sequence[bytes] = (CONFIG, EMPTY),
        algorithm: str = "sha256",
        sparse: bool = False,
    ) -> Digest:
        """Push a manifest with its blobs; its digest."""
        for blob in blobs:
            self.push_blob(repository, blob, algorithm)
        digest = Digest.of(content, Algorithm(algorithm))
        pushed = self.manifests(sparse=sparse).push(
            RepositoryName(repository), digest, [Tag(tag) for tag in tags], content, None
        )
        asyncio.run(pushed)
        return digest

    def delete(self, repository: str, reference: Digest | Tag) -> None:
        manifests = Manifests(self.store, allow_tag_deletion=True)
        asyncio.run(manifests.delete(RepositoryName(repository), reference))

    def held(self) -> dict[str, Held]:
        """All that it holds, by repository."""
        return asyncio.run(self._held())

    async def _held(self) -> dict[str, Held]:
        return {
            str(name): await self._held_by(name) for name in await self.store.list_repositories("", 10_000)
        }

    async def _held_by(self, name: RepositoryName) -> Held:
        tags = {
            tag: str(await self.store.resolve_tag(name, Tag(tag)))
            for tag in await self.store.list_tags(name, "", 10_000)
        }
        digests = sorted(revisions(self.store.layout, name))
        manifests = {str(digest): await self.store.read_manifest(name, digest) for digest in digests}
        referrers = {str(digest): await self.store.list_referrers(name, digest) for digest in digests}
        return Held(
            tags,
            manifests,
            {digest: await self.blob(name, digest) for digest in self._links(name)},
            referrers,
        )

    def _links(self, name: RepositoryName) -> list[Digest]:
        folder = f"{self.store.layout.repository(name)}/_layers"
        return sorted(
            Digest(f"{algorithm}:{each}")
            for algorithm in os.listdir(folder)
            for each in os.listdir(f"{folder}/{algorithm}")
        )

    async def blob(self, repository: str, digest: Digest) -> bytes:
        content = await self.store.find_blob(RepositoryName(repository), digest)
        assert isinstance(content, ContentFile)
        return await asyncio.to_thread(Path(content.path).read_bytes)

    def tag(self, repository: str, tag: str) -> str | None:
        """What a tag points to."""
        try:
            return str(asyncio.run(self.store.resolve_tag(RepositoryName(repository), Tag(tag))))
        except NotFound:
            return None

    def export(
        self,
        place: Path,
        *patterns: str,
        link: bool = True,
        plain: bool = False,
        prune: bool = False,
        sparse: bool = False,
    ) -> Exported:
        """Export to a directory or, where its name says so, a tar."""
        if place.suffix == ".tar":
            with place.open("wb") as file:
                return self._exported(TarTarget(file.write), patterns, plain=plain)
        place.mkdir(exist_ok=True)
        target = DirectoryTarget(str(place), link=link)
        try:
            return self._exported(target, patterns, plain=plain, prune=prune, sparse=sparse)
        finally:
            target.close()

    def _exported(
        self,
        target: TarTarget | DirectoryTarget,
        patterns: Sequence[str],
        *,
        plain: bool,
        prune: bool = False,
        sparse: bool = False,
    ) -> Exported:
        name = lambda repository: revisions(self.store.layout, repository)  # noqa: E731 - the shortest way
        export = Export(
            self.store,
            lambda: pullable_repositories(self.store),
            name,
            target,
            plain=plain,
            allow_sparse=sparse,
            on_step=_pass_over,
        )
        asyncio.run(export.run(Selection(patterns)))
        export.finish(target.entries() if isinstance(target, DirectoryTarget) and not prune else ())
        if prune and isinstance(target, DirectoryTarget):
            export.done.pruned, export.done.pruned_bytes = target.prune(export.holds)
        return export.done

    def import_(
        self,
        place: Path | Images,
        to: str = "",
        *,
        dry: bool = False,
        sparse: bool = False,
        most: int = 4 << 20,
    ) -> Imported:
        """Import from a directory, a tar, or images."""
        repository, _, tag = to.partition(":")
        target = Place(RepositoryName(repository), Tag(tag) if tag else None) if to else None
        images = images_in(place) if isinstance(place, Path) else place
        one = Import(
            self.store,
            self.uploads,
            Blobs(self.store),
            self.manifests(sparse=sparse),
            images,
            most=most,
            allow_sparse=sparse,
            on_step=_pass_over,
        )
        one.plan(target)
        asyncio.run(one.run(dry=dry))
        return one.done


def images_in(place: Path) -> Images:
    """The images of a directory or of a tar."""
    if place.is_dir():
        return open_images(DirectoryArchive(str(place)))
    return open_images(TarArchive(os.open(place, os.O_RDONLY | os.O_CLOEXEC)))


def _pass_over(_size: int) -> None:
    pass
