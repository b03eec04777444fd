"""What the garbage collector asks of a store, beside `storage.protocols`."""

from __future__ import annotations

from typing import TYPE_CHECKING, Protocol

import msgspec

from cargohold.types.digest import Digest
from cargohold.types.names import RepositoryName

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping
    from collections.abc import Set as AbstractSet

    from cargohold.storage.trash import Cause


class Collected(msgspec.Struct, frozen=True):
    """Something that was collected, or would be: a "manifest", the "link" of a blob to a repository, or a "blob".

    A blob is content, which is of no repository any more; its `size` is in bytes, as is that of what a link led to.
    """

    kind: str
    repository: RepositoryName | None
    digest: Digest
    size: int
    why: str = ""


class Known(msgspec.Struct, frozen=True):
    """A manifest as the collector sees it: what it mentions that is a manifest of its repository, and its subject.

    Digests are packed (`types.mentions`). `leased` is when somebody last asked for it, in seconds since the epoch;
    `size` is in bytes.
    """

    leased: float
    size: int
    mentions: tuple[bytes, ...]
    subject: bytes | None


class Held(msgspec.Struct, frozen=True):
    """All manifests of a repository, the targets of its tags, and what is in its trash; digests are packed.

    `trashed` can still be restored, or pulled to its end; `gone` cannot any more. `state` tells whether any was stored
    or tagged since: a number that is never the same again. `began` is a time before all of this was looked at (seconds
    since the epoch), by the clock of leases; 0, where it is not known.
    """

    manifests: dict[bytes, Known]
    tagged: set[bytes]
    trashed: dict[bytes, Known]
    gone: set[bytes]
    state: int
    began: float = 0.0


class Collection(Protocol):
    """One run of the garbage collector, of one thread. Each call may take long, and rests in between.

    First all repositories are gone through, then content; whoever takes something away looks, in one step with it,
    whether somebody has leased it meanwhile.
    """

    @property
    def is_resumed(self) -> bool:
        """Whether it goes on from where another was broken off."""
        ...

    def repositories(self) -> Iterator[RepositoryName]:
        """Those that are still to be gone through."""
        ...

    @property
    def unlisted(self) -> Mapping[str, str]:
        """The names of what could not be listed, and why: while there is any, no content is collected."""
        ...

    def has_gone(self, repository: RepositoryName) -> bool:
        """Whether something in the repository's trash cannot be restored any more."""
        ...

    def manifests(self, repository: RepositoryName) -> Held:
        """What the repository holds. Raises Unreadable, and Unavailable."""
        ...

    def remove(  # noqa: PLR0913 - what is removed, and on which condition
        self,
        repository: RepositoryName,
        digest: Digest,
        cause: Cause,
        *,
        state: int,
        since: float,
        kin: AbstractSet[bytes],
    ) -> None:
        """Delete a manifest, into the trash.

        Raises Changed where it has been leased, or any has been stored or tagged since that `state` and this one, or
        one of its `kin` (packed digests), has been leased `since` (seconds since the epoch).
        """
        ...

    def purge(self, repository: RepositoryName, now: float, awaited: AbstractSet[bytes]) -> int:
        """Remove what cannot be restored any more by `now` from the repository's trash; how many deletions.

        Those of the `awaited` manifests (packed digests) stay.
        """
        ...

    def collect_links(self, repository: RepositoryName) -> None:
        """Take away its links to blobs that nothing needs. Raises Unreadable where all or some have to stay."""
        ...

    def collect_content(self) -> Mapping[str, str]:
        """Take away content that no repository links, after `collect_links` of all of them; if none is `unlisted`.

        Gives the parts of it in which something could not be taken away, and why not.
        """
        ...

    def leave(self) -> None:
        """Put down what was found so far, for another run to go on from."""
        ...
