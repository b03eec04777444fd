"""Manifests: pull, push, delete, with all that the specification asks of them."""

from __future__ import annotations

import asyncio
from concurrent.futures import ThreadPoolExecutor
from typing import TYPE_CHECKING

import msgspec

from cargohold.registry.immutable import ImmutableTags
from cargohold.registry.quotas import within_quotas
from cargohold.storage.protocols import Incomplete, NotFound, TagFixed, Unavailable
from cargohold.storage.trash import Cause, Why
from cargohold.types.digest import Algorithm, Digest
from cargohold.types.errors import (
    DigestInvalid,
    ManifestBlobUnknown,
    ManifestInvalid,
    ManifestUnknown,
    NotAcceptable,
    Unsupported,
)
from cargohold.types.names import Tag
from cargohold.types.oci import Manifest, detect_media_type, parse_manifest

if TYPE_CHECKING:
    from collections.abc import Sequence

    from cargohold.registry.pulls import Pulls
    from cargohold.storage.protocols import Store
    from cargohold.types.accept import Accept
    from cargohold.types.names import Reference, RepositoryName

_LARGE = 128 << 10
# Four megabytes of JSON may take thirty times as much while they are read.
_LARGE_AT_ONCE = 2
_TOLD_MISSING = 100
_KNOWN_TYPES = 16_384
_LEASE_SECONDS = 0.5
_NONE = ImmutableTags(())


class Pulled(msgspec.Struct, frozen=True):
    """A manifest as it was pushed."""

    digest: Digest
    media_type: str
    content: bytes


class Pushed(msgspec.Struct, frozen=True):
    """What became of a push."""

    digest: Digest
    subject: Digest | None
    tags: tuple[Tag, ...]


class Manifests:
    """The manifests of repositories, and the tags that point to them."""

    def __init__(
        self,
        store: Store,
        *,
        allow_sparse: bool = False,
        allow_tag_deletion: bool = False,
        immutable: ImmutableTags = _NONE,
        pulls: Pulls | None = None,
    ) -> None:
        self._store = store
        self._immutable = immutable
        self._pulls = pulls
        self._allow_sparse = allow_sparse
        self._allow_tag_deletion = allow_tag_deletion
        self._media_types: dict[Digest, str] = {}
        self._judges = ThreadPoolExecutor(_LARGE_AT_ONCE, "manifests")

    async def pull(self, repository: RepositoryName, reference: Reference, accept: Accept) -> Pulled:
        """The manifest, byte for byte. Raises ManifestUnknown, or NotAcceptable where its type is not accepted."""
        try:
            digest = (
                await self._store.resolve_tag(repository, reference)
                if isinstance(reference, Tag)
                else reference
            )
            content = await self._store.read_manifest(repository, digest)
        except NotFound:
            raise ManifestUnknown(detail={"reference": reference}) from None
        media_type = self._media_types.get(digest) or self._media_type(digest, content)
        if not accept.allows(media_type):
            raise NotAcceptable(
                f"the manifest is of the type {media_type}, which the Accept header does not allow"
            )
        if self._pulls is not None and self._pulls.is_due(repository, digest):
            await self._pulls.note(repository, digest)
        return Pulled(digest, media_type, content)

    async def check(self, repository: RepositoryName, reference: Reference, accept: Accept) -> Pulled:
        """As `pull`, for one who may rely on it and push an index: it stays for the grace time. Raises as `pull`.

        What a tag leads to is not collected anyway: who asks for that waits for no lock that another holds too long.
        """
        pulled = await self.pull(repository, reference, accept)
        has_tag = isinstance(reference, Tag)
        try:
            await self._store.lease_manifest(repository, pulled.digest, _LEASE_SECONDS if has_tag else None)
        except NotFound:
            raise ManifestUnknown(detail={"reference": reference}) from None
        except (TimeoutError, Unavailable):
            if not has_tag:
                raise
        return pulled

    def _media_type(self, digest: Digest, content: bytes) -> str:
        """Found out once: content that is named by its digest does not change."""
        if len(self._media_types) >= _KNOWN_TYPES:
            self._media_types.clear()
        found = self._media_types[digest] = detect_media_type(content)
        return found

    async def push(
        self,
        repository: RepositoryName,
        reference: Reference,
        tags: Sequence[Tag],
        content: bytes,
        content_type: str | None,
    ) -> Pushed:
        """Store a manifest as it stands, and set its tags: `reference` if it is one, and `tags`.

        Raises ManifestInvalid; DigestInvalid where a digest was asked for and is not that of the content;
        ManifestBlobUnknown where what it references is not in the repository, unless that is allowed; Denied where a
        tag cannot be moved, or a quota leaves too little room. Nothing is stored then.
        """
        if len(content) > _LARGE:
            digest, manifest = await asyncio.get_running_loop().run_in_executor(
                self._judges, _judge, reference, content, content_type
            )
        else:
            digest, manifest = _judge(reference, content, content_type)
        named = (reference, *tags) if isinstance(reference, Tag) else tuple(tags)
        await self.put(repository, digest, manifest, named)
        return Pushed(digest, manifest.subject, named)

    async def put(
        self, repository: RepositoryName, digest: Digest, manifest: Manifest, tags: Sequence[Tag]
    ) -> None:
        """Store a manifest that has been judged, or one that no client can push: what another registry had taken.

        Raises ManifestBlobUnknown, and Denied, as `push` does.
        """
        try:
            with within_quotas():
                await self._store.commit_manifest(
                    repository,
                    digest,
                    manifest,
                    tags,
                    complete=not self._allow_sparse,
                    fixed=self._immutable.within(repository),
                )
        except Incomplete as lack:
            raise ManifestBlobUnknown(lack.missing[:_TOLD_MISSING]) from None
        except TagFixed as fixed:
            raise self._immutable.refusal(repository, fixed) from None

    async def delete(self, repository: RepositoryName, reference: Reference, by: str = "") -> None:
        """Delete a manifest with every tag that points to it; a tag alone, where that is allowed.

        The trash says that the user of the name `by` did it, if that is not empty. Raises ManifestUnknown; Unsupported
        for a tag where it is not allowed.
        """
        if isinstance(reference, Tag) and not self._allow_tag_deletion:
            raise Unsupported("deletion by tag is not supported, use digest")
        try:
            if isinstance(reference, Tag):
                await self._store.delete_tag(repository, reference, Cause(Why.TAG_DELETED, by))
            else:
                await self._store.delete_manifest(repository, reference, Cause(Why.DELETED, by))
        except NotFound:
            raise ManifestUnknown(detail={"reference": reference}) from None


def _judge(reference: Reference, content: bytes, content_type: str | None) -> tuple[Digest, Manifest]:
    if not content:
        raise ManifestInvalid("the body is empty")
    digest = Digest.of(content, Algorithm.SHA256 if isinstance(reference, Tag) else reference.algorithm)
    if isinstance(reference, Digest) and not digest.equals(reference):
        raise DigestInvalid(f"the manifest's digest is {digest}", detail={"digest": reference})
    return digest, parse_manifest(content, content_type)
