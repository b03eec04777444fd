"""How many bytes a repository holds, found in the tree itself.

They are those of its blobs, of its manifests, and of its upload sessions as they are at present. A blob counts once in
a repository, however many images share it there, and in each repository that it is linked in. What is about to be
collected counts until its link is gone.
"""

from __future__ import annotations

import time
from contextlib import suppress
from typing import TYPE_CHECKING, Final, NamedTuple

from cargohold.storage.filesystem.tree import folder_names, is_link, size_of
from cargohold.storage.proofs import Proof, stamp
from cargohold.types.digest import Algorithm, Digest
from cargohold.types.errors import DigestInvalid

if TYPE_CHECKING:
    from collections.abc import Iterator

    from cargohold.storage.layout import Layout
    from cargohold.types.names import RepositoryName

_TRUSTED_SECONDS: Final = 3_600.0
_MOST_IN_MEMORY: Final = 100_000


class _Sum(NamedTuple):
    """The bytes of the digests in a folder, without those that `wait` for their link or their content.

    Another server leaves the folder of a link that it removes. When it, or we, make the link again there, or the
    content again, the folder above has no part in it, and so does not prove it.
    """

    proof: Proof
    added: float
    size: int
    waiting: tuple[Digest, ...]


class Sizes:
    """Adds up what repositories hold; what was added up is kept as long as its folder is proved to be the same.

    A link that another server has removed is missed for an hour, since it leaves the folder. Safe for threads.
    """

    def __init__(self, layout: Layout) -> None:
        self._layout = layout
        self._sums: dict[str, _Sum] = {}

    def of(self, repository: RepositoryName) -> int:
        """How many bytes the repository holds: exactly, where nothing in it changes meanwhile. Raises OSError."""
        found = sum(self._sessions(self._layout.uploads(repository)))
        for folder in (self._layout.layers(repository), self._layout.revisions(repository)):
            for algorithm in Algorithm:
                found += self._linked(f"{folder}/{algorithm.value}", algorithm)
        return found

    def _linked(self, folder: str, algorithm: Algorithm) -> int:
        started = stamp()
        try:
            proof = Proof.of(folder)
        except (FileNotFoundError, NotADirectoryError):
            return 0
        known = self._sums.get(folder)
        if known is None or known.proof != proof or time.monotonic() - known.added > _TRUSTED_SECONDS:
            known = self._add_up(folder, algorithm, proof)
            with suppress(FileNotFoundError):
                if proof.holds(started) and Proof.of(folder) == proof:
                    self._keep(folder, known)
        return known.size + sum(self._size(folder, digest) or 0 for digest in known.waiting)

    def _add_up(self, folder: str, algorithm: Algorithm, proof: Proof) -> _Sum:
        added, total, waiting = time.monotonic(), 0, []
        for name in folder_names(folder):
            with suppress(DigestInvalid):
                digest = Digest(f"{algorithm.value}:{name}")
                size = self._size(folder, digest)
                if size is None:
                    waiting.append(digest)
                else:
                    total += size
        return _Sum(proof, added, total, tuple(waiting))

    def _size(self, folder: str, digest: Digest) -> int | None:
        """The length of what is linked there; None where there is no link, or no content."""
        return size_of(self._layout.data(digest)) if is_link(f"{folder}/{digest.hex}/link") else None

    def _sessions(self, folder: str) -> Iterator[int]:
        for name in folder_names(folder):
            with suppress(NotADirectoryError):
                yield size_of(f"{folder}/{name}/data") or 0

    def _keep(self, folder: str, found: _Sum) -> None:
        if len(self._sums) >= _MOST_IN_MEMORY:
            self._sums.clear()
        self._sums[folder] = found
