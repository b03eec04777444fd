"""What refers to what: a record of each manifest that has a subject, under that subject."""

from __future__ import annotations

import os
import sys
from bisect import bisect_right
from contextlib import suppress
from typing import TYPE_CHECKING, NamedTuple

import msgspec

from cargohold.storage.change import Change
from cargohold.storage.filesystem.manifests import FileManifests
from cargohold.storage.filesystem.presence import PIECE, Rounds, present
from cargohold.storage.filesystem.records import Records
from cargohold.storage.filesystem.tree import UNWRITABLE, exists, folder_names
from cargohold.storage.layout import flat, unflat
from cargohold.storage.lists import load_names, load_title, save_names
from cargohold.storage.locks import PATIENCE
from cargohold.storage.proofs import Proof, stamp
from cargohold.storage.protocols import StoreError
from cargohold.types.digest import Algorithm, Digest
from cargohold.types.errors import DigestInvalid
from cargohold.types.oci import descriptor_artifact_type, referrer_of

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping

    from cargohold.storage.filesystem.leases import Terms
    from cargohold.types.names import RepositoryName

_BATCH = 256
_WORTH_KEEPING = 1_000

Proofs = list[Proof | None]


class _Wanted(NamedTuple):
    """What is asked of a list: the referrers after one, of a type, until their descriptors have taken up the room.

    Referrers are known by the paths of their folders below `revisions`; those that are `beside` are not in the record.
    """

    revisions: str
    folder: str
    beside: Mapping[str, bytes]
    after: str
    artifact_type: str | None
    room: int


class FileReferrers(FileManifests):
    """The part of the store that lists referrers."""

    def __init__(self, root: str, terms: Terms | None = None) -> None:
        super().__init__(root, terms)
        self._records = Records()
        self._referrer_rounds = Rounds()

    async def list_referrers(
        self,
        repository: RepositoryName,
        subject: Digest,
        *,
        after: str = "",
        artifact_type: str | None = None,
        room: int = sys.maxsize,
    ) -> list[bytes]:
        unrecorded: dict[str, bytes] = {}
        if not await self.in_metadata(self._is_recorded, repository):
            unrecorded = await self.turns.result(
                repository, lambda: self.in_background(self._record_unseen, repository), PATIENCE
            )
        folder = self.layout.referrers(repository, subject)
        beside = {
            os.path.basename(path).replace("-", "/", 1): descriptor
            for path, descriptor in unrecorded.items()
            if os.path.dirname(path) == folder
        }
        wanted = _Wanted(
            self.layout.revisions(repository), folder, beside, after.replace(":", "/", 1), artifact_type, room
        )
        names, found = await self.in_metadata(self._list_referrers, wanted)
        if found is None:
            there = await self._referrer_rounds.result(
                names, lambda piece: self.in_metadata(present, wanted.revisions, piece, "link")
            )
            found = await self.in_metadata(
                self._described, wanted, there[bisect_right(there, wanted.after) :]
            )
        return found

    def _list_referrers(self, wanted: _Wanted) -> tuple[list[str], list[bytes] | None]:
        """What may be referrers, and those that are listed, unless too many must be looked at for one call."""
        names = self._records.of(wanted.folder).names
        if wanted.beside:
            names = sorted({*names, *wanted.beside})
        start = bisect_right(names, wanted.after)
        if len(names) - start > PIECE:
            return names, None
        return names, self._described(wanted, present(wanted.revisions, names[start:], "link"))

    def _described(self, wanted: _Wanted, names: Iterable[str]) -> list[bytes]:
        """The descriptors of the names, as far as there is room."""
        record, room = self._records.of(wanted.folder), wanted.room
        found: list[bytes] = []
        for name in names:
            if room < 0 and len(found) > 1:
                break
            with suppress(FileNotFoundError):
                descriptor = wanted.beside.get(name) or self._records.descriptor(record, name)
                if wanted.artifact_type in (None, descriptor_artifact_type(descriptor)):
                    found.append(descriptor)
                    room -= len(descriptor)
        return found

    def _folders(self, repository: RepositoryName) -> list[str]:
        return [f"{self.layout.revisions(repository)}/{algorithm.value}" for algorithm in Algorithm]

    def _is_recorded(self, repository: RepositoryName) -> bool:
        """Whether the record is proved to have every manifest, so that there is nothing to do."""
        title = _parse_title(load_title(self.layout.referrers_seen(repository)))
        return not title.waiting and title.proofs == [_proof(folder) for folder in self._folders(repository)]

    def _record_unseen(self, repository: RepositoryName) -> dict[str, bytes]:
        """Record the subjects of manifests that another server stored, or that were stored before there was a record.

        Which revisions were seen is kept with its proof: the times of the folders that they are in (see `proofs`). A
        recorded referrer is never taken out, so whoever stores its manifest again, by whatever server, finds it
        listed again. Distribution leaves the folder of a manifest that it deletes, and a manifest that it stores
        again there does not move the times: what is not recorded of such a one waits, and is looked at each time.
        So does what cannot be recorded, on a disk that is full or read-only; it is returned, by its place.
        """
        kept = self.layout.referrers_seen(repository)
        folders = self._folders(repository)
        started = stamp()
        proofs = [_proof(folder) for folder in folders]
        title = _parse_title(load_title(kept))
        waiting = title.waiting
        if title.proofs == proofs:
            left, unrecorded = self._record(repository, waiting)
            if len(left) < len(waiting):
                done = {*load_names(kept)[1], *waiting}.difference(left)
                save_names(kept, _title(proofs, left), sorted(done))
            return unrecorded
        present = {
            f"{os.path.basename(folder)}-{name}" for folder in folders for name in folder_names(folder)
        }
        unseen = present.difference(load_names(kept)[1])
        left, unrecorded = self._record(repository, unseen)
        is_proved = all(proof is None or proof.holds(started) for proof in proofs)
        if present and (is_proved or len(unseen) - len(left) > _WORTH_KEEPING):
            save_names(kept, _title(proofs, left) if is_proved else "", sorted(present.difference(left)))
        return unrecorded

    def _record(self, repository: RepositoryName, names: Iterable[str]) -> tuple[list[str], dict[str, bytes]]:
        """Record the subjects of these revisions.

        Those of whose content there is nothing to be had yet, or that could not be recorded; and the descriptors of
        the latter, by their place.
        """
        left: list[str] = []
        unrecorded: dict[str, bytes] = {}
        batch: dict[str, bytes] = {}
        for name in names:
            if self.closing:
                left.append(name)
                continue
            with suppress(DigestInvalid):
                digest = unflat(name)
                try:
                    referrer = referrer_of(digest, self.read_content(digest))
                except (StoreError, PermissionError):
                    left.append(name)
                    continue
                if referrer is None:
                    continue
                target = f"{self.layout.referrers(repository, referrer.subject)}/{flat(digest)}"
                if not exists(target):
                    batch[target] = referrer.descriptor
            if len(batch) == _BATCH:
                unrecorded |= self._save(batch)
                batch = {}
        unrecorded |= self._save(batch)
        return [*left, *map(os.path.basename, unrecorded)], unrecorded

    def _save(self, batch: dict[str, bytes]) -> dict[str, bytes]:
        """Make the records durable; those that could not be made."""
        try:
            with Change(self.disk, self.layout.new) as change:
                for target, descriptor in batch.items():
                    change.file(target, descriptor)
                change.stage()
                change.place()
                change.settle()
        except OSError as error:
            if error.errno not in UNWRITABLE:
                raise
            return batch
        return {}


def _proof(folder: str) -> Proof | None:
    try:
        return Proof.of(folder)
    except (FileNotFoundError, NotADirectoryError):
        return None


class _Title(msgspec.Struct, array_like=True):
    proofs: Proofs | None = None
    waiting: list[str] = []


def _title(proofs: Proofs, waiting: list[str]) -> str:
    return msgspec.json.encode(_Title(proofs, waiting)).decode()


def _parse_title(title: str) -> _Title:
    """Not there, saved without a proof, or spoiled by a power cut: everything is looked at again."""
    try:
        return msgspec.json.decode(title, type=_Title)
    except msgspec.DecodeError:
        return _Title()
