"""Upload sessions that become blobs: those of up to a mebibyte that end together, in one repository, by one change.

All is hashed and synced without a lock: the bytes below a session's end never change, and the end is looked at under
the locks.
"""

from __future__ import annotations

from contextlib import ExitStack, suppress
from functools import partial
from typing import TYPE_CHECKING, NamedTuple

from cargohold.storage.batches import Batches
from cargohold.storage.change import Change
from cargohold.storage.filesystem.blobs import FileBlobs, GoneError, Link
from cargohold.storage.filesystem.session import SMALL
from cargohold.storage.filesystem.tree import exists, size_of, store_error
from cargohold.storage.filesystem.usage import UncountedError
from cargohold.storage.filesystem.writer import WHOLE
from cargohold.storage.locks import Busy
from cargohold.storage.protocols import Conflict, NotFound, StoreError, Unavailable

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from cargohold.storage.filesystem.leases import Terms
    from cargohold.storage.filesystem.session import FileSession
    from cargohold.types.digest import Digest
    from cargohold.types.names import RepositoryName

_AT_ONCE = 16
_RETRIES = 8


class Ending(NamedTuple):
    """A session that shall become a blob of `size` bytes, and holds `held`: fewer, where the store had them already.

    `check` is called once before anything is done, in a thread; it puts down and hashes what is still to be. What it
    raises is raised to who asked: Busy and UncountedError too.
    """

    session: FileSession
    digest: Digest
    size: int
    held: int
    check: Callable[[], None]


class _Kind(NamedTuple):
    """Those that end together: what is small waits for nothing else."""

    repository: RepositoryName
    are_small: bool


class _ApartError(Exception):
    """Something is in the way of one of several: who is told this is to try it by himself."""


class _Batch:
    """Sessions that end in a repository, and the change that stores their blobs: of each digest one link, and one file.

    By their numbers, those that are `refused` are left as they are, those that are `leaving` were locked, so that
    nobody else has ended them, and those that have `ended` are stored, though something was in the way of others.
    """

    def __init__(self, repository: RepositoryName, endings: Sequence[Ending], change: Change) -> None:
        self.repository = repository
        self.endings = endings
        self.refused: dict[int, Exception] = {}
        self.leaving: set[int] = set()
        self.ended: set[int] = set()
        self._is_checked = False
        self.begin(change)

    def begin(self, change: Change) -> None:
        """Anew, where something was not there any more that was taken for granted."""
        self.change = change
        self.links: dict[Digest, Link] = {}

    def check(self) -> None:
        """Once for all. Of those that end one session the first goes on, and the others are to see for themselves."""
        if self._is_checked:
            return
        self._is_checked = True
        seen: set[str] = set()
        for number, ending in enumerate(self.endings):
            if ending.session.folder in seen:
                self.refused[number] = _ApartError()
                continue
            seen.add(ending.session.folder)
            try:
                ending.check()
            except (StoreError, UncountedError) as error:
                self.refused[number] = error
            except OSError as error:
                self.refused[number] = store_error(error)

    @property
    def accepted(self) -> dict[int, Ending]:
        """Those that are to be stored, by their numbers."""
        return {number: ending for number, ending in enumerate(self.endings) if number not in self.refused}

    def leave(self, number: int, ending: Ending, leaving: ExitStack) -> None:
        """Begin to end a session. Raises what `FileSession.leaving` does; Busy for one alone.

        Nobody waits with others for a session of somebody else's that is being written to: that is Conflict.
        """
        try:
            leaving.enter_context(ending.session.leaving(ending.held))
        except Busy:
            if len(self.endings) == 1:
                raise
            raise Conflict("a session is being written to") from None
        self.leaving.add(number)

    def refuse(self, error: OSError) -> None:
        """Refuse all: the system may have forgotten what it could not write."""
        for number in range(len(self.endings)):
            self.refused.setdefault(number, store_error(error))


class FileEndings(FileBlobs):
    """The part of the store that makes blobs of upload sessions."""

    def __init__(self, root: str, terms: Terms | None = None) -> None:
        super().__init__(root, terms)
        self._endings: Batches[_Kind, Ending, None] = Batches(self._end_all, _AT_ONCE)

    async def make_blob(self, repository: RepositoryName, ending: Ending) -> None:
        """End a session. Where anything is raised it may be there still, and is unless its bytes are in their place."""
        kind = _Kind(repository, ending.size <= SMALL)
        if ending.size <= WHOLE:
            with suppress(_ApartError):
                await self._endings.result(kind, ending)
                return
        refusal = (await self._end_all(kind, [ending]))[0]
        if refusal is not None:
            raise refusal

    async def _end_all(self, kind: _Kind, endings: Sequence[Ending]) -> Sequence[Exception | None]:
        """Why each is refused, or None: then it has ended. All in one call in a thread, unless a lock is waited for."""
        # What is small takes no longer than a link does.
        run = self.in_metadata if kind.are_small else self.in_bulk
        batch = _Batch(kind.repository, endings, Change(self.disk, self.layout.new))
        for _ in range(_RETRIES):
            try:
                is_done = await run(self._make_blobs, batch)
                if is_done is None:
                    is_done = await self.counted(partial(self.patiently, self._place_late, batch))
                if is_done:
                    return [batch.refused.get(number) for number in range(len(endings))]
            finally:
                if not batch.change.is_placed:
                    await self.in_metadata(batch.change.discard)
            batch.begin(Change(self.disk, self.layout.new))
        raise Unavailable("the blob's repository is changing too fast")

    def _make_blobs(self, batch: _Batch) -> bool | None:
        """Whether all is done, False: to be done anew; None where nothing is yet, because that must wait for a lock."""
        try:
            batch.check()
            for ending in batch.accepted.values():
                if ending.digest not in batch.links:
                    batch.links[ending.digest] = self._plan_blob(batch, ending)
            if not batch.links:
                return True
            batch.change.stage()
            return self._place_blobs(batch)
        except (Busy, UncountedError):
            return None
        except GoneError:
            return False
        except (OSError, NotFound, Conflict) as error:
            self._part(batch, error)
            return True

    def _plan_blob(self, batch: _Batch, ending: Ending) -> Link:
        session, change, target, granted = ending.session, batch.change, self.layout.data(ending.digest), []
        if size_of(target) == ending.size:
            change.rely_on(target)
            granted.append(target)
        elif ending.held < ending.size:
            raise Unavailable(
                "the registry had this blob, and it was removed while it came once more: send it again"
            )
        elif ending.size == 0:
            # The empty file stays with the session, where a writer may have opened it at this very end.
            change.file(target, b"")
        else:
            is_long = ending.size > WHOLE
            if is_long:  # nobody's sync is to be waited for by others as long as that
                session.sync()
            change.move(session.data, target, None if is_long else session)
        link = self.link_blob(change, batch.repository, ending.digest)
        link.granted.extend(granted)
        return link

    def _place_blobs(self, batch: _Batch) -> bool:
        """True. Raises GoneError where what was taken for granted is not there any more, and Busy, before it is done.

        The locks of the repository and of the contents come before those of the sessions, here and everywhere. Room is
        taken for what was left out alone: all else was counted as the sessions'.
        """
        accepted = batch.accepted
        sizes = {ending.digest: ending.size for ending in accepted.values()}
        with (
            self.taking(batch.repository, partial(self._left_out, batch)),
            self.locks.hold(batch.repository, *sizes),
        ):
            if not all(exists(path) for link in batch.links.values() for path in link.granted):
                raise GoneError
            batch.leaving.clear()
            with self.noted.together(), ExitStack() as leaving:
                for number, ending in accepted.items():
                    batch.leave(number, ending, leaving)
                leaving.enter_context(self.storing(sizes))
                batch.change.place()
                for link in batch.links.values():
                    self.lease(link)
        try:
            batch.change.settle()
        except OSError as error:
            batch.refuse(error)
        for ending in accepted.values():
            self._clear(ending.session)
        return True

    def _left_out(self, batch: _Batch) -> int:
        """How many bytes the repository is going to hold more than the sessions do."""
        return sum(
            max(0, self._added_by(batch.links[ending.digest]) - ending.held)
            for ending in batch.accepted.values()
            if ending.held < ending.size
        )

    def _place_late(self, batch: _Batch) -> bool:
        """Whether all is done, where that had to wait for a lock; False: to be done anew."""
        try:
            return self._place_blobs(batch)
        except GoneError:
            return False
        except (OSError, NotFound, Conflict) as error:
            self._part(batch, error)
            return True

    def _part(self, batch: _Batch, error: OSError | StoreError) -> None:
        """Find out of each what has become of it, and make that durable; the rest are to try it each by himself."""
        refusal = store_error(error) if isinstance(error, OSError) else error
        # What we had not begun to leave another request has ended, as that one was told.
        gone = [number for number in batch.leaving if not exists(batch.endings[number].session.data)]
        try:
            batch.change.settle()
            batch.ended.update(
                number for number in gone if self._is_linked(batch, batch.endings[number].digest)
            )
        except OSError as unsettled:
            refusal = store_error(unsettled)
        for number, ending in enumerate(batch.endings):
            if number in batch.ended:
                self._clear(ending.session)
            elif number in gone or ending.session.is_spoiled or len(batch.endings) == 1:
                batch.refused.setdefault(number, refusal)
            else:
                batch.refused.setdefault(number, _ApartError())

    def _is_linked(self, batch: _Batch, digest: Digest) -> bool:
        """Whether this change has put the blob's link into its place, which has a lease by that.

        One that was there before may be there without, and one that another puts there is another's to make durable.
        """
        link = f"{self.layout.layer(batch.repository, digest)}/link"
        return link not in batch.links[digest].granted and batch.change.has_placed(link)

    def _clear(self, session: FileSession) -> None:
        """Behind the answer: some disks take milliseconds to remove what is left of it, and the more the longer."""
        # What had been stored already was sent in vain, and is still here.
        in_vain = size_of(f"{session.away}/data") or 0
        for path in session.left():
            self.disk.removals.later(path, in_vain if path == session.away else 0)
