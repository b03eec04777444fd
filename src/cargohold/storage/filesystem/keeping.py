"""Tags as retention looks at them, and removes them."""

from __future__ import annotations

import logging
import os
from typing import TYPE_CHECKING, Final

from cargohold.storage.filesystem.collection import manifests
from cargohold.storage.filesystem.tree import read_link, store_error, told
from cargohold.storage.filesystem.walk import repositories_and_aliases
from cargohold.storage.keeping import TagState
from cargohold.storage.protocols import Changed, NotFound
from cargohold.storage.trash import Cause, Why

if TYPE_CHECKING:
    from collections.abc import Iterator

    from cargohold.storage.collecting import Held
    from cargohold.storage.filesystem import FilesystemStore
    from cargohold.storage.filesystem.pace import Pace
    from cargohold.storage.keeping import Recording
    from cargohold.types.digest import Digest
    from cargohold.types.names import RepositoryName, Tag

_CAUSE: Final = Cause(Why.RETENTION)
_LOCK_SECONDS: Final = 1.0

_log = logging.getLogger(__name__)


class FileKeeper:
    """See `storage.keeping.Keeper`. For one thread. One that `is_dry` is for who changes nothing."""

    def __init__(self, store: FilesystemStore, pace: Pace, *, is_dry: bool = False) -> None:
        self._store = store
        self._pace = pace
        self._is_dry = is_dry

    def repositories(self) -> Iterator[RepositoryName]:
        """All that can be listed, but for those that have two names, by a symbolic link, and so two locks."""
        with told():
            for name, has_two in repositories_and_aliases(
                self._store.layout.repositories, self._pace.step, _tell
            ):
                if not has_two:
                    yield name

    def recording(self, repository: RepositoryName | None = None) -> Recording:
        """When pulls were recorded."""
        return self._store.recording(repository)

    def begin_record(self, repository: RepositoryName) -> None:
        """Say that the repository has a record from now on, unless it has one already."""
        self._store.begin_record(repository)

    def tag_states(self, repository: RepositoryName) -> list[TagState]:
        """Its tags, in no order."""
        states: list[TagState] = []
        with told():
            for tag in self._store.tags_of(repository):
                self._pace.step()
                state = self._state(repository, tag)
                if state is not None:
                    states.append(state)
        return states

    def _state(self, repository: RepositoryName, tag: Tag) -> TagState | None:
        """None for a tag that is not there, or half made, or half removed."""
        link = self._store.layout.tag_current(repository, tag)
        digest = read_link(link)
        if digest is None:
            return None
        try:
            pushed = os.stat(link).st_mtime
        except FileNotFoundError:
            return None
        return TagState(tag, digest, pushed, self._store.pulled_at(repository, digest))

    def manifests(self, repository: RepositoryName) -> Held:
        """What the repository holds. Raises Unreadable."""
        with told():
            return manifests.held_by(self._store, repository, self._pace, is_dry=self._is_dry)

    def remove_manifest(self, repository: RepositoryName, digest: Digest, *, state: int, age: float) -> None:
        """See `storage.keeping.Keeper`."""
        self._pace.step()
        with told():
            manifests.remove(self._store, repository, digest, _CAUSE, state=state, age=age)

    def remove_tag(self, repository: RepositoryName, found: TagState) -> bool:
        """Remove a tag, and not what it points to, unless it was moved, pushed again or pulled; whether it is gone."""

        def require() -> None:
            if self._state(repository, found.tag) != found:
                raise Changed(found.tag)

        self._pace.step()
        with told():
            try:
                self._store.remove_tag(repository, found.tag, _CAUSE, None, require, _LOCK_SECONDS)
            except (Changed, NotFound):
                return self._state(repository, found.tag) is None
            return True

    def forget_pulls(self, repository: RepositoryName) -> None:
        """Drop what is recorded of manifests that are no longer there."""
        self._store.forget_pulls(repository)


def _tell(name: str, error: OSError) -> None:
    _log.warning("no rule of retention is applied in %s: %s", name, store_error(error))
