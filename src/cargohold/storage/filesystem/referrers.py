"""What refers to what: a record of each manifest that has a subject, under that subject."""

from __future__ import annotations

import json
import os
import time
import uuid
from contextlib import suppress
from typing import TYPE_CHECKING

from cargohold.storage.durable import Change
from cargohold.storage.filesystem.manifests import FileManifests
from cargohold.storage.filesystem.tree import exists, folder_names
from cargohold.storage.layout import flat, unflat
from cargohold.storage.lists import Proof
from cargohold.storage.protocols import StoreError
from cargohold.types.digest import Algorithm, Digest
from cargohold.types.errors import DigestInvalid
from cargohold.types.oci import referrer_of

if TYPE_CHECKING:
    from cargohold.types.names import RepositoryName

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

        What was seen is kept with its proof: the times of the folders of revisions (see `lists`). A recorded referrer
        is never taken out, so whoever stores its manifest again, by whatever server, finds it listed again.
        """
        folders = [f"{self.layout.revisions(repository)}/{algorithm.value}" for algorithm in Algorithm]
        started = time.time_ns()
        proofs = [_proof(folder) for folder in folders]
        seen_proofs, seen = _load_seen(self.layout.referrers_seen(repository))
        if seen_proofs == proofs:
            return
        present = {
            f"{os.path.basename(folder)}-{name}" for folder in folders for name in folder_names(folder)
        }
        if not present:
            return
        done = [name for name in present if name in seen or self._record(repository, name)]
        is_proved = all(proof is None or proof.holds(started) for proof in proofs)
        if is_proved or len(done) > len(seen) + _WORTH_KEEPING:
            _save_seen(self.layout.referrers_seen(repository), proofs if is_proved else [], done)

    def _record(self, repository: RepositoryName, name: str) -> bool:
        """Record one revision's subject, if it has one; whether there is no more to do about it."""
        try:
            digest = unflat(name)
        except DigestInvalid:
            return True
        if not exists(f"{self.layout.revision(repository, digest)}/link"):
            return False
        try:
            content = self._read_content(digest)
        except StoreError:
            return False
        referrer = referrer_of(digest, content)
        if referrer is not None:
            target = f"{self.layout.referrers(repository, referrer.subject)}/{flat(digest)}"
            if not exists(target):
                with Change(self.disk, self.layout.new) as change:
                    change.file(target, referrer.descriptor)
                    change.stage()
                    change.place()
                    change.settle()
        return True


def _proof(folder: str) -> Proof | None:
    try:
        return Proof.of(folder)
    except FileNotFoundError:
        return None


def _load_seen(path: str) -> tuple[Proofs | None, set[str]]:
    try:
        with open(path, "rb") as file:
            head, _, rest = file.read().partition(b"\n")
        proofs, count = json.loads(head)
        names = set(rest.decode().split("\n"))
    except (OSError, ValueError):
        # Not there, or spoiled by a power cut: everything is looked at again.
        return None, set()
    if len(names) != count:
        return None, set()
    return [None if proof is None else Proof(*proof) for proof in proofs], names


def _save_seen(path: str, proofs: Proofs, names: list[str]) -> None:
    made = f"{path}.{uuid.uuid4().hex}"
    os.makedirs(os.path.dirname(path), exist_ok=True)
    with open(made, "wb") as file:
        file.write(json.dumps([proofs, len(names)]).encode() + b"\n" + "\n".join(names).encode())
    os.rename(made, path)
