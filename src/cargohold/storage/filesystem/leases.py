"""Leases: what somebody was just told exists, or has just linked, is not collected for a while.

The lease of a blob or manifest in a repository is the time of modification of the folder of its link; that of content,
the time of the folder that its bytes are in. So the times of links and of bytes, by which backups know what has
changed, stay as they are, and the times of the folders above, which prove lists, do too.

A lease is renewed under the lock under which it could be collected (a repository's, or a digest's), and the collector
looks at it once more under the same lock. It is not written anew each time: one that is younger than a step will do,
and the collector allows for a step more than the grace time.
"""

from __future__ import annotations

import errno
import os
import time
from contextlib import suppress
from typing import TYPE_CHECKING, Final

import msgspec

from cargohold.types.quotas import Quotas

if TYPE_CHECKING:
    from cargohold.storage.durable import Disk

LONGEST_STEP: Final = 30.0
_DAY: Final = 86400.0
_NOT_OURS: Final = frozenset({errno.EROFS, errno.EACCES, errno.EPERM})


class Terms(msgspec.Struct, frozen=True):
    """For how many seconds what is not referred to stays (`grace`), and what was deleted can be restored (`keep`).

    Without `leases` none is renewed: where nobody can push, nobody relies on them. Repositories hold no more than the
    `quotas` let them.
    """

    grace: float = _DAY
    keep: float = _DAY
    leases: bool = True
    quotas: Quotas = msgspec.field(default_factory=Quotas)

    @property
    def step(self) -> float:
        """How old a lease may be, in seconds, without being renewed."""
        return min(self.grace / 4, LONGEST_STEP)


class Leases:
    """Renews leases on one disk."""

    def __init__(self, disk: Disk, terms: Terms) -> None:
        self._disk = disk
        self._step = terms.step
        self._are_kept = terms.leases

    def is_due(self, folder: str) -> bool:
        """Whether the lease on a folder is to be renewed; not where there is no such folder."""
        try:
            return self.is_old(os.stat(folder).st_mtime)
        except (FileNotFoundError, NotADirectoryError):
            return False

    def is_old(self, renewed: float) -> bool:
        """Whether a lease that was renewed at this time, in seconds, is to be renewed."""
        # One from the future, by a clock that was wrong, is put right too.
        return self._are_kept and not 0 <= time.time() - renewed < self._step

    def renew(self, folder: str) -> None:
        """Renew it where that is due; under the lock under which it could be collected."""
        if self.is_due(folder):
            self.renew_now(folder)

    def renew_now(self, folder: str) -> None:
        """Renew it, under the same lock. Where we may not write nothing is collected by us either: nothing is done."""
        try:
            self._disk.renew(folder)
        except OSError as error:
            if error.errno not in _NOT_OURS:
                raise


def leased_at(folder: str, file: str) -> float:
    """When somebody last asked for what is in the folder, or put `file` there; now, where neither is there."""
    times = []
    for path in (folder, f"{folder}/{file}"):
        with suppress(FileNotFoundError, NotADirectoryError):
            times.append(os.stat(path).st_mtime)
    return max(times, default=time.time())
