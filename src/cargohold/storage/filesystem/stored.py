"""What an upload shall become, where the store has that already: it is hashed, and not written once more."""

from __future__ import annotations

from contextlib import suppress
from typing import TYPE_CHECKING

from cargohold.storage.filesystem.tree import size_of
from cargohold.storage.locks import Busy

if TYPE_CHECKING:
    from cargohold.storage.filesystem.session import FileSession
    from cargohold.storage.filesystem.tree import Tree
    from cargohold.types.digest import Digest


class Stored:
    """The content of a digest, `size` bytes, that a session which holds nothing yet shall become.

    `is_found` once it was seen in its place: from then on the session's bytes are no more kept. Who ends the session
    must look again, under the lock of the content, whether it is there.
    """

    def __init__(self, tree: Tree, session: FileSession, digest: Digest, size: int) -> None:
        self._tree = tree
        self._session = session
        self._digest = digest
        self._size = size
        self.is_found = False

    def look(self) -> bool:
        """Whether it was seen, now or before; in a thread. What was seen, and the session, then stay for a while."""
        if not self.is_found and not self._is_there():
            return False
        self._stay()
        # What was collected before its lease was renewed is not left out: nothing was, until now.
        self.is_found = self.is_found or self._is_there()
        return self.is_found

    def _is_there(self) -> bool:
        return size_of(self._tree.layout.data(self._digest)) == self._size

    def _stay(self) -> None:
        """Against a collector, and against whoever ends sessions that do not grow."""
        content, leases = self._tree.layout.blob(self._digest), self._tree.leases
        if leases.is_due(content):
            # One that is not to be had is tried again with the next piece.
            with suppress(Busy), self._tree.locks.hold(self._digest):
                leases.renew(content)
        with suppress(FileNotFoundError):  # another request has ended it, as the end of this one will find
            leases.renew(self._session.folder)
