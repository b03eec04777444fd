"""A registry that images are deleted from and restored to, over either store."""

from __future__ import annotations

from typing import TYPE_CHECKING, TypeVar

from cargohold.registry.manifests import Manifests
from cargohold.registry.trash import Trash
from cargohold.storage.protocols import NotFound
from cargohold.storage.trash import Cause, Why
from cargohold.types.digest import Algorithm, Digest
from cargohold.types.names import RepositoryName, Tag, parse_reference
from tests.registry.documents import CONFIG, LAYER, image

if TYPE_CHECKING:
    import asyncio
    from collections.abc import Callable, Coroutine

    from cargohold.registry.restoring import Restored
    from cargohold.registry.trash import Deleted
    from cargohold.storage.protocols import Store

T = TypeVar("T")
APP, OTHER = RepositoryName("team/app"), RepositoryName("team/other")
DAY = 86400.0
ONE, TWO = image(annotations={"n": "1"}), image(annotations={"n": "2"})


class Registry:
    """A registry's storage, and its trash; everything is done at once, by words."""

    def __init__(self, store: Store, runner: asyncio.Runner) -> None:
        self.store = store
        self.run: Callable[[Coroutine[object, object, T]], T] = runner.run
        for repository in (APP, OTHER):
            for content in (CONFIG, LAYER):
                self.push_blob(content, repository)

    def trash(self, keep: float = DAY, **terms: object) -> Trash:
        return Trash(self.store, keep=keep, **terms)  # type: ignore[arg-type]

    def push_blob(self, content: bytes, repository: RepositoryName = APP) -> None:
        async def pushed() -> None:
            upload = await self.store.create_upload(repository, Algorithm.SHA256)
            async with self.store.append_upload(repository, upload, None) as writer:
                await writer.write(content)
            await self.store.commit_upload(repository, upload, Digest.of(content), len(content))

        self.run(pushed())

    def push(self, content: bytes, *tags: str, repository: RepositoryName = APP) -> Digest:
        digest = Digest.of(content)
        manifests = Manifests(self.store)
        self.run(manifests.push(repository, digest, [Tag(tag) for tag in tags], content, None))
        return digest

    def delete(
        self, reference: str, repository: RepositoryName = APP, why: Why | None = None, by: str = ""
    ) -> None:
        found = parse_reference(reference)
        if isinstance(found, Tag):
            self.run(self.store.delete_tag(repository, found, Cause(why or Why.TAG_DELETED, by)))
        else:
            self.run(self.store.delete_manifest(repository, found, Cause(why or Why.DELETED, by)))

    def restore(
        self, reference: str, *, overwrite: bool = False, keep: float = DAY, **terms: object
    ) -> Restored:
        trash = self.trash(keep, **terms)
        return self.run(trash.restore(APP, parse_reference(reference), overwrite=overwrite))

    def listed(self, pattern: Callable[[str], object] = bool, keep: float = DAY) -> list[Deleted]:
        unreadable: dict[str, str] = {}
        found = self.run(self.trash(keep).deletions(pattern, unreadable.__setitem__))
        assert unreadable == {}
        return found

    def records(self) -> int:
        return len(self.run(self.store.read_trash(APP)).records)

    def tags(self, repository: RepositoryName = APP) -> dict[str, Digest]:
        async def found() -> dict[str, Digest]:
            try:
                names = await self.store.list_tags(repository, "", 1000)
            except NotFound:
                return {}
            return {name: await self.store.resolve_tag(repository, Tag(name)) for name in names}

        return self.run(found())

    def has(self, digest: Digest) -> bool:
        return not self.run(self.store.missing_manifests(APP, [digest]))
