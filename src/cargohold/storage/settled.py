"""The memory of which folders are known to be durable, and their names too: what need not be synced again.

Of the name of a folder that lasts that is known by its inode, with its path; not of others, since a file system gives
a removed folder's inode to the next that is made. Of the names in a folder it is known by a proof that nothing has
changed there since they were synced.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Final, NamedTuple, TypeVar

from cargohold.storage.proofs import Proof, stamp

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable

T = TypeVar("T")

_MOST: Final = 65_536


class Unsettled(NamedTuple):
    """The folders that are to be synced, and what is known of them when they have been.

    Each is looked at once: `seen` is how it was then, or None where it was not there.
    """

    folders: dict[str, None]
    lasting: dict[str, int]
    proofs: dict[str, Proof]
    seen: dict[str, Proof | None]

    def proof_of(self, folder: str) -> Proof | None:
        """How a folder was when it was looked at, in the course of this."""
        try:
            return self.seen[folder]
        except KeyError:
            found = self.seen[folder] = _proof_of(folder)
            return found


class Settled:
    """The memory of one process, of 65,536 folders of either kind; see `durable.Disk`. For any thread."""

    def __init__(self, top: str, lasts: Callable[[str], bool]) -> None:
        self._top = top
        self._lasts = lasts
        self._names: dict[str, int] = {}
        self._folders: dict[str, Proof] = {}

    def forget(self, folder: str) -> None:
        """It has just been made: its name is not durable."""
        self._names.pop(folder, None)

    def knows(self, folder: str, proof: Proof) -> bool:
        """Whether the names in a folder that has this proof now are durable, and those of all folders above it."""
        return self._folders.get(folder) == proof

    def look(self, changed: Iterable[str], relied: Iterable[str]) -> Unsettled:
        """What is to be synced of folders that were `changed`, and of those that are only `relied` on.

        With those above them in which a name may not be durable yet.
        """
        started = stamp()
        found = Unsettled(dict.fromkeys(changed), {}, {}, {})
        just_changed = frozenset(found.folders)
        found.folders.update(dict.fromkeys(each for each in relied if not self._is_settled(each, found)))
        for folder in list(found.folders):
            self._look_above(folder, found)
        for folder in found.folders.keys() - just_changed:
            proof = found.proof_of(folder)
            if proof is not None and proof.holds(started):
                found.proofs[folder] = proof
        return found

    def _look_above(self, folder: str, found: Unsettled) -> None:
        while folder != self._top:
            if self._lasts(folder) and (proof := found.proof_of(folder)) is not None:
                if self._names.get(folder) == proof.inode:
                    return
                found.lasting[folder] = proof.inode
            folder = folder.rpartition("/")[0]
            if folder in found.folders or self._is_settled(folder, found):
                return
            found.folders[folder] = None

    def _is_settled(self, folder: str, found: Unsettled) -> bool:
        known = self._folders.get(folder)
        return known is not None and known == found.proof_of(folder)

    def remember(self, synced: Unsettled) -> None:
        """They have been synced."""
        _remember(self._names, synced.lasting)
        _remember(self._folders, synced.proofs)


def _proof_of(folder: str) -> Proof | None:
    try:
        return Proof.of(folder)
    except FileNotFoundError:
        return None


def _remember(known: dict[str, T], found: dict[str, T]) -> None:
    if len(known) > _MOST:
        known.clear()
    known.update(found)
