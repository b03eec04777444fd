"""When manifests are pulled, noted where a rule of retention asks for it."""

from __future__ import annotations

import logging
import time
from typing import TYPE_CHECKING, Final

from cargohold.registry.rounds import Rounds
from cargohold.storage.keeping import BEAT_SECONDS
from cargohold.storage.protocols import StoreError

if TYPE_CHECKING:
    from cargohold.registry.retention import Rules
    from cargohold.storage.keeping import PullStore
    from cargohold.types.digest import Digest
    from cargohold.types.names import RepositoryName

_REPOSITORIES: Final = 16_384
_MANIFESTS: Final = 65_536
_NEVER: Final = 0.0

_log = logging.getLogger(__name__)


class Pulls:
    """Notes pulls in a store, one of the same manifest no more often than the rules need it. For one event loop."""

    def __init__(self, store: PullStore, rules: Rules) -> None:
        self._store = store
        self._rules = rules
        self._pauses: dict[RepositoryName, float] = {}
        self._next: dict[tuple[RepositoryName, Digest], float] = {}
        self._fails = False

    def is_due(self, repository: RepositoryName, digest: Digest) -> bool:
        """Whether a pull is to be noted; who asks will do so, and for a while nobody else need."""
        pause = self._pauses.get(repository)
        if pause is None:
            if len(self._pauses) >= _REPOSITORIES:
                self._pauses.clear()
            pause = self._pauses[repository] = self._rules.pause(repository) or _NEVER
        if pause == _NEVER:
            return False
        now, pulled = time.monotonic(), (repository, digest)
        if now < self._next.get(pulled, now):
            return False
        if len(self._next) >= _MANIFESTS:
            # What is noted too often does no harm.
            self._next.clear()
        self._next[pulled] = now + pause
        return True

    async def note(self, repository: RepositoryName, digest: Digest) -> None:
        """Note a pull. Where that fails the pull goes on, and the log tells of the first failure of several."""
        try:
            await self._store.note_pull(repository, digest)
        except StoreError as error:
            if not self._fails:
                _log.warning("when manifests are pulled cannot be noted: %s", error)
            self._fails = True
        else:
            self._fails = False


class Recorder(Rounds):
    """Says again and again that pulls are being noted."""

    def __init__(self, store: PullStore, rules: Rules) -> None:
        super().__init__(BEAT_SECONDS, at_once=False, purpose="the record of when pulls are noted")
        self._store = store
        self._rules = rules

    async def _round(self) -> None:
        try:
            await self._store.go_on_recording(self._rules.recorded)
        except StoreError as error:
            _log.warning("that pulls are being noted cannot be written down: %s", error)
