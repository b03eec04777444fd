"""Quotas: what may still be stored, found out so that nothing goes beyond them, whoever stores at the same time."""

from __future__ import annotations

import hashlib
import time
from contextlib import ExitStack, contextmanager, suppress
from functools import partial
from itertools import takewhile
from typing import TYPE_CHECKING, Final, NamedTuple, TypeVar

from cargohold.storage.filesystem.ledger import Entry, Ledger
from cargohold.storage.filesystem.sizes import Sizes
from cargohold.storage.filesystem.tree import Tree, told
from cargohold.storage.filesystem.walk import all_repositories
from cargohold.storage.locks import MOMENT, PATIENCE, Busy, StripedLocks, stripe_of
from cargohold.storage.protocols import Conflict, NotFound, OverQuota, Unavailable
from cargohold.types.errors import NameInvalid
from cargohold.types.names import RepositoryName
from cargohold.types.patterns import compile_pattern
from cargohold.types.quotas import QuotaUse

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable, Iterable, Iterator
    from contextlib import AbstractContextManager

    from cargohold.storage.filesystem.leases import Terms
    from cargohold.types.quotas import Quota

T = TypeVar("T")

_TRIES: Final = 8
_LONG: Final = 0.005
_LONG_SHARE: Final = 20


class _Group(NamedTuple):
    """The repositories that share the bytes of a quota: the one that it is about, or (None) all that match.

    Of all that match a quota of each, it is what the one uses that uses most: for who wants to know that.
    """

    quota: Quota
    repository: RepositoryName | None

    @property
    def ledger(self) -> str:
        """The name of its ledger: no repository's begins with a plus sign, or has a colon."""
        if self.repository is not None:
            return self.repository.replace("/", ":")
        kind = "+most-" if self.quota.each else "+"
        return kind + hashlib.sha256(self.quota.repository.encode()).hexdigest()


class UncountedError(Exception):
    """The tree is to be counted first; nothing was done. `over` is what is to be raised if it was, since `counted`."""

    def __init__(self, group: _Group, counted: float = 0.0, over: OverQuota | None = None) -> None:
        super().__init__(group)
        self.group = group
        self.counted = counted
        self.over = over


class FileUsage(Tree):
    """The part of the store that holds repositories to their quotas.

    The order of locks: those of quotas come before those of repositories, of content and of sessions. The lock of a
    ledger is held for the moment in which something is added to it, and while the tree is counted.
    """

    def __init__(self, root: str, terms: Terms | None = None) -> None:
        super().__init__(root, terms)
        self._sizes = Sizes(self.layout)
        self._ledgers = StripedLocks(f"{self.layout.locks}/quotas")
        self._at_once_from = float("-inf")

    def close(self) -> None:
        super().close()
        self._ledgers.close()

    def has_turn(self, repository: RepositoryName) -> bool:
        """Whether no other call of this process has its turn now, or waits for it (see `in_turn`)."""
        return not self._gates[stripe_of(repository)].locked()

    def at_once(self, repository: RepositoryName, call: Callable[[float], None]) -> bool:
        """Do in the event loop what locks a repository for microseconds: a thread would take ten times as long.

        False where it was not done: another holds the lock, or waits for it. The call is given the seconds to wait for
        the lock, and raises Busy. It should not have to wait for the disk; where it did, which takes a twentieth of the
        loop's time at the most, no more is done for a while.
        """
        began = time.monotonic()
        if began < self._at_once_from or not self.has_turn(repository):
            return False
        try:
            with told():
                call(0.0)
        except Busy:
            return False
        finally:
            took = time.monotonic() - began
            if took > _LONG:
                self._at_once_from = began + took * _LONG_SHARE
        return True

    async def counted(self, call: Callable[[], Awaitable[T]]) -> T:
        """What the call gives, which is made again when what it found uncounted has been counted.

        Raises OverQuota where the tree was counted since this began, and there was no room.
        """
        began = time.monotonic()
        for _ in range(_TRIES):
            try:
                return await call()
            except UncountedError as found:
                if found.over is not None and found.counted > began:
                    raise found.over from None
                group = found.group
            count = partial(self.in_background, self._count_use, group)
            await self.turns.result(group.ledger, count, PATIENCE)
        raise Unavailable("the use of a quota could not be counted in time")

    @contextmanager
    def taking(self, repository: RepositoryName, more: Callable[[], int]) -> Iterator[None]:
        """Store so many bytes in the block; `more` says how many, in the moment in which they are added.

        None, where bytes only move from one place to another: nobody looks for them meanwhile. Raises UncountedError
        and Busy; where the block raises Busy, Conflict or NotFound, nothing was stored.
        """
        groups = self._groups(repository)
        if not groups:
            yield
            return
        with ExitStack() as held:
            with self._locked(groups):
                ledgers = [held.enter_context(self._ledger(group)) for group in groups]
                if not all(ledger.share() for ledger in ledgers):
                    raise Busy("the use of a quota is being counted")
                size = more()
                _add(ledgers, _entries(groups, ledgers, size), size)
            try:
                yield
            except (Busy, Conflict, NotFound):
                if size:
                    self._give_back(groups, ledgers, size)
                raise

    def _give_back(self, groups: list[_Group], ledgers: list[Ledger], size: int) -> None:
        """Nobody has counted meanwhile, for we hold the ledgers; who waits for us to count will find it anyway."""
        with suppress(Busy), self._locked(groups, seconds=0):
            for ledger in ledgers:
                entry = ledger.read()
                if entry is not None:
                    _add([ledger], [entry], -size)

    async def require_room(self, repository: RepositoryName, size: int) -> None:
        """Look whether so many bytes, and one at least, could be stored now. Raises OverQuota."""
        groups = self._groups(repository)
        if groups:
            await self.counted(partial(self.patiently, self._require_room, groups, size or 1))

    def _require_room(self, groups: list[_Group], size: int) -> None:
        with ExitStack() as held, self._locked(groups):
            _entries(groups, [held.enter_context(self._ledger(group)) for group in groups], size)

    async def quota_use(self) -> list[QuotaUse]:
        """See `storage.inventory.Inventory`."""
        found = []
        for quota in self.terms.quotas.effective():
            known = partial(self.patiently, self._known_use, _Group(quota, None))
            found.append(QuotaUse(quota, await self.counted(known)))
        return found

    def _known_use(self, group: _Group) -> int:
        with self._locked([group]), self._ledger(group) as ledger:
            entry = ledger.read()
        if entry is None:
            raise UncountedError(group)
        return entry.used

    def _groups(self, repository: RepositoryName) -> list[_Group]:
        """Of several quotas of the same repositories, the smallest holds."""
        found: dict[str, _Group] = {}
        for quota in self.terms.quotas.of(repository):
            group = _Group(quota, repository if quota.each else None)
            known = found.get(group.ledger)
            if known is None or quota.bytes < known.quota.bytes:
                found[group.ledger] = group
        return list(found.values())

    def _ledger(self, group: _Group) -> Ledger:
        return Ledger(f"{self.layout.quotas}/{group.ledger}")

    def _locked(self, groups: list[_Group], seconds: float = MOMENT) -> AbstractContextManager[None]:
        return self._ledgers.hold(*(group.ledger for group in groups), seconds=seconds)

    def _count_use(self, group: _Group) -> None:
        """Once beside those who store, so that the second time, which they wait for, takes a moment."""
        self._used(group)
        with (
            self._locked([group], PATIENCE),
            self._ledger(group) as ledger,
            ledger.alone(PATIENCE),
        ):
            began = time.monotonic()
            ledger.write(Entry.of(self._used(group), began))

    def _used(self, group: _Group) -> int:
        sizes = map(self._size_of, self._members(group))
        return max(sizes, default=0) if group.quota.each else sum(sizes)

    def _size_of(self, repository: RepositoryName) -> int:
        if self.closing:
            raise Unavailable("the server is stopping")
        return self._sizes.of(repository)

    def _members(self, group: _Group) -> Iterable[RepositoryName]:
        if group.repository is not None:
            return [group.repository]
        pattern = group.quota.repository
        start = "/".join(takewhile(lambda segment: "*" not in segment, pattern.split("/")))
        try:
            found = all_repositories(self.layout.repositories, RepositoryName(start) if start else None)
        except NameInvalid:
            return []
        matches = compile_pattern(pattern)
        return (repository for repository, _ in found if matches(repository))


def _entries(groups: list[_Group], ledgers: list[Ledger], size: int) -> list[Entry]:
    """What is known of the groups' use, in which there is room for so many bytes. Raises UncountedError."""
    if not size:
        return []
    entries = []
    for group, ledger in zip(groups, ledgers, strict=True):
        entry = ledger.read()
        if entry is None:
            raise UncountedError(group)
        if entry.used + size > group.quota.bytes:
            over = OverQuota(group.quota, group.repository, entry.used, size)
            raise UncountedError(group, entry.counted, over)
        entries.append(entry)
    return entries


def _add(ledgers: list[Ledger], entries: list[Entry], size: int) -> None:
    for ledger, entry in zip(ledgers, entries, strict=False):
        ledger.write(entry._replace(used=entry.used + size))
