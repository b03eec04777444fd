"""What the registry asks of a store, in intents: each call is one atomic step, whatever it is made of below.

A store knows nothing of HTTP or of who asks. It says only: not found, conflict, unavailable; what a miss means is
for `registry` to say. Nothing above knows a path, apart from a `ContentFile`, which it hands to the server as it is.

Everything here can be written on a file system (locks and renames), and on an object store with a SQL database
(conditional puts and transactions). So there is no rename and no write of a link, and nothing is atomic across two
calls. A call that returns has made its effect durable: a power cut does not undo it, unless it says otherwise.
"""

from __future__ import annotations

import sys
from typing import TYPE_CHECKING, Protocol

import msgspec

from cargohold.storage.inventory import Inventory
from cargohold.storage.trash import DELETED, TAG_DELETED

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Sequence
    from contextlib import AbstractAsyncContextManager

    from cargohold.storage.trash import Cause, Trashed
    from cargohold.types.digest import Algorithm, Digest
    from cargohold.types.names import RepositoryName, Tag, UploadId
    from cargohold.types.oci import Manifest
    from cargohold.types.quotas import Quota


class StoreError(Exception):
    """A store could not do what was asked."""


class NotFound(StoreError):
    """What was named is not there."""


class Conflict(StoreError):
    """What is there is not what the caller took for granted; nothing was changed."""


class DigestMismatch(Conflict):
    """The bytes of an upload are not those of the digest; the session is gone."""


class Incomplete(Conflict):
    """A manifest references what its repository does not hold; nothing was changed."""

    def __init__(self, missing: Sequence[Digest]) -> None:
        super().__init__(f"{len(missing)} of what is referenced is not there")
        self.missing = list(missing)


class TagFixed(Conflict):
    """A tag must not be moved, and points to another manifest, `digest`; nothing was changed."""

    def __init__(self, tag: Tag, digest: Digest) -> None:
        super().__init__(f"{tag} stays at {digest}")
        self.tag = tag
        self.digest = digest


class Changed(Conflict):
    """Somebody has changed what the caller has looked at; nothing was done, and it is to be looked at again."""


class OverQuota(StoreError):
    """What was to be stored does not fit into a quota, of whose bytes so many are `used`; nothing was changed.

    It is that of the `repository` alone, or (None) of all that match. `more` bytes were to be stored.
    """

    def __init__(self, quota: Quota, repository: RepositoryName | None, used: int, more: int) -> None:
        super().__init__(quota.shortage(repository, used, more))
        self.quota = quota
        self.repository = repository
        self.used = used
        self.more = more


class Unavailable(StoreError):
    """The store cannot answer now: an I/O error, or a lock that was not to be had in time."""


class Unreadable(Unavailable):
    """A repository holds something that cannot be read, so that nobody knows what it needs."""


class Full(Unavailable):
    """No room is left; reads go on."""


class ContentFile(msgspec.Struct, frozen=True):
    """Content that lies in a local file, `size` bytes long."""

    path: str
    size: int


class ContentBytes(msgspec.Struct, frozen=True):
    """Content that is at hand in memory."""

    data: bytes

    @property
    def size(self) -> int:
        """The length in bytes."""
        return len(self.data)


Content = ContentFile | ContentBytes


class Totals(msgspec.Struct, frozen=True):
    """How much a store holds: bytes of content, upload sessions that are open, repositories that hold a manifest.

    `counted` is when all of it was last looked at, in seconds since the epoch; what we did since is in it.
    """

    content: int
    uploads: int
    repositories: int
    counted: float


class Room(msgspec.Struct, frozen=True):
    """Bytes that a store can still take, and that it could take if it were empty."""

    free: int
    whole: int


class View(Protocol):
    """Which repositories there are for somebody; None in its place: all.

    Those that are equal see the same, as long as they live: what they see may be kept.
    """

    def __call__(self, repository: RepositoryName, /) -> bool:
        """Whether the repository is one of them. Pure and quick; called in any thread."""
        ...

    def __hash__(self) -> int: ...


class BlobStore(Protocol):
    """The blobs of each repository. Content is kept once; a repository sees what was pushed or mounted to it."""

    async def find_blob(self, repository: RepositoryName, digest: Digest) -> Content:
        """The content of a blob of this repository. Raises NotFound."""
        ...

    async def lease_blob(self, repository: RepositoryName, digest: Digest) -> Content:
        """As `find_blob`; and the blob is not collected within the grace time, whether anything refers to it or not."""
        ...

    async def missing_blobs(self, repository: RepositoryName, digests: Sequence[Digest]) -> list[Digest]:
        """Those of the digests that are no blob of this repository, in their order."""
        ...

    async def mount_blob(
        self,
        digest: Digest,
        source: RepositoryName | None,
        target: RepositoryName,
        visible: View | None = None,
    ) -> None:
        """Make a blob of `source` (None: of any repository that is `visible`) one of `target`, copying nothing.

        It is leased there, as by `lease_blob`. Raises NotFound where the source does not hold it, and OverQuota. How
        long it takes tells nothing of what repositories that are not visible hold.
        """
        ...

    async def delete_blob(self, repository: RepositoryName, digest: Digest) -> None:
        """Take the blob from this repository; the content stays, other repositories keep theirs. Raises NotFound."""
        ...


class UploadWriter(Protocol):
    """One client's hold on the end of an upload session. Several may exist; only the one at the end can write."""

    @property
    def offset(self) -> int:
        """How many bytes the session holds after what this writer has written."""
        ...

    async def write(self, piece: bytes | memoryview) -> None:
        """Add bytes at the end; they may be held back (at most 2 MiB) until the writer is left.

        Raises Conflict where the session has grown or gone since, and OverQuota where there is no room for what is
        held back, of which nothing is kept; then and at every later call.
        """
        ...


class UploadStore(Protocol):
    """Upload sessions: bytes that grow at their end, until they become a blob.

    What a writer has written survives the death of any process when the writer has been left, though not a power
    cut; a committed blob survives both.
    """

    async def create_upload(self, repository: RepositoryName, algorithm: Algorithm) -> UploadId:
        """Start a session; `algorithm` is what its content will be hashed with, if the client said so rightly.

        Raises OverQuota where there is no room for a single byte.
        """
        ...

    async def upload_size(self, repository: RepositoryName, upload: UploadId) -> int:
        """How many bytes the session holds. Raises NotFound."""
        ...

    def append_upload(  # noqa: PLR0913 - what is known of a body before it comes
        self,
        repository: RepositoryName,
        upload: UploadId,
        offset: int | None,
        length: int = 0,
        *,
        last: bool = False,
        known: Digest | None = None,
    ) -> AbstractAsyncContextManager[UploadWriter]:
        """A writer at the session's end. Entering raises NotFound, or Conflict where `offset` is not the end.

        Raises OverQuota where there is no room now for as many bytes as are going to be written (`length`; 0 where
        that is not known). Leaving it, by whatever way, first puts down what it has taken; that can raise what
        `write` does. After the `last` one `commit_upload` must follow, which is given it and may be what puts down a
        rest: nothing needs to be kept that would only save another time. Where it is said to complete the digest
        `known`, and the store has that, it needs not be kept at all: for who may know whether anybody has it.
        """
        ...

    async def commit_upload(
        self,
        repository: RepositoryName,
        upload: UploadId,
        digest: Digest,
        size: int,
        *,
        after: UploadWriter | None = None,
    ) -> None:
        """Make the session's bytes a blob of the repository, leased as by `lease_blob`, and end the session.

        What a writer that has just been left (`after`) knows of the bytes need not be found out again. Raises
        NotFound; OverQuota, as leaving the writer does; Conflict where the session does not hold `size` bytes (it
        stays); DigestMismatch; Unavailable, after which the session is there, unless bytes that it seems to hold may
        be lost.
        """
        ...

    async def cancel_upload(self, repository: RepositoryName, upload: UploadId) -> None:
        """End the session and drop its bytes. Raises NotFound."""
        ...

    async def expire_uploads(self, idle: float) -> int:
        """End the sessions that have not grown for `idle` seconds; how many. One process at a time; 0 for others."""
        ...


class MetadataStore(Protocol):
    """Manifests, tags, and what refers to what."""

    async def resolve_tag(self, repository: RepositoryName, tag: Tag) -> Digest:
        """The digest that the tag points to. Raises NotFound."""
        ...

    async def read_manifest(self, repository: RepositoryName, digest: Digest) -> bytes:
        """The bytes of a manifest of this repository. Raises NotFound."""
        ...

    async def lease_manifest(
        self, repository: RepositoryName, digest: Digest, patience: float | None = None
    ) -> None:
        """The manifest is not collected within the grace time, whether a tag leads to it or not.

        Raises NotFound; TimeoutError where that must wait for others for longer than `patience` seconds.
        """
        ...

    async def missing_manifests(self, repository: RepositoryName, digests: Sequence[Digest]) -> list[Digest]:
        """Those of the digests that are no manifest of this repository, in their order."""
        ...

    async def commit_manifest(  # noqa: PLR0913 - all that is one step
        self,
        repository: RepositoryName,
        digest: Digest,
        manifest: Manifest,
        tags: Sequence[Tag],
        *,
        complete: bool = False,
        fixed: Callable[[Tag], bool] | None = None,
    ) -> None:
        """Store the manifest, list it under its subject, and move the tags to it, in this order.

        A reader who sees a tag sees its manifest. The last of two who move one tag at once wins; raises TagFixed
        where a tag that is `fixed` would be moved. Where it must be `complete`, raises Incomplete if a blob that it
        references is none of the repository's, or a child is neither a manifest nor a blob of it. Whatever it
        references, that is there, is leased in the same step: it is there when the manifest is. Raises OverQuota.
        """
        ...

    async def delete_manifest(
        self, repository: RepositoryName, digest: Digest, cause: Cause = DELETED
    ) -> list[Tag]:
        """Remove the manifest and every tag that points to it, which are returned. Raises NotFound.

        Against a `commit_manifest` of the same digest it comes wholly before or wholly after: no tag is left that
        points to nothing. Blobs stay. It has a record in the repository's trash before anything is removed.
        """
        ...

    async def delete_tag(self, repository: RepositoryName, tag: Tag, cause: Cause = TAG_DELETED) -> None:
        """Remove the tag alone, of which there is a record then as well. Raises NotFound."""
        ...

    async def list_tags(self, repository: RepositoryName, after: str, limit: int) -> list[str]:
        """At most `limit` tags that sort after `after`, by their bytes. Raises NotFound: no such repository."""
        ...

    async def list_repositories(
        self, after: str, limit: int, visible: View | None = None
    ) -> list[RepositoryName]:
        """At most `limit` repositories that sort after `after`, by their bytes: those that hold a manifest.

        Of those that are `visible` alone. How long it takes does not tell how many are not, or where they sort.
        """
        ...

    async def list_referrers(
        self,
        repository: RepositoryName,
        subject: Digest,
        *,
        after: str = "",
        artifact_type: str | None = None,
        room: int = sys.maxsize,
    ) -> list[bytes]:
        """The descriptors (JSON, as `oci.Referrer` makes them) of the manifests whose subject this is, by digest.

        Those that another server stored are among them. Empty for what is not known. Of those whose digest sorts
        after `after`, and whose artifact type is the one given, as many as `room` bytes hold (one at least), and one
        more.
        """
        ...


class TrashStore(Protocol):
    """What was deleted, as it is written down. A deletion that did not come about may have a record too."""

    async def trashed_repositories(self) -> list[RepositoryName]:
        """Those in whose trash there is something, by their bytes; what they hold besides does not matter."""
        ...

    async def read_trash(self, repository: RepositoryName) -> Trashed:
        """All that is in a repository's trash, also what cannot be undone any more; nothing for an unknown one."""
        ...

    async def read_deleted(self, repository: RepositoryName, digest: Digest) -> bytes:
        """The bytes of a manifest that the repository holds, or that its trash has a record of. Raises NotFound.

        They may be gone where it cannot be restored any more.
        """
        ...

    async def drop_records(self, repository: RepositoryName, names: Iterable[str]) -> None:
        """Forget these deletions; those that are forgotten already are passed over. It need not be durable."""
        ...

    async def end_records(self, repository: RepositoryName, before: float) -> int:
        """Let what was deleted earlier (seconds since the epoch) be undone no more; how many records. As `ended`.

        They stay for as long as who is just pulling may take to end.
        """
        ...


class Trial(Protocol):
    """Whether the store can be used, found out by using it. Neither call changes what others see."""

    async def try_reading(self) -> None:
        """Read something. Raises Unavailable; on a disk that hangs, does not return."""
        ...

    async def try_writing(self) -> None:
        """Write something small, read it back and remove it. It need not be durable. Raises as `try_reading`; Full."""
        ...


class Store(BlobStore, UploadStore, MetadataStore, TrashStore, Trial, Inventory, Protocol):
    """All that the registry needs."""
