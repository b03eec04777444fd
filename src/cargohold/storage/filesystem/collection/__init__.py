"""Collecting what nothing needs any more, while clients push and pull.

A run looks at one repository after the other: which of its manifests nobody needs is for others to say, and for
`manifests` to find out and carry out; links of blobs that no manifest mentions go (`links`); and all digests that are
linked are noted (`linked`). Then content that is not linked goes (`content`). It rests on leases, and on who looks at
them under which lock (`filesystem.leases`).
"""

from __future__ import annotations

import os
from contextlib import contextmanager
from typing import TYPE_CHECKING

from cargohold.storage.filesystem.collection import content, manifests
from cargohold.storage.filesystem.collection.content import ContentSweep
from cargohold.storage.filesystem.collection.links import LinkSweep
from cargohold.storage.filesystem.collection.run import Run
from cargohold.storage.filesystem.tree import exists, store_error, told
from cargohold.storage.filesystem.walk import repositories_and_aliases
from cargohold.storage.locks import open_lock, try_lock
from cargohold.storage.protocols import Unreadable

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Mapping
    from collections.abc import Set as AbstractSet

    from cargohold.storage.collecting import Collected, Held
    from cargohold.storage.filesystem import FilesystemStore
    from cargohold.storage.filesystem.pace import Pace
    from cargohold.storage.trash import Cause
    from cargohold.types.digest import Digest
    from cargohold.types.names import RepositoryName


class FileCollection:
    """One run; see `storage.collecting.Collection`. For one thread.

    `age` is how old a lease must be, and `grace` for how long what was deleted stays for those who are pulling it (that
    of the store's terms, if None); in seconds. One that `is_dry` changes nothing.
    """

    def __init__(  # noqa: PLR0913 - what a run is made of
        self,
        store: FilesystemStore,
        pace: Pace,
        found: Callable[[Collected], None],
        *,
        age: float,
        grace: float | None = None,
        is_dry: bool,
    ) -> None:
        self._store = store
        self._pace = pace
        self._age = age
        self._grace = grace
        self._is_dry = is_dry
        self._unlisted: dict[str, str] = {}
        self._run = Run(store.layout.gc, age=age, is_dry=is_dry)
        self._links = LinkSweep(store, self._run.linked, pace, found, age=age, grace=grace, is_dry=is_dry)
        self._content = ContentSweep(store, self._run, pace, found, is_dry=is_dry)

    @property
    def is_resumed(self) -> bool:
        """Whether it goes on from where another was broken off."""
        return self._run.is_resumed

    def repositories(self) -> Iterator[RepositoryName]:
        """All that are there, but for those that a run which was broken off has done.

        In one that has two names, and so two locks, nothing is collected. All of its links are noted here.
        Raises Void, as `collect_content` does, where what is known may not be so any more.
        """
        self._keep_nameless()
        if not exists(self._store.layout.repositories) and exists(self._store.layout.blobs):
            self._unlisted["repositories"] = "there is no such folder"
        found = repositories_and_aliases(self._store.layout.repositories, self._pace.step, self._cannot_list)
        for name, has_two in found:
            self._run.check()
            if has_two:
                self._keep_all(name)
            elif not self._run.is_done(name):
                yield name

    def _keep_all(self, repository: RepositoryName) -> bool:
        """Whether all that it links to could be noted."""
        try:
            self._links.keep_all(repository)
        except OSError as error:
            self._cannot_list(repository, error)
            return False
        return True

    def _keep_nameless(self) -> None:
        try:
            self._links.keep_nameless()
        except OSError as error:
            self._cannot_list(str(error.filename), error)

    def _cannot_list(self, name: str, error: OSError) -> None:
        self._unlisted[name] = str(store_error(error))

    @property
    def unlisted(self) -> Mapping[str, str]:
        """The names of what could not be listed, and why: while there is any, no content is collected."""
        return self._unlisted

    def has_gone(self, repository: RepositoryName) -> bool:
        """Whether something in the repository's trash cannot be restored any more."""
        with told():
            return manifests.has_gone(self._store, repository, grace=self._grace)

    def manifests(self, repository: RepositoryName) -> Held:
        """What the repository holds. Raises Unreadable, and Unavailable."""
        with told():
            return manifests.held_by(
                self._store, repository, self._pace, grace=self._grace, is_dry=self._is_dry
            )

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
        """Delete a manifest, into the trash; see `storage.collecting.Collection`."""
        with told():
            manifests.remove(
                self._store, repository, digest, cause, state=state, age=self._age, since=since, kin=kin
            )

    def purge(self, repository: RepositoryName, now: float, awaited: AbstractSet[bytes]) -> int:
        """Remove what cannot be restored any more from the repository's trash; how many deletions.

        Those of the `awaited` manifests (packed digests) stay.
        """
        with told():
            return self._store.purge(repository, now, grace=self._grace, awaited=awaited)

    def collect_links(self, repository: RepositoryName) -> None:
        """Take away its links that nothing needs. Raises Unreadable; then all stay."""
        try:
            self._links.sweep(repository)
        except Unreadable:
            self._run.note_done(repository)
            raise
        except OSError as error:
            if self._keep_all(repository):
                self._run.note_done(repository)
            raise Unreadable(str(store_error(error))) from error
        self._run.note_done(repository)

    def collect_content(self) -> dict[str, str]:
        """Take away content that no repository links; when `collect_links` has been called for all of them.

        Gives the parts of it in which something could not be taken away, and why not.
        """
        # Once more: one may have been hidden since it would have been looked at.
        self._keep_nameless()
        left = {} if self._unlisted else self._content.sweep()
        self._run.end()
        return left

    def leave(self) -> None:
        """Put down what was found so far, for another run to go on from."""
        self._run.save()

    def drop(self) -> None:
        """Leave nothing to go on from: it may not be so any more."""
        self._run.end()


@contextmanager
def alone(store: FilesystemStore) -> Iterator[bool]:
    """Hold the collector's lock; gives whether it was to be had."""
    descriptor = open_lock(store.layout.collector_lock)
    try:
        yield try_lock(descriptor)
    finally:
        os.close(descriptor)


def empty(store: FilesystemStore, pace: Pace) -> int:
    """Remove from the disk what was collected half a minute ago or earlier; how many bytes."""
    return content.empty(store, pace)
