"""Images out of the registry, into an OCI image layout: as they are, with all that belongs to them."""

from __future__ import annotations

import asyncio
import re
from typing import TYPE_CHECKING, Final

import msgspec

from cargohold.registry.moving.names import REPOSITORY, Place, annotations_of
from cargohold.registry.moving.outline import outline_of
from cargohold.storage.archive.images import REF_NAME
from cargohold.storage.archive.scratch import open_scratch
from cargohold.storage.archive.writing import Damaged
from cargohold.storage.protocols import ContentBytes, NotFound, StoreError
from cargohold.types.digest import Digest
from cargohold.types.names import Tag
from cargohold.types.oci import Descriptor, descriptor_artifact_type, referrer_of

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Callable, Iterable, Iterator

    from cargohold.registry.moving.outline import Named
    from cargohold.registry.moving.selection import Selection
    from cargohold.storage.archive.writing import Target
    from cargohold.storage.protocols import Content, Store
    from cargohold.types.names import RepositoryName

_PAGE: Final = 1_000
_MOST_TOLD: Final = 1_000
_ENCODED: Final = re.compile(r"[0-9a-f]{64,}")
_SCHEMA: Final = """
    CREATE TABLE held (digest TEXT PRIMARY KEY, fault TEXT, told TEXT) WITHOUT ROWID;
    CREATE TABLE manifests (
        digest TEXT PRIMARY KEY, descriptor BLOB,
        seen INTEGER DEFAULT 0, asked INTEGER DEFAULT 0, tagged INTEGER DEFAULT 0, listed INTEGER DEFAULT 0
    ) WITHOUT ROWID;
    CREATE TABLE entries (number INTEGER PRIMARY KEY, name TEXT UNIQUE, repository TEXT, digest TEXT, entry BLOB);
    CREATE INDEX by_digest ON entries (digest, repository);
"""


class Exported(msgspec.Struct):
    """What came of an export.

    `images` are named by the layout now, with so many `tags`; `kept` are names that it had before and still has,
    although they were not found in the registry or not selected. `written` pieces of content, of `written_bytes`, are
    new in the layout; `pruned` ones, of `pruned_bytes`, have been removed from it. `problems` say what could not be
    exported, and why; `lacking` what manifests name that may be absent; the first thousand of each.
    """

    repositories: int = 0
    images: int = 0
    tags: int = 0
    manifests: int = 0
    written: int = 0
    written_bytes: int = 0
    kept: int = 0
    pruned: int = 0
    pruned_bytes: int = 0
    lacking: list[str] = msgspec.field(default_factory=list)
    problems: list[str] = msgspec.field(default_factory=list)


class Export:
    """One export. `revisions` gives all manifests of a repository; `on_step` is called with bytes that were read.

    `repositories` gives all that can be pulled from, in the order in which they are to be. With `allow_sparse` it is no
    problem that a repository does not hold what its manifests name. With `plain` names images are called by their tags
    alone, and only one repository can be exported.
    """

    def __init__(  # noqa: PLR0913 - what an export is made of
        self,
        store: Store,
        repositories: Callable[[], Iterable[RepositoryName]],
        revisions: Callable[[RepositoryName], Iterator[Digest]],
        target: Target,
        *,
        plain: bool = False,
        allow_sparse: bool = False,
        on_step: Callable[[int], None],
    ) -> None:
        self._store = store
        self._repositories = repositories
        self._revisions = revisions
        self._target = target
        self._plain = plain
        self._allow_sparse = allow_sparse
        self._on_step = on_step
        self._notes = open_scratch(_SCHEMA)
        self.done = Exported()

    async def run(self, selection: Selection) -> None:
        """Write all that is selected; what it is called is for `finish` to write.

        Raises ValueError where names are plain and not of one repository; StoreError; OSError where the layout cannot
        be written.
        """
        for repository in self._repositories():
            before = self.done.images
            if selection.selects_some(repository):
                await self._repository(repository, selection)
            if self.done.images > before:
                self.done.repositories += 1
        for pattern in selection.unmatched:
            self._tell(f"{pattern}: there is no such image in the registry")

    def finish(self, earlier: Iterable[tuple[Descriptor, bytes]] = ()) -> None:
        """Name the images in the layout, and those that were named `earlier`, unless their names are given anew."""
        self._target.finish(self._lines(earlier))

    def holds(self, digest: Digest) -> bool:
        """Whether the content belongs to what was exported."""
        return self._notes.execute("SELECT 1 FROM held WHERE digest = ?", (digest,)).fetchone() is not None

    async def _tags(self, repository: RepositoryName) -> AsyncIterator[Tag]:
        last = ""
        try:
            while page := await self._store.list_tags(repository, last, _PAGE):
                for tag in page:
                    yield Tag(tag)
                last = page[-1]
        except NotFound:
            return

    async def _repository(self, repository: RepositoryName, selection: Selection) -> None:
        self._notes.execute("DELETE FROM manifests")
        async for tag in self._tags(repository):
            if selection.selects(repository, tag):
                await self._tag(repository, tag)
        if selection.selects_all(repository):
            for digest in self._revisions(repository):
                await self._manifest(repository, digest)
        else:
            await self._companions(repository)
        self._name_untagged(repository)

    async def _tag(self, repository: RepositoryName, tag: Tag) -> None:
        place = Place(repository, tag)
        try:
            digest = await self._store.resolve_tag(repository, tag)
        except NotFound:
            return
        await self._manifest(repository, digest)
        (descriptor,) = self._notes.execute(
            "SELECT descriptor FROM manifests WHERE digest = ?", (digest,)
        ).fetchone()
        if descriptor is None:
            self._tell(f"{place}: its manifest {digest} is not there")
            return
        self._name(place, digest, descriptor)
        self.done.tags += 1
        self.done.images += self._mark("tagged", digest)

    async def _companions(self, repository: RepositoryName) -> None:
        """What refers to the manifests that were selected: by its subject, or by a tag that is made of their digest."""
        has_more = True
        while has_more:
            has_more = False
            while todo := self._unasked():
                for subject in todo:
                    for descriptor in await self._store.list_referrers(repository, subject):
                        await self._manifest(repository, msgspec.json.decode(descriptor, type=_Listed).read())
            async for tag in self._tags(repository):
                if self._is_companion(tag) and not self._is_named(str(Place(repository, tag))):
                    await self._tag(repository, tag)
                    has_more = True

    def _unasked(self) -> list[Digest]:
        rows = self._notes.execute(
            "UPDATE manifests SET asked = 1 WHERE digest IN"
            " (SELECT digest FROM manifests WHERE seen = 1 AND asked = 0 LIMIT ?) RETURNING digest",
            (_PAGE,),
        )
        return [Digest(digest) for (digest,) in rows.fetchall()]

    def _is_companion(self, tag: Tag) -> bool:
        """A tag such as `sha256-....sig`, of which the digest is that of a manifest that is exported."""
        algorithm, _, rest = tag.partition("-")
        encoded = rest.partition(".")[0]
        begin = f"{algorithm}:{encoded}"  # cut off, where a tag has no room for all of it
        row = self._notes.execute(
            "SELECT 1 FROM manifests WHERE seen = 1 AND digest >= ? AND digest < ?", (begin, f"{begin}g")
        ).fetchone()
        return row is not None and _ENCODED.fullmatch(encoded) is not None

    async def _manifest(self, repository: RepositoryName, digest: Digest) -> None:
        """A manifest with all that it names."""
        waiting = [digest]
        while waiting:
            each = waiting.pop()
            if self._mark("seen", each):
                waiting += await self._alone(repository, each)

    def _mark(self, mark: str, digest: Digest) -> bool:
        """Whether the manifest was not marked so before."""
        self._notes.execute("INSERT OR IGNORE INTO manifests (digest) VALUES (?)", (digest,))
        return bool(
            self._notes.execute(
                f"UPDATE manifests SET {mark} = 1 WHERE digest = ? AND {mark} = 0",  # noqa: S608 - a word of ours
                (digest,),
            ).rowcount
        )

    async def _alone(self, repository: RepositoryName, digest: Digest) -> list[Digest]:
        """A manifest with its blobs; the manifests that it names, which are still to come.

        One that is not there has been deleted this moment, or is missed where it is named.
        """
        try:
            content = await self._store.read_manifest(repository, digest)
        except NotFound:
            return []
        except StoreError as error:
            self._tell(f"{repository}@{digest}: {error}")
            return []
        outline = outline_of(digest, content)
        named = (*outline.children, *(() if outline.is_known else outline.blobs))
        missing = {*await self._store.missing_manifests(repository, [each.digest for each in named])}
        below = [each for each in named if each.digest not in missing]
        for each in below:
            if each.is_manifest:
                self._mark("listed", each.digest)
        rest = [each for each in named if each.digest in missing]
        for blob in (*rest, *(outline.blobs if outline.is_known else ())):
            await self._blob(repository, digest, blob)
        await self._content(repository, digest, ContentBytes(content))
        self._notes.execute(
            "UPDATE manifests SET descriptor = ? WHERE digest = ?",
            (_descriptor(digest, outline.media_type, content), digest),
        )
        self.done.manifests += 1
        return [each.digest for each in below]

    async def _blob(self, repository: RepositoryName, manifest: Digest, blob: Named) -> None:
        try:
            content = await self._store.find_blob(repository, blob.digest)
        except NotFound:
            if not blob.optional:
                _tell(
                    self.done.lacking if self._allow_sparse else self.done.problems,
                    f"{repository}@{manifest}: {blob.digest}, which it names, is not in the repository",
                )
        except StoreError as error:
            self._tell(f"{repository}@{manifest}: {blob.digest}: {error}")
        else:
            await self._content(repository, blob.digest, content)

    async def _content(self, repository: RepositoryName, digest: Digest, content: Content) -> None:
        if not self._notes.execute("INSERT OR IGNORE INTO held (digest) VALUES (?)", (digest,)).rowcount:
            told = self._notes.execute(
                "UPDATE held SET told = ?1 WHERE digest = ?2 AND told != ?1 RETURNING fault",
                (repository, digest),
            ).fetchall()
            for (fault,) in told:
                self._tell(f"{repository}: {fault}")
            return
        size = 0
        try:
            for step in self._target.add(digest, content):
                size += step.written
                self._on_step(step.read)
                await asyncio.sleep(0)
        except Damaged as error:
            self._notes.execute(
                "UPDATE held SET fault = ?, told = ? WHERE digest = ?", (str(error), repository, digest)
            )
            self._tell(f"{repository}: {error}")
        else:
            self.done.written += size > 0
            self.done.written_bytes += size

    def _name_untagged(self, repository: RepositoryName) -> None:
        """Manifests that nobody would find who follows those that have names."""
        rows = self._notes.execute(
            "SELECT digest, descriptor FROM manifests WHERE descriptor IS NOT NULL AND tagged = 0 AND listed = 0"
        )
        for digest, descriptor in rows:
            self._name(Place(repository, None), Digest(digest), descriptor)
            self.done.images += 1

    def _name(self, place: Place, digest: Digest, descriptor: bytes) -> None:
        if self._plain and self.done.repositories:
            raise ValueError("tags alone name the images of one repository, and more were selected")
        annotations = annotations_of(place, plain=self._plain)
        entry = b'%s,"annotations":%s}' % (descriptor[:-1], msgspec.json.encode(annotations))
        self._notes.execute(
            "INSERT INTO entries (name, repository, digest, entry) VALUES (?, ?, ?, ?)",
            (_key(annotations, digest), place.repository, digest, entry),
        )

    def _is_named(self, name: str) -> bool:
        return self._notes.execute("SELECT 1 FROM entries WHERE name = ?", (name,)).fetchone() is not None

    def _lines(self, earlier: Iterable[tuple[Descriptor, bytes]]) -> Iterator[bytes]:
        for (entry,) in self._notes.execute("SELECT entry FROM entries ORDER BY number"):
            yield entry
        for descriptor, entry in earlier:
            annotations = descriptor.annotations or {}
            if not self._is_named(_key(annotations, descriptor.digest)) and not (
                REF_NAME not in annotations and self._has(annotations.get(REPOSITORY), descriptor.digest)
            ):
                self.done.kept += 1
                yield entry

    def _has(self, repository: str | None, digest: Digest) -> bool:
        row = self._notes.execute(
            "SELECT 1 FROM entries WHERE digest = ? AND repository = ?", (digest, repository)
        ).fetchone()
        return row is not None

    def _tell(self, problem: str) -> None:
        _tell(self.done.problems, problem)


def _tell(told: list[str], line: str) -> None:
    if len(told) < _MOST_TOLD:
        told.append(line)


class _Listed(msgspec.Struct):
    digest: str

    def read(self) -> Digest:
        return Digest(self.digest)


def _key(annotations: dict[str, str], digest: Digest) -> str:
    """What can be named once in a layout."""
    return annotations.get(REF_NAME) or f"{annotations.get(REPOSITORY, '')}@{digest}"


def _descriptor(digest: Digest, media_type: str, content: bytes) -> bytes:
    referrer = referrer_of(digest, content)
    artifact_type = None if referrer is None else descriptor_artifact_type(referrer.descriptor)
    return _encode(Descriptor(media_type, digest, len(content), artifact_type=artifact_type))


def _encode(descriptor: Descriptor) -> bytes:
    return msgspec.json.encode(descriptor, enc_hook=str)
