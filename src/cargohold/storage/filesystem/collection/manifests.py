"""The manifests of a repository as the collector must know them, and the removal of one that nothing needs."""

from __future__ import annotations

import math
import time
from typing import TYPE_CHECKING, Final

from cargohold.storage.collecting import Held, Known
from cargohold.storage.filesystem.collection.links import digests_in, noting
from cargohold.storage.filesystem.deletion import Asked
from cargohold.storage.filesystem.leases import leased_at
from cargohold.storage.filesystem.tree import exists, read_link
from cargohold.storage.locks import Busy
from cargohold.storage.proofs import is_exact, stamp
from cargohold.storage.protocols import Changed, Conflict, NotFound, StoreError, Unreadable
from cargohold.types.digest import Algorithm
from cargohold.types.mentions import mentioned, pack, unpack
from cargohold.types.oci import referrer_of

if TYPE_CHECKING:
    from collections.abc import Set as AbstractSet

    from cargohold.storage.filesystem import FilesystemStore
    from cargohold.storage.filesystem.pace import Pace
    from cargohold.storage.trash import Cause
    from cargohold.types.digest import Digest
    from cargohold.types.names import RepositoryName

_LOCK_SECONDS: Final = 1.0
_SLACK_SECONDS: Final = 0.1
"""By which the clock of a file server may be behind."""


def has_gone(store: FilesystemStore, repository: RepositoryName, *, grace: float | None = None) -> bool:
    """Whether the trash of a repository has something that cannot be restored any more; for `grace` see `purge`."""
    now, problems = time.time(), list[str]()
    return any(
        not store.is_alive(record, now, grace=grace)
        for record in store.records(repository, noting(problems), grace=grace)
    )


def held_by(
    store: FilesystemStore,
    repository: RepositoryName,
    pace: Pace,
    *,
    grace: float | None = None,
    is_dry: bool = False,
) -> Held:
    """What a repository holds now; for who changes nothing, if `is_dry`. Raises Unreadable, and Busy."""
    began = stamp() / 1e9 - _SLACK_SECONDS
    state = 0 if is_dry else _noted_state(store, repository)
    folders = [
        (path, digest)
        for algorithm in Algorithm
        for path, digest in digests_in(f"{store.layout.revisions(repository)}/{algorithm.value}", algorithm)
        if exists(f"{path}/link")
    ]
    names = {pack(digest) for _, digest in folders}
    manifests: dict[bytes, Known] = {}
    for path, digest in folders:
        manifests[pack(digest)] = _known(store, path, digest, names)
        pace.step()
    tagged: set[bytes] = set()
    for tag in store.tags_of(repository):
        target = read_link(store.layout.tag_current(repository, tag))
        if target is not None:
            tagged.add(pack(target))
        pace.step()
    alive, gone = _trash(store, repository, grace)
    trashed: dict[bytes, Known] = {}
    for digest in alive:
        # What is in the trash is restored with all that it refers to.
        folder = store.layout.revision(repository, digest)
        trashed[pack(digest)] = _known(store, folder, digest, names)
        pace.step()
    return Held(manifests, tagged, trashed, gone - trashed.keys(), state, began)


def _noted_state(store: FilesystemStore, repository: RepositoryName) -> int:
    with store.locks.hold(repository, seconds=_LOCK_SECONDS):
        # Nothing is half stored while the lock is held: what comes later changes the number.
        store.note_change(repository)
        state = store.state_of(repository)
    if state and not is_exact(state):
        raise Unreadable(
            "the file system keeps times without fractions of a millisecond: changes would be missed"
        )
    return state


def remove(  # noqa: PLR0913 - what is removed, and on which condition
    store: FilesystemStore,
    repository: RepositoryName,
    digest: Digest,
    cause: Cause,
    *,
    state: int,
    age: float = 0.0,
    since: float = 0.0,
    kin: AbstractSet[bytes] = frozenset(),
) -> None:
    """Delete a manifest into the trash.

    Raises Changed where it was leased in the last `age` seconds, or any has been stored or tagged since `state` and
    this one, or one of its `kin` (packed digests), was leased at `since` or later (seconds since the epoch): whoever
    stores or tags one leases it, and what it refers to. Raises Busy too.
    """
    folder = store.layout.revision(repository, digest)

    def has_ties() -> bool:
        return any(_leased(store, repository, each) >= since for each in {pack(digest), *kin})

    def require() -> None:
        is_leased = leased_at(folder, "link") >= time.time() - age
        if is_leased or (store.state_of(repository) != state and has_ties()):
            raise Changed(repository)

    (record,) = store.announce(repository, [Asked(digest, cause)])
    if isinstance(record, StoreError):
        raise record
    try:
        store.remove_manifest(repository, record, require, _LOCK_SECONDS)
    except (Busy, Conflict):
        store.drop_record(repository, record.name)
        raise


def _leased(store: FilesystemStore, repository: RepositoryName, packed: bytes) -> float:
    """When a manifest was leased; long ago, where it is not there."""
    folder = store.layout.revision(repository, unpack(packed))
    return leased_at(folder, "link") if exists(f"{folder}/link") else -math.inf


def _known(store: FilesystemStore, path: str, digest: Digest, names: set[bytes]) -> Known:
    try:
        content = store.read_content(digest)
    except StoreError as error:
        reason = "its content is missing" if isinstance(error, NotFound) else str(error)
        raise Unreadable(f"manifest {digest} cannot be read: {reason}") from None
    own = pack(digest)
    referrer = referrer_of(digest, content)
    return Known(
        leased_at(path, "link"),
        len(content),
        tuple(each for each in mentioned(content) if each in names and each != own),
        pack(referrer.subject) if referrer else None,
    )


def _trash(
    store: FilesystemStore, repository: RepositoryName, grace: float | None
) -> tuple[set[Digest], set[bytes]]:
    """What can still be restored, or pulled to its end; and what was deleted before that."""
    alive: set[Digest] = set()
    gone: set[bytes] = set()
    problems: list[str] = []
    now = time.time()
    for record in store.records(repository, noting(problems), grace=grace):
        if store.is_alive(record, now, grace=grace):
            alive.add(record.digest)
        else:
            gone.add(pack(record.digest))
    if problems:
        raise Unreadable(f"a record of the trash cannot be read: {problems[0]}")
    return alive, gone
