"""Images into the registry, from an archive: through the use cases that clients come through, and as durable."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING, Final, NamedTuple

import msgspec

from cargohold.registry.moving.names import REPOSITORY, Place, place_of
from cargohold.registry.moving.outline import Named, outline_of
from cargohold.storage.archive.scratch import open_scratch
from cargohold.storage.archive.tar import ArchiveInvalid
from cargohold.storage.protocols import NotFound
from cargohold.types.digest import Digest
from cargohold.types.errors import Denied, ManifestBlobUnknown, RegistryError
from cargohold.types.names import RepositoryName, Tag
from cargohold.types.oci import (
    MANIFEST_TYPES,
    OCTET_STREAM,
    Manifest,
    detect_media_type,
    parse_manifest,
    referrer_of,
)
from cargohold.types.text import printable

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Callable, Iterator, Sequence

    from cargohold.registry.blobs import Blobs
    from cargohold.registry.manifests import Manifests
    from cargohold.registry.moving.outline import Outline
    from cargohold.registry.uploads import Uploads
    from cargohold.storage.archive.images import Images
    from cargohold.storage.protocols import Store

_AT_ONCE: Final = 4
_TRIES: Final = 3
_DEEPEST: Final = 16
_FEW: Final = 3
_MOST_TOLD: Final = 1_000
_SCHEMA: Final = """
    CREATE TABLE images (
        number INTEGER PRIMARY KEY, repository TEXT, tag TEXT, digest TEXT, size INTEGER, media_type TEXT, ours INTEGER,
        UNIQUE (repository, tag, digest)
    );
    CREATE INDEX by_digest ON images (digest);
    CREATE TABLE checked (digest TEXT PRIMARY KEY) WITHOUT ROWID;
    CREATE TABLE done (repository TEXT, digest TEXT, PRIMARY KEY (repository, digest)) WITHOUT ROWID;
    CREATE TABLE held (digest TEXT PRIMARY KEY, repository TEXT) WITHOUT ROWID;
"""


class Imported(msgspec.Struct):
    """What came of an import; in a dry run, what would.

    `images` are manifests that the archive names, with how many `tags`; `written` pieces of content, of
    `written_bytes`, were not in the registry. `problems` say what could not be imported, and why; the first thousand
    of them.
    """

    images: int = 0
    tags: int = 0
    manifests: int = 0
    written: int = 0
    written_bytes: int = 0
    problems: list[str] = msgspec.field(default_factory=list)


class _ToldError(Exception):
    """An image is not stored, since each of its tags was denied; that has been told."""


class _Image(NamedTuple):
    """A manifest that the archive names, and the tags that it names it by."""

    repository: RepositoryName
    named: Named
    tags: tuple[Tag, ...]
    is_ours: bool

    def __str__(self) -> str:
        return (
            str(Place(self.repository, self.tags[0]))
            if self.tags
            else f"{self.repository}@{self.named.digest}"
        )


class Import:
    """One import. `plan` comes first, which changes nothing; then `run`.

    Manifests of more than `most` bytes are refused. `on_step` is called with bytes that were read.
    """

    def __init__(  # noqa: PLR0913 - what an import is made of
        self,
        store: Store,
        uploads: Uploads,
        blobs: Blobs,
        manifests: Manifests,
        images: Images,
        *,
        most: int,
        allow_sparse: bool,
        on_step: Callable[[int], None],
    ) -> None:
        self._store = store
        self._uploads = uploads
        self._blobs = blobs
        self._manifests = manifests
        self._images = images
        self._most = most
        self._allow_sparse = allow_sparse
        self._on_step = on_step
        self._notes = open_scratch(_SCHEMA)
        self.done = Imported()

    def plan(self, target: Place | None) -> None:
        """Find out where everything belongs: where its names say, or in the repository of `target`.

        Its tag, if it has one, is that of the one image that has a name, or of the one image there is. Raises
        ValueError where an image does not say where it belongs, or where two would have the same tag; ArchiveInvalid;
        OSError.
        """
        for entry in self._images.entries():
            annotations = entry.annotations or {}
            is_ours = REPOSITORY in annotations
            if entry.media_type in MANIFEST_TYPES or is_ours:
                place = place_of(annotations, target)
                self._notes.execute(
                    "INSERT OR IGNORE INTO images (repository, tag, digest, size, media_type, ours)"
                    " VALUES (?, ?, ?, ?, ?, ?)",
                    (place.repository, place.tag or "", entry.digest, entry.size, entry.media_type, is_ours),
                )
        if target is not None and target.tag:
            self._notes.execute(
                "UPDATE images SET tag = ? WHERE (SELECT count(*) FROM images) = 1", (target.tag,)
            )
        twice = self._notes.execute(
            "SELECT repository, tag FROM images WHERE tag != '' GROUP BY repository, tag HAVING count(*) > 1"
        ).fetchone()
        if twice is not None:
            raise ValueError(f"two images of the archive would both be {twice[0]}:{twice[1]}")

    async def run(self, *, dry: bool) -> None:
        """Store what was planned, each image with its tags when all of it is there; in a dry run, only look.

        Raises StoreError, and OSError where the archive cannot be read; what is stored by then stays.
        """
        for image in self._planned():
            try:
                await self._check(image, count=dry)
                if not dry:
                    await self._manifest(image, image.named, image.tags, 0)
            except _ToldError:
                continue
            except (RegistryError, ArchiveInvalid) as error:
                self._tell(f"{image}: {_said(error)}")
            else:
                self.done.images += 1
                self.done.tags += len(image.tags)

    def _planned(self) -> Iterator[_Image]:
        rows = self._notes.execute(
            "SELECT repository, digest, size, media_type, max(ours), group_concat(tag, ' ') FROM images"
            " GROUP BY repository, digest ORDER BY min(number)"
        )
        for repository, digest, size, media_type, is_ours, tags in rows:
            named = Named(Digest(digest), media_type, size, optional=False)
            yield _Image(RepositoryName(repository), named, tuple(map(Tag, tags.split())), bool(is_ours))

    async def _check(self, image: _Image, *, count: bool) -> None:
        """Look whether all of an image is there, in the archive or in its repository already.

        Where it is asked to `count`, what would be written is noted. Raises ArchiveInvalid.
        """
        self._notes.execute("DELETE FROM checked")
        lacking: list[Digest] = []
        new: list[tuple[Digest, int]] = []
        waiting = [image.named]
        while waiting:
            named = waiting.pop()
            if not self._notes.execute("INSERT OR IGNORE INTO checked VALUES (?)", (named.digest,)).rowcount:
                continue
            if self._images.size(named.digest) is None:
                lacking += await self._absent(image.repository, [named])
                continue
            content, outline = self._read(named)
            below, blobs = self._split(outline)
            waiting += below
            absent = await self._absent(image.repository, blobs)
            found = {blob.digest: self._size_of(blob) for blob in blobs}
            lacking += [digest for digest in absent if found[digest] is None]
            if count:
                new += [(each, found[each] or 0) for each in absent]
                if await self._store.missing_manifests(image.repository, [named.digest]):
                    new.append((named.digest, len(content)))
        if lacking and not self._allow_sparse:
            told = ", ".join(lacking[:_FEW]) + (
                f" and {len(lacking) - _FEW} more" if len(lacking) > _FEW else ""
            )
            raise ArchiveInvalid(
                f"it lacks {told}; an index that was saved without all of its platforms is taken where"
                " manifests.allow_sparse is true"
            )
        if count:
            self._count(image.repository, new)

    def _count(self, repository: RepositoryName, new: Sequence[tuple[Digest, int]]) -> None:
        """Note what a dry run would write."""
        for (digest,) in self._notes.execute("SELECT digest FROM checked").fetchall():
            self.done.manifests += self._mark_done(repository, Digest(digest))
        for digest, size in new:
            self._note_written(digest, size, repository)

    async def _absent(self, repository: RepositoryName, named: Sequence[Named]) -> list[Digest]:
        """Those that the repository does not hold, neither as a manifest nor as a blob, and needs."""
        digests = [each.digest for each in named if not each.optional or self._size_of(each) is not None]
        return await self._store.missing_blobs(
            repository, await self._store.missing_manifests(repository, digests)
        )

    def _size_of(self, named: Named) -> int | None:
        """How long content is, None where it is not in the archive. Raises ArchiveInvalid where it should be longer."""
        size = self._images.size(named.digest)
        if size is not None and named.size is not None and size != named.size:
            raise ArchiveInvalid(f"{named.digest} has {size} bytes, and what names it says {named.size}")
        return size

    def _read(self, named: Named) -> tuple[bytes, Outline]:
        """A manifest, judged as one that is pushed; of another kind, by what an export says of it.

        Whoever writes an archive can say that it is one of ours. Raises ManifestInvalid, and ArchiveInvalid.
        """
        self._size_of(named)
        content = self._images.read(named.digest, self._most)
        if named.is_manifest:
            parse_manifest(content, named.media_type)
        elif named.media_type == OCTET_STREAM or detect_media_type(content) != named.media_type:
            raise ArchiveInvalid(
                f"{named.digest} is no manifest of the type {named.media_type!r}, as its entry says: it must be a JSON"
                " object whose mediaType is that, application/..., or have the schemaVersion 1"
            )
        return content, outline_of(named.digest, content)

    def _split(self, outline: Outline) -> tuple[list[Named], list[Named]]:
        """What a manifest names: manifests, and blobs. Of one that nobody knows, the blobs that are in the archive."""
        below = [each for each in outline.children if each.is_manifest]
        blobs = [*(each for each in outline.children if not each.is_manifest), *outline.blobs]
        if not outline.is_known:
            blobs = [
                each for each in blobs if self._size_of(each) is not None and not self._is_entry(each.digest)
            ]
        return below, blobs

    def _is_entry(self, digest: Digest) -> bool:
        return self._notes.execute("SELECT 1 FROM images WHERE digest = ?", (digest,)).fetchone() is not None

    async def _manifest(self, image: _Image, named: Named, tags: tuple[Tag, ...], depth: int) -> None:
        """Store a manifest when all that it names has been stored."""
        repository = image.repository
        if self._images.size(named.digest) is None or (not tags and self._is_done(repository, named.digest)):
            return
        if depth > _DEEPEST:
            raise ArchiveInvalid(f"its indexes are nested more than {_DEEPEST} deep")
        content, outline = self._read(named)
        below, blobs = self._split(outline)
        for attempt in range(_TRIES):
            try:
                for child in below:
                    await self._manifest(image, child, (), depth + 1)
                await self._receive(repository, blobs)
                await self._push(image, named, content, outline, tags)
            except ManifestBlobUnknown:
                # Collected, or deleted, after it was found there: it is stored anew.
                if attempt == _TRIES - 1:
                    raise
                self._notes.execute("DELETE FROM done WHERE repository = ?", (repository,))
            else:
                self.done.manifests += self._mark_done(repository, named.digest)
                return

    def _is_done(self, repository: RepositoryName, digest: Digest) -> bool:
        row = self._notes.execute(
            "SELECT 1 FROM done WHERE repository = ? AND digest = ?", (repository, digest)
        ).fetchone()
        return row is not None

    def _mark_done(self, repository: RepositoryName, digest: Digest) -> bool:
        """Whether it was not done before."""
        return bool(
            self._notes.execute("INSERT OR IGNORE INTO done VALUES (?, ?)", (repository, digest)).rowcount
        )

    async def _receive(self, repository: RepositoryName, blobs: Sequence[Named]) -> None:
        """Store the blobs that the repository does not hold, a few at a time."""
        missing = iter(await self._store.missing_blobs(repository, [blob.digest for blob in blobs]))

        async def receive() -> None:
            for digest in missing:
                await self._blob(repository, digest)

        tasks = [asyncio.create_task(receive()) for _ in range(_AT_ONCE)]
        try:
            await asyncio.gather(*tasks)
        finally:
            for task in tasks:
                task.cancel()
            await asyncio.gather(*tasks, return_exceptions=True)

    async def _blob(self, repository: RepositoryName, digest: Digest) -> None:
        size = self._images.size(digest)
        if size is None:
            return
        row = self._notes.execute("SELECT repository FROM held WHERE digest = ?", (digest,)).fetchone()
        if row is None or not await self._blobs.mount(digest, RepositoryName(row[0]), repository, None):
            await self._uploads.receive(repository, digest, self._body(digest))
            self._note_written(digest, size, repository)

    def _note_written(self, digest: Digest, size: int, repository: RepositoryName) -> None:
        """Count content, once for all repositories, and note one that has it."""
        if self._notes.execute("INSERT OR IGNORE INTO held VALUES (?, ?)", (digest, repository)).rowcount:
            self.done.written += 1
            self.done.written_bytes += size

    async def _body(self, digest: Digest) -> AsyncIterator[bytes]:
        for piece in self._images.pieces(digest):
            yield piece
            self._on_step(len(piece))

    async def _push(
        self, image: _Image, named: Named, content: bytes, outline: Outline, tags: tuple[Tag, ...]
    ) -> None:
        moved = [tag for tag in tags if not await self._points_to(image.repository, tag, named.digest)]
        is_new = bool(await self._store.missing_manifests(image.repository, [named.digest]))
        if not moved and not is_new:
            return
        try:
            await self._commit(image, named, content, outline, moved)
        except Denied:
            if len(moved) < 2:  # noqa: PLR2004 - a tag that may not be set does not keep back the others
                raise
            denied = 0
            for tag in moved:
                try:
                    await self._commit(image, named, content, outline, [tag])
                except Denied as error:
                    denied += 1
                    self._tell(f"{Place(image.repository, tag)}: {_said(error)}")
            if denied == len(moved):
                raise _ToldError from None
            self.done.tags -= denied
        if is_new:
            self._note_written(named.digest, len(content), image.repository)

    async def _commit(
        self, image: _Image, named: Named, content: bytes, outline: Outline, tags: Sequence[Tag]
    ) -> None:
        if named.is_manifest:
            await self._manifests.push(image.repository, named.digest, tags, content, named.media_type)
            return
        subject = referrer_of(named.digest, content)
        manifest = Manifest(
            outline.media_type,
            content,
            tuple(blob.digest for blob in self._split(outline)[1]),
            (),
            None if subject is None else subject.subject,
        )
        await self._manifests.put(image.repository, named.digest, manifest, tags)

    async def _points_to(self, repository: RepositoryName, tag: Tag, digest: Digest) -> bool:
        try:
            return await self._store.resolve_tag(repository, tag) == digest
        except NotFound:
            return False

    def _tell(self, problem: str) -> None:
        if len(self.done.problems) < _MOST_TOLD:
            self.done.problems.append(problem)


def _said(error: RegistryError | ArchiveInvalid) -> str:
    if isinstance(error, ManifestBlobUnknown):
        return f"{', '.join(error.digests[:_FEW])} is not there"
    detail = error.detail if isinstance(error, RegistryError) else None
    if isinstance(error, Denied):
        detail = None  # its message has all of it
    if isinstance(detail, dict):
        detail = "; ".join(map(str, detail.values()))
    return printable(f"{error}: {detail}" if detail else str(error))
