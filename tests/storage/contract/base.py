"""What every part of the suite stands on: a store to test, and the blobs and manifests to put into it."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, NamedTuple

import pytest

from cargohold.storage.protocols import Content, ContentFile, NotFound
from cargohold.types.digest import Algorithm, Digest
from cargohold.types.names import RepositoryName, Tag, UploadId
from cargohold.types.oci import Manifest, parse_manifest

if TYPE_CHECKING:
    import asyncio
    from collections.abc import Callable, Iterator, Sequence
    from contextlib import AbstractAsyncContextManager

    from cargohold.storage.protocols import Store
    from cargohold.types.quotas import Quota

ONE = RepositoryName("library/one")
OTHER = RepositoryName("library/other")
LATEST = Tag("latest")
NOTHING = Digest.of(b"")
IMAGE = "application/vnd.oci.image.manifest.v1+json"


class Pair(NamedTuple):
    """Two stores over the same data, as two worker processes have them; where there can be but one, it twice.

    `age(repository, upload, seconds)` makes an upload session one that last grew so many seconds earlier.
    """

    store: Store
    second: Store
    age: Callable[[RepositoryName, UploadId, float], None]

    @property
    def stores(self) -> tuple[Store, Store]:
        return self.store, self.second


class Within(NamedTuple):
    """A view of the repositories whose names begin so."""

    prefix: str

    def __call__(self, repository: RepositoryName, /) -> bool:
        return repository.startswith(self.prefix)


class Contract:
    """A part of the suite. A store's own test class says how it is opened, and inherits the rules.

    A rule must not hide another of the same name, in another part: TypeError.
    """

    def __init_subclass__(cls) -> None:
        names = [name for part in cls.__mro__ for name in vars(part) if name.startswith("test_")]
        hidden = {name for name in names if names.count(name) > 1}
        if hidden:
            raise TypeError(f"rules of one name hide each other: {sorted(hidden)}")

    def opened(self, *quotas: Quota) -> AbstractAsyncContextManager[Pair]:
        """A new and empty store at each call, whose repositories are held to these quotas."""
        raise NotImplementedError

    @pytest.fixture
    def pair(self, loop: asyncio.Runner) -> Iterator[Pair]:
        opened = self.opened()
        yield loop.run(_enter(opened))
        loop.run(_leave(opened))

    @pytest.fixture
    def store(self, pair: Pair) -> Store:
        return pair.store

    @pytest.fixture
    def second(self, pair: Pair) -> Store:
        return pair.second


async def _enter(opened: AbstractAsyncContextManager[Pair]) -> Pair:
    return await opened.__aenter__()


async def _leave(opened: AbstractAsyncContextManager[Pair]) -> None:
    await opened.__aexit__(None, None, None)


class Sample(NamedTuple):
    """A manifest and its digest."""

    digest: Digest
    manifest: Manifest


def sample(
    text: str,
    subject: Digest | None = None,
    algorithm: Algorithm = Algorithm.SHA256,
    artifact_type: str = "application/vnd.example",
) -> Sample:
    """A manifest of an artifact, told apart by `text`; what it names is stored nowhere."""
    document: dict[str, object] = {
        "schemaVersion": 2,
        "mediaType": IMAGE,
        "artifactType": artifact_type,
        "config": {"mediaType": "application/vnd.oci.empty.v1+json", "digest": Digest.of(b"{}"), "size": 2},
        "layers": [{"mediaType": "text/plain", "digest": Digest.of(text.encode()), "size": len(text)}],
        "annotations": {"text": text},
    }
    if subject is not None:
        document["subject"] = {"mediaType": IMAGE, "digest": subject, "size": 1234}
    content = json.dumps(document, indent=1).encode()
    return Sample(Digest.of(content, algorithm), parse_manifest(content, IMAGE))


async def commit(store: Store, repository: RepositoryName, of: Sample, *tags: Tag) -> None:
    """Commit a sample."""
    await store.commit_manifest(repository, of.digest, of.manifest, tags)


async def append(
    store: Store, repository: RepositoryName, upload: UploadId, *pieces: bytes, offset: int | None = None
) -> int:
    """Write the pieces at the session's end; where it then ends."""
    async with store.append_upload(repository, upload, offset) as writer:
        for piece in pieces:
            await writer.write(piece)
        return writer.offset


async def started(store: Store, repository: RepositoryName, *pieces: bytes) -> UploadId:
    """A session that holds the pieces."""
    upload = await store.create_upload(repository, Algorithm.SHA256)
    if pieces:
        await append(store, repository, upload, *pieces)
    return upload


async def push(
    store: Store, repository: RepositoryName, content: bytes, algorithm: Algorithm = Algorithm.SHA256
) -> Digest:
    """Make the content a blob of the repository."""
    upload = await started(store, repository, content)
    digest = Digest.of(content, algorithm)
    await store.commit_upload(repository, upload, digest, len(content))
    return digest


def read(content: Content) -> bytes:
    """The bytes of a content, which are as many as it says."""
    if isinstance(content, ContentFile):
        with open(content.path, "rb") as file:
            data = file.read()
    else:
        data = content.data
    assert len(data) == content.size
    return data


async def blob(store: Store, repository: RepositoryName, digest: Digest) -> bytes | None:
    """The bytes of a blob; None where the repository does not hold it. `missing_blobs` must say the same."""
    try:
        found: bytes | None = read(await store.find_blob(repository, digest))
    except NotFound:
        found = None
    assert await store.missing_blobs(repository, [digest]) == ([digest] if found is None else [])
    return found


async def size(store: Store, repository: RepositoryName, upload: UploadId) -> int | None:
    """The size of a session; None where there is none."""
    try:
        return await store.upload_size(repository, upload)
    except NotFound:
        return None


async def document(store: Store, repository: RepositoryName, digest: Digest) -> bytes | None:
    """The bytes of a manifest; None where there is none. `missing_manifests` must say the same."""
    try:
        found: bytes | None = await store.read_manifest(repository, digest)
    except NotFound:
        found = None
    assert await store.missing_manifests(repository, [digest]) == ([digest] if found is None else [])
    return found


async def target(store: Store, repository: RepositoryName, tag: Tag) -> Digest | None:
    """What a tag points to; None where there is no such tag."""
    try:
        return await store.resolve_tag(repository, tag)
    except NotFound:
        return None


async def tags_of(store: Store, repository: RepositoryName) -> list[str] | None:
    """All tags; None where there is no such repository."""
    try:
        return await store.list_tags(repository, "", 1000)
    except NotFound:
        return None


def descriptors(subject: Digest, samples: Sequence[Sample]) -> list[bytes]:
    """The descriptors of those samples whose subject this is, by digest."""
    referrers = [
        each.manifest.referrer(each.digest) for each in sorted(samples, key=lambda each: each.digest)
    ]
    return [each.descriptor for each in referrers if each is not None and each.subject == subject]
