"""The check of manifests: that their bytes are right, and that what they name is in their repository."""

from __future__ import annotations

import os
import threading
from contextlib import nullcontext
from itertools import islice
from typing import TYPE_CHECKING, Final

import msgspec

from cargohold.storage.filesystem.checking.findings import Finding, Kind, Looked, Outcome, Remedy, Suspect
from cargohold.storage.filesystem.checking.folders import digests, names, unreadable
from cargohold.storage.filesystem.checking.references import References, references
from cargohold.storage.filesystem.tree import exists, is_link, read_link, size_of
from cargohold.storage.layout import flat
from cargohold.storage.lists import load_names
from cargohold.types.digest import Digest
from cargohold.types.oci import referrer_of

if TYPE_CHECKING:
    from collections.abc import Iterator

    from cargohold.storage.filesystem.checking.content import ContentCheck
    from cargohold.storage.filesystem.checking.references import Named
    from cargohold.storage.filesystem.checking.repair import Repair
    from cargohold.storage.layout import Layout
    from cargohold.types.names import RepositoryName

_LARGE: Final = 128 << 10
_LARGEST: Final = 64 << 20
_FEW_TAGS: Final = 3


class ManifestCheck:
    """Checks the manifests of repositories. For threads.

    With `sparse`, images may lack blobs and indexes manifests, and nothing is linked because a manifest names it.
    """

    def __init__(self, layout: Layout, repair: Repair, content: ContentCheck, *, sparse: bool) -> None:
        self._layout, self._repair, self._content, self._sparse = layout, repair, content, sparse
        self._one = threading.Lock()

    def contents(self, repository: RepositoryName) -> Iterator[Finding]:
        """Manifests whose bytes are wrong, and blobs that are not as long as a manifest says."""
        for digest in self.revisions(repository):
            if not is_link(f"{self._layout.revision(repository, digest)}/link"):
                continue
            try:
                content = self._load(digest)
            except FileNotFoundError:
                continue
            except OSError as error:
                yield unreadable(self._layout, error, self._layout.data(digest), digest)
                continue
            if Digest.of(content, digest.algorithm) != digest:
                yield from self._content.is_right(digest)
                continue
            named = self._parsed(content)
            for each in named.blobs + named.manifests if named else ():
                found = size_of(self._layout.data(each.digest))
                if found is not None and each.size not in (None, found):
                    yield from self._content.is_right(each.digest)
                    yield from self._sized(repository, digest, each)

    def _sized(self, repository: RepositoryName, manifest: Digest, named: Named) -> Iterator[Finding]:
        """Where the bytes are right, it is the manifest that is wrong."""
        link, data = f"{self._layout.revision(repository, manifest)}/link", self._layout.data(named.digest)
        found = size_of(data)
        if found in (None, named.size) or self._content.is_known_as_wrong(named.digest):
            return
        finding = Finding(
            kind=Kind.WRONG_SIZE,
            path=os.path.relpath(data, self._layout.root),
            remedy=Remedy.NOTHING,
            repository=repository,
            manifest=manifest,
            digest=named.digest,
            note=f"it has {found} bytes, the manifest says {named.size}",
        )
        yield from self._judged(
            Suspect(finding, (repository,), lambda: exists(link) and size_of(data) == found)
        )

    def revisions(self, repository: RepositoryName) -> Iterator[Digest]:
        """The digests of which a repository has a folder among its manifests."""
        return digests(self._layout.revisions(repository))

    def check(self, repository: RepositoryName, digest: Digest, looked: Looked) -> Iterator[Finding]:
        """What a manifest names and its repository does not have; nothing where the manifest itself is not there."""
        try:
            content = self._load(digest)
        except OSError:
            return  # told of where content and links are checked
        is_linked = is_link(f"{self._layout.revision(repository, digest)}/link")
        if not is_linked or (len(content) < _LARGEST and Digest.of(content, digest.algorithm) != digest):
            return
        looked.manifests += 1
        named = self._parsed(content)
        if named is None:
            yield from self._odd(repository, digest)
            return
        for blob in named.blobs:
            yield from self._blob(repository, digest, blob.digest)
        for child in named.manifests:
            yield from self._child(repository, digest, child.digest)
        yield from self._referrer(repository, digest, content)

    def _odd(self, repository: RepositoryName, digest: Digest) -> Iterator[Finding]:
        folder = self._layout.revision(repository, digest)
        finding = Finding(
            kind=Kind.ODD_MANIFEST,
            path=os.path.relpath(folder, self._layout.root),
            remedy=Remedy.NOTHING,
            repository=repository,
            digest=digest,
        )
        yield from self._judged(Suspect(finding, (repository,), lambda: exists(f"{folder}/link")))

    def _load(self, digest: Digest) -> bytes:
        """The bytes of a manifest; the first of them where it is too large to be one."""
        with open(self._layout.data(digest), "rb", buffering=0) as file:
            return file.read(_LARGEST)

    def _parsed(self, content: bytes) -> References | None:
        """Large ones one after the other: while they are read they take many times as much."""
        with self._one if len(content) > _LARGE else nullcontext():
            return references(content)

    def _blob(self, repository: RepositoryName, manifest: Digest, digest: Digest) -> Iterator[Finding]:
        layer = f"{self._layout.layer(repository, digest)}/link"
        holder = self._holder(layer, digest)
        if holder is None:
            for finding in self._missing(repository, manifest, digest):
                yield finding
                if finding.outcome is Outcome.RESTORED:
                    holder = digest
        elif self._content.is_known_as_wrong(holder):
            yield from self._damaged(repository, manifest, holder)
        if holder is not None and not exists(layer):
            yield from self._unlinked(repository, manifest, digest, holder)

    def _damaged(self, repository: RepositoryName, manifest: Digest, digest: Digest) -> Iterator[Finding]:
        """What the wrong bytes of a blob mean to an image, as long as they have not been taken out."""
        revision, data = f"{self._layout.revision(repository, manifest)}/link", self._layout.data(digest)
        finding = Finding(
            kind=Kind.DAMAGED_BLOB,
            path=os.path.relpath(data, self._layout.root),
            remedy=Remedy.NOTHING,
            repository=repository,
            tag=self._tags(repository, manifest),
            manifest=manifest,
            digest=digest,
        )

        def again() -> bool:
            return exists(revision) and exists(data)

        yield from self._judged(Suspect(finding, (repository, digest), again))

    def _tags(self, repository: RepositoryName, manifest: Digest) -> str:
        """Some of the tags of a manifest, by which its users know it."""
        current = (
            (name, read_link(f"{self._layout.tags(repository)}/{name}/current/link"))
            for name in names(self._layout.tags(repository))
        )
        return ",".join(sorted(islice((name for name, digest in current if digest == manifest), _FEW_TAGS)))

    def _holder(self, layer: str, digest: Digest) -> Digest | None:
        """Where the content of a blob lies, whether it is linked or not."""
        for holder in (digest, read_link(layer)):
            if holder is not None and exists(self._layout.data(holder)):
                return holder
        return self._repair.twin(digest)

    def _unlinked(
        self, repository: RepositoryName, manifest: Digest, digest: Digest, holder: Digest
    ) -> Iterator[Finding]:
        layer, data = f"{self._layout.layer(repository, digest)}/link", self._layout.data(holder)
        revision = f"{self._layout.revision(repository, manifest)}/link"
        links = {f"{self._layout.layer(repository, each)}/link": holder.encode() for each in (holder, digest)}
        finding = Finding(
            kind=Kind.SPARSE if self._sparse else Kind.UNLINKED_BLOB,
            path=os.path.relpath(layer, self._layout.root),
            remedy=Remedy.NOTHING if self._sparse else Remedy.WRITE,
            repository=repository,
            tag="" if self._sparse else self._tags(repository, manifest),
            manifest=manifest,
            digest=digest,
        )

        def again() -> bool:
            return exists(revision) and exists(data) and not exists(layer)

        yield from self._judged(Suspect(finding, (repository, holder), again, files=links))

    def _missing(self, repository: RepositoryName, manifest: Digest, digest: Digest) -> Iterator[Finding]:
        revision = f"{self._layout.revision(repository, manifest)}/link"
        data = self._layout.data(digest)
        # What is linked was there once, however little an image need have.
        is_sparse = self._sparse and not exists(f"{self._layout.layer(repository, digest)}/link")
        finding = Finding(
            kind=Kind.SPARSE if is_sparse else Kind.MISSING_BLOB,
            path=os.path.relpath(data, self._layout.root),
            remedy=Remedy.NOTHING,
            repository=repository,
            tag="" if is_sparse else self._tags(repository, manifest),
            manifest=manifest,
            digest=digest,
        )

        def again() -> bool:
            return exists(revision) and not exists(data)

        missing = None if is_sparse else digest
        yield from self._judged(Suspect(finding, (repository, digest), again, missing))

    def _child(self, repository: RepositoryName, manifest: Digest, digest: Digest) -> Iterator[Finding]:
        """The child of an index may be a blob too. One that is missing was perhaps deleted: it is not brought back."""
        revision = f"{self._layout.revision(repository, manifest)}/link"
        links = (
            f"{self._layout.revision(repository, digest)}/link",
            f"{self._layout.layer(repository, digest)}/link",
        )
        if any(map(exists, links)):
            return
        finding = Finding(
            kind=Kind.SPARSE if self._sparse else Kind.MISSING_MANIFEST,
            path=os.path.relpath(links[0], self._layout.root),
            remedy=Remedy.NOTHING,
            repository=repository,
            tag="" if self._sparse else self._tags(repository, manifest),
            manifest=manifest,
            digest=digest,
        )

        def again() -> bool:
            return exists(revision) and not any(map(exists, links))

        yield from self._judged(Suspect(finding, (repository,), again))

    def _referrer(self, repository: RepositoryName, digest: Digest, content: bytes) -> Iterator[Finding]:
        """A record that is not there is made at the next list, unless it is known as made."""
        referrer = referrer_of(digest, content)
        if referrer is None:
            return
        record = f"{self._layout.referrers(repository, referrer.subject)}/{flat(digest)}"
        if _is_record_of(record, digest):
            return
        if not exists(record) and flat(digest) not in load_names(self._layout.referrers_seen(repository))[1]:
            return
        finding = Finding(
            kind=Kind.UNLISTED_REFERRER,
            path=os.path.relpath(record, self._layout.root),
            remedy=Remedy.WRITE,
            repository=repository,
            manifest=referrer.subject,
            digest=digest,
        )
        revision = f"{self._layout.revision(repository, digest)}/link"

        def again() -> bool:
            return exists(revision) and not _is_record_of(record, digest)

        files = {record: referrer.descriptor}
        yield from self._judged(Suspect(finding, (repository,), again, files=files))

    def _judged(self, suspect: Suspect) -> Iterator[Finding]:
        found = self._repair.judge(suspect)
        if found is not None:
            yield found


def holds_manifest(layout: Layout, digest: Digest) -> bool:
    """Whether the content of a digest is there, is right, and is a manifest."""
    try:
        with open(layout.data(digest), "rb", buffering=0) as file:
            content = file.read(_LARGEST)
    except OSError:
        return False
    named = references(content)
    return named is not None and named != References() and Digest.of(content, digest.algorithm) == digest


class _Record(msgspec.Struct, rename="camel"):
    digest: str
    media_type: str
    size: int


def _is_record_of(path: str, digest: Digest) -> bool:
    try:
        with open(path, "rb", buffering=0) as file:
            return msgspec.json.decode(file.read(), type=_Record).digest == digest
    except (FileNotFoundError, NotADirectoryError, msgspec.DecodeError):
        return False
