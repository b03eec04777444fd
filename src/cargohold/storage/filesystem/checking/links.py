"""The check of links: that each says where it leads, and leads to something; and of upload sessions."""

from __future__ import annotations

import os
from contextlib import suppress
from typing import TYPE_CHECKING, NamedTuple

from cargohold.storage import disk
from cargohold.storage.filesystem.checking.findings import Finding, Kind, Looked, Remedy, Suspect
from cargohold.storage.filesystem.checking.folders import digests, names, readable
from cargohold.storage.filesystem.checking.manifests import holds_manifest
from cargohold.storage.filesystem.session import FileSession
from cargohold.storage.filesystem.tree import exists, folder_names, is_link, read_link
from cargohold.storage.protocols import Conflict, NotFound
from cargohold.types.errors import BlobUploadUnknown, TagInvalid
from cargohold.types.names import Tag, UploadId

if TYPE_CHECKING:
    from collections.abc import Callable, Container, Iterator

    from cargohold.storage.filesystem import FilesystemStore
    from cargohold.storage.filesystem.checking.repair import Repair
    from cargohold.types.digest import Digest
    from cargohold.types.names import RepositoryName


class _Entry(NamedTuple):
    """A folder that is named by a digest, and holds a link."""

    folder: str
    digest: Digest

    @property
    def link(self) -> str:
        return f"{self.folder}/link"


class LinkCheck:
    """Checks the links of repositories. For threads. An upload session is left over after `idle` seconds."""

    def __init__(self, store: FilesystemStore, repair: Repair, *, idle: float) -> None:
        self._store, self._layout, self._repair, self._idle = store, store.layout, repair, idle

    def revisions(self, repository: RepositoryName) -> Iterator[Finding]:
        """The links of manifests."""
        for entry in _entries(self._layout.revisions(repository)):
            yield from readable(self._layout, self._revision(repository, entry), entry.folder)

    def _revision(self, repository: RepositoryName, entry: _Entry) -> Iterator[Finding]:
        if is_link(entry.link):
            yield from self._lost(repository, entry)
            yield from self._spoiled(repository, entry)

    def _lost(self, repository: RepositoryName, entry: _Entry) -> Iterator[Finding]:
        data = self._layout.data(entry.digest)
        if exists(data):
            return
        finding = self._finding(
            Kind.LOST_MANIFEST, entry.folder, Remedy.QUARANTINE, repository, digest=entry.digest
        )
        locks = repository, entry.digest
        yield from self._judged(
            Suspect(finding, locks, lambda: is_link(entry.link) and not exists(data), entry.digest)
        )

    def _spoiled(self, repository: RepositoryName, entry: _Entry) -> Iterator[Finding]:
        """A link whose content is there, and which does not name it."""
        data = self._layout.data(entry.digest)

        def is_so() -> bool:
            return is_link(entry.link) and exists(data) and not self._leads(entry)

        if is_so():
            finding = self._finding(
                Kind.BAD_LINK, entry.folder, Remedy.WRITE, repository, digest=entry.digest
            )
            files = {entry.link: entry.digest.encode()}
            yield from self._judged(Suspect(finding, (repository, entry.digest), is_so, files=files))

    def _leads(self, entry: _Entry) -> bool:
        """Whether a link names its own digest, or as Distribution has it the one that the content lies under."""
        named = read_link(entry.link)
        if named == entry.digest:
            return True
        return (
            named is not None
            and named.algorithm is not entry.digest.algorithm
            and exists(self._layout.data(named))
        )

    def blobs(self, repository: RepositoryName) -> Iterator[Digest]:
        """The digests that content linked as a blob lies under."""
        for entry in _entries(f"{self._layout.repository(repository)}/_layers"):
            named = read_link(entry.link)
            if named is not None and exists(self._layout.data(named)):
                yield named

    def layers(self, repository: RepositoryName, missed: Container[str]) -> Iterator[Finding]:
        """The links of blobs. Those that are `missed` stay: whoever pushes the content anywhere heals this one too."""
        for entry in _entries(f"{self._layout.repository(repository)}/_layers"):
            part = self._layer(repository, entry, is_missed=entry.digest in missed)
            yield from readable(self._layout, part, entry.folder)

    def _layer(self, repository: RepositoryName, entry: _Entry, *, is_missed: bool) -> Iterator[Finding]:
        if is_link(entry.link):
            if not is_missed:
                yield from self._dangling(repository, entry)
            yield from self._spoiled(repository, entry)

    def _dangling(self, repository: RepositoryName, entry: _Entry) -> Iterator[Finding]:
        def is_so() -> bool:
            return (
                is_link(entry.link)
                and not exists(self._layout.data(entry.digest))
                and not self._leads_away(entry)
            )

        if is_so():
            finding = self._finding(
                Kind.DANGLING_LINK, entry.folder, Remedy.QUARANTINE, repository, digest=entry.digest
            )
            locks = repository, entry.digest
            yield from self._judged(Suspect(finding, locks, is_so, entry.digest))

    def _leads_away(self, entry: _Entry) -> bool:
        named = read_link(entry.link)
        return named is not None and exists(self._layout.data(named))

    def tags(self, repository: RepositoryName, looked: Looked) -> Iterator[Finding]:
        """The links of tags."""
        for name in names(self._layout.tags(repository)):
            with suppress(TagInvalid):
                tag = Tag(name)
                looked.tags += 1
                yield from readable(
                    self._layout, self._tag(repository, tag), self._layout.tag(repository, tag)
                )

    def _tag(self, repository: RepositoryName, tag: Tag) -> Iterator[Finding]:
        current = self._layout.tag_current(repository, tag)
        digest = read_link(current)
        if not exists(current):
            yield from self._half_tag(repository, tag)
        elif digest is None:
            yield from self._spoiled_tag(repository, tag)
        else:
            yield from self._dangling_tag(repository, tag, digest)
            yield from self._unindexed_tag(repository, tag, digest)
        for entry in _entries(f"{self._layout.tag(repository, tag)}/index"):
            yield from self._old(repository, tag, entry)

    def _half_tag(self, repository: RepositoryName, tag: Tag) -> Iterator[Finding]:
        folder, current = self._layout.tag(repository, tag), self._layout.tag_current(repository, tag)
        if os.path.isdir(folder) and not self._repair.is_young(folder):
            finding = self._finding(Kind.HALF_TAG, folder, Remedy.QUARANTINE, repository, tag)
            again = _all(lambda: os.path.isdir(folder), lambda: not exists(current))
            yield from self._judged(Suspect(finding, (repository,), again))

    def _spoiled_tag(self, repository: RepositoryName, tag: Tag) -> Iterator[Finding]:
        """Where it has only ever pointed to one manifest, it is known which."""
        folder, current = self._layout.tag(repository, tag), self._layout.tag_current(repository, tag)
        ever = [
            entry.digest
            for entry in _entries(f"{folder}/index")
            if is_link(entry.link) and self._is_manifest(repository, entry.digest)
        ]
        is_known = len(ever) == 1
        remedy = Remedy.WRITE if is_known else Remedy.QUARANTINE
        finding = self._finding(Kind.BAD_LINK, folder, remedy, repository, tag, ever[0] if is_known else "")
        files = {current: ever[0].encode()} if is_known else {}
        again = _all(lambda: exists(current), lambda: read_link(current) is None)
        yield from self._judged(Suspect(finding, (repository,), again, files=files))

    def _dangling_tag(self, repository: RepositoryName, tag: Tag, digest: Digest) -> Iterator[Finding]:
        if self._is_manifest(repository, digest):
            return
        folder, current = self._layout.tag(repository, tag), self._layout.tag_current(repository, tag)
        revision = f"{self._layout.revision(repository, digest)}/link"
        is_there = holds_manifest(self._layout, digest)
        remedy = Remedy.WRITE if is_there else Remedy.QUARANTINE
        finding = self._finding(Kind.DANGLING_TAG, folder, remedy, repository, tag, digest)

        def again() -> bool:
            return (
                read_link(current) == digest
                and not self._is_manifest(repository, digest)
                and holds_manifest(self._layout, digest) == is_there
            )

        locks = repository, digest
        missing = None if is_there else digest
        yield from self._judged(Suspect(finding, locks, again, missing, {revision: digest.encode()}))

    def _unindexed_tag(self, repository: RepositoryName, tag: Tag, digest: Digest) -> Iterator[Finding]:
        current = self._layout.tag_current(repository, tag)
        link = f"{self._layout.tag_index(repository, tag, digest)}/link"

        def is_so() -> bool:
            return (
                read_link(current) == digest and not is_link(link) and self._is_manifest(repository, digest)
            )

        if is_so():
            finding = self._finding(Kind.UNINDEXED_TAG, current, Remedy.WRITE, repository, tag, digest)
            yield from self._judged(Suspect(finding, (repository,), is_so, files={link: digest.encode()}))

    def _old(self, repository: RepositoryName, tag: Tag, entry: _Entry) -> Iterator[Finding]:
        """What a tag has pointed to may be gone; for what it points to, see above."""
        current = self._layout.tag_current(repository, tag)

        def is_so() -> bool:
            return (
                is_link(entry.link)
                and not self._is_manifest(repository, entry.digest)
                and read_link(current) not in (None, entry.digest)
            )

        if is_so():
            finding = self._finding(
                Kind.OLD_TAG_LINK, entry.folder, Remedy.QUARANTINE, repository, tag, entry.digest
            )
            yield from self._judged(Suspect(finding, (repository,), is_so))

    def _is_manifest(self, repository: RepositoryName, digest: Digest) -> bool:
        return is_link(f"{self._layout.revision(repository, digest)}/link") and exists(
            self._layout.data(digest)
        )

    def uploads(self, repository: RepositoryName) -> Iterator[Finding]:
        """Upload sessions that are half made or half ended, and that nobody goes on with."""
        for name in names(self._layout.uploads(repository)):
            with suppress(BlobUploadUnknown):
                upload = UploadId(name)
                folder = self._layout.upload(repository, upload)
                yield from readable(self._layout, self._upload(repository, upload), folder)

    def _upload(self, repository: RepositoryName, upload: UploadId) -> Iterator[Finding]:
        folder = self._layout.upload(repository, upload)

        def is_so() -> bool:
            is_whole = exists(f"{folder}/data") and exists(f"{folder}/startedat")
            return os.path.isdir(folder) and not is_whole and not self._repair.is_young(folder, self._idle)

        if is_so():
            is_session = exists(f"{folder}/data") or exists(f"{folder}/startedat")
            is_other = not is_session and bool(folder_names(folder))
            finding = self._finding(
                Kind.HALF_UPLOAD, folder, Remedy.QUARANTINE if is_other else Remedy.REMOVE, repository
            )

            def end() -> None:
                if is_session:
                    self._end(FileSession(self._layout, self._store.noted, repository, upload))
                else:
                    disk.remove_folder(folder)

            yield from self._judged(Suspect(finding, (), is_so, end=end))

    @staticmethod
    def _end(session: FileSession) -> None:
        """As a client does; one that has just grown, or gone, is let alone."""
        try:
            size = session.size()
            session.open()
            with session.ending(size):
                pass
        except (Conflict, NotFound) as error:
            raise OSError(0, str(error)) from None
        finally:
            session.close()

    def _finding(  # noqa: PLR0913, PLR0917 - where it is
        self,
        kind: Kind,
        path: str,
        remedy: Remedy,
        repository: RepositoryName,
        tag: Tag | str = "",
        digest: Digest | str = "",
    ) -> Finding:
        return Finding(
            kind=kind,
            path=os.path.relpath(path, self._layout.root),
            remedy=remedy,
            repository=repository,
            tag=tag,
            digest=digest,
        )

    def _judged(self, suspect: Suspect) -> Iterator[Finding]:
        found = self._repair.judge(suspect)
        if found is not None:
            yield found


def _entries(folder: str) -> Iterator[_Entry]:
    """The folders below `<folder>/<alg>/` that are named by a digest."""
    for digest in digests(folder):
        yield _Entry(f"{folder}/{digest.algorithm.value}/{digest.hex}", digest)


def _all(*conditions: Callable[[], bool]) -> Callable[[], bool]:
    return lambda: all(condition() for condition in conditions)
