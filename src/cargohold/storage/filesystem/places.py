"""Files that are mostly there still when they are looked for again: one look at their folder says that they are."""

from __future__ import annotations

import os
from typing import TYPE_CHECKING, NamedTuple

from cargohold.storage.filesystem.tree import is_absence
from cargohold.storage.proofs import Proof, stamp

if TYPE_CHECKING:
    from cargohold.types.digest import Digest


class Seen(NamedTuple):
    """A file that is there: the proof of its folder, and when it was written or given a name, in seconds."""

    proof: Proof
    written: float

    @property
    def leased(self) -> float:
        """When the lease on the folder was renewed, in seconds."""
        return self.proof.modified / 1e9


class Place:
    """A file in a folder of its own, and what is known of it. For any thread."""

    __slots__ = ("_seen", "folder", "path")

    def __init__(self, folder: str, name: str) -> None:
        self.folder = folder
        self.path = f"{folder}/{name}"
        self._seen: Seen | None = None

    @property
    def is_known(self) -> bool:
        """Whether the file was there when somebody last looked, and can be found with one look now."""
        return self._seen is not None

    def look(self) -> Seen | None:
        """The file as it is now, found by what proves that nothing has changed in its folder; None where there is none.

        Raises OSError.
        """
        try:
            status, seen = os.stat(self.folder), self._seen
            if seen is not None and seen.proof == (status.st_ino, status.st_mtime_ns, status.st_ctime_ns):
                return seen
            return self._look_inside()
        except OSError as error:
            if is_absence(error):
                return None
            raise

    def _look_inside(self) -> Seen:
        started, proof = stamp(), Proof.of(self.folder)
        status = os.stat(self.path)
        # One that is a second name is as old as the file; what was last done to its names is not.
        found = Seen(proof, max(status.st_mtime, status.st_ctime))
        self._seen = found if proof.holds(started) else None
        return found


class Reference(NamedTuple):
    """What a manifest names: the links by which a repository has it as a blob, and as a manifest, and its content."""

    digest: Digest
    layer: Place
    revision: Place
    content: Place
