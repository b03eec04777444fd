"""What refers to what: a record of each manifest that has a subject, under that subject."""

from __future__ import annotations

import json
import os
from contextlib import suppress
from typing import TYPE_CHECKING

from cargohold.storage.durable import Change
from cargohold.storage.filesystem.manifests import FileManifests
from cargohold.storage.filesystem.tree import exists, folder_names
from cargohold.storage.layout import flat, unflat
from cargohold.storage.lists import Proof, load_names, load_title, save_names, stamp
from cargohold.storage.protocols import StoreError
from cargohold.types.digest import Algorithm, Digest
from cargohold.types.errors import DigestInvalid
from cargohold.types.oci import referrer_of

if TYPE_CHECKING:
    from collections.abc import Iterable

    from cargohold.types.names import RepositoryName

_BATCH = 256
_WORTH_KEEPING = 1_000

Proofs = list[Proof | None]


class FileReferrers(FileManifests):
    """The part of the store that lists referrers."""

    async def list_referrers(self, repository: RepositoryName, subject: Digest) -> list[bytes]:
        return await self.in_metadata(self._list_referrers, repository, subject)

    def _list_referrers(self, repository: RepositoryName, subject: Digest) -> list[bytes]:
        self._record_unseen(repository)
        folder = self.layout.referrers(repository, subject)
        found: list[bytes] = []
        for name in sorted(folder_names(folder)):
            with suppress(DigestInvalid, FileNotFoundError):
                if exists(f"{self.layout.revision(repository, unflat(name))}/link"):
                    with open(f"{folder}/{name}", "rb", buffering=0) as file:
                        found.append(file.read())
        return found

    def _record_unseen(self, repository: RepositoryName) -> None:
        """Record the subjects of manifests that another server stored, or that were stored before there was a record.

        Which revisions were seen is kept with its proof: the times of the folders that they are in (see `lists`). A
        recorded referrer is never taken out, so whoever stores its manifest again, by whatever server, finds it
        listed again. Distribution leaves the folder of a manifest that it deletes, and a manifest that it stores
        again there does not move the times: what is not recorded of such a one waits, and is looked at each time.
        """
        kept = self.layout.referrers_seen(repository)
        folders = [f"{self.layout.revisions(repository)}/{algorithm.value}" for algorithm in Algorithm]
        started = stamp()
        proofs = [_proof(folder) for folder in folders]
        kept_proofs, waiting = _parse_title(load_title(kept))
        if kept_proofs == proofs:
            left = self._record(repository, waiting)
            if len(left) < len(waiting):
                done = {*load_names(kept)[1], *waiting}.difference(left)
                save_names(kept, _title(proofs, left), sorted(done))
            return
        present = {
            f"{os.path.basename(folder)}-{name}" for folder in folders for name in folder_names(folder)
        }
        unseen = present.difference(load_names(kept)[1])
        left = self._record(repository, unseen)
        is_proved = all(proof is None or proof.holds(started) for proof in proofs)
        if present and (is_proved or len(unseen) - len(left) > _WORTH_KEEPING):
            title = _title(proofs, left) if is_proved else ""
            save_names(kept, title, sorted(present.difference(left)))

    def _record(self, repository: RepositoryName, names: Iterable[str]) -> list[str]:
        """Record the subjects of these revisions; those of whose content there is nothing to be had yet."""
        left: list[str] = []
        found: dict[str, bytes] = {}
        for name in names:
            with suppress(DigestInvalid):
                digest = unflat(name)
                try:
                    referrer = referrer_of(digest, self._read_content(digest))
                except (StoreError, PermissionError):
                    left.append(name)
                    continue
                if referrer is not None:
                    target = f"{self.layout.referrers(repository, referrer.subject)}/{flat(digest)}"
                    if not exists(target):
                        found[target] = referrer.descriptor
        targets = list(found)
        for first in range(0, len(targets), _BATCH):
            with Change(self.disk, self.layout.new) as change:
                for target in targets[first : first + _BATCH]:
                    change.file(target, found[target])
                change.stage()
                change.place()
                change.settle()
        return left


def _proof(folder: str) -> Proof | None:
    try:
        return Proof.of(folder)
    except (FileNotFoundError, NotADirectoryError):
        return None


def _title(proofs: Proofs, waiting: list[str]) -> str:
    return json.dumps([proofs, waiting])


def _parse_title(title: str) -> tuple[Proofs | None, list[str]]:
    try:
        proofs, waiting = json.loads(title)
    except ValueError:
        # Not there, saved without a proof, or spoiled by a power cut: everything is looked at again.
        return None, []
    return [None if proof is None else Proof(*proof) for proof in proofs], waiting
