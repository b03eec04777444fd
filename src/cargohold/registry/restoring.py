"""Restoring: a manifest out of the trash, with its tags, and with what it needs and what belongs to it."""

from __future__ import annotations

from typing import TYPE_CHECKING

import msgspec

from cargohold.storage.protocols import Incomplete, NotFound, TagFixed
from cargohold.storage.trash import Why
from cargohold.types.digest import Digest
from cargohold.types.errors import ManifestInvalid
from cargohold.types.mentions import mentioned, unpack
from cargohold.types.names import RepositoryName, Tag
from cargohold.types.oci import Manifest, detect_media_type, parse_manifest, referrer_of

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Sequence

    from cargohold.storage.protocols import Store
    from cargohold.storage.trash import Record

_TOLD = 3


class Unrestorable(Exception):
    """It cannot be restored; the text says why, and what can be done."""


class Taken(msgspec.Struct, frozen=True):
    """A tag that would have come back, and that points to another manifest by now."""

    tag: Tag
    digest: Digest
    points_to: Digest


class Restored(msgspec.Struct):
    """What came of a restoration: manifests and tags that are there again, and tags that are `taken`.

    `digest` is the manifest that was asked for. `problems` tell of referrers that could not be restored with it.
    """

    repository: RepositoryName
    digest: Digest
    manifests: list[Digest] = []
    tags: dict[Tag, Digest] = {}
    taken: list[Taken] = []
    problems: list[str] = []


class Restoring:
    """One restoration in a repository, from those `records` that can be undone.

    Each manifest is stored as a push stores it: `complete` or not, and no tag that is `fixed` is moved.
    """

    def __init__(
        self,
        store: Store,
        repository: RepositoryName,
        records: Sequence[Record],
        *,
        complete: bool,
        fixed: Callable[[Tag], bool] | None,
    ) -> None:
        self._store = store
        self._repository = repository
        self._records = records
        self._complete = complete
        self._fixed = fixed
        self._seen: set[Digest] = set()
        self._asked: dict[Digest, list[Record]] = {}

    async def run(self, digest: Digest, records: list[Record]) -> Restored:
        """Undo these deletions, which are all of the digest. Raises Unrestorable."""
        self._asked[digest] = records
        done = Restored(self._repository, digest)
        await self._bring_back(digest, done)
        waiting = [digest, *done.manifests]
        while waiting:
            for referrer in self._referrers_of(waiting.pop()):
                before = len(done.manifests)
                try:
                    await self._bring_back(referrer, done)
                except Unrestorable as error:
                    done.problems.append(str(error))
                waiting += done.manifests[before:]
        return done

    def _referrers_of(self, subject: Digest) -> Iterator[Digest]:
        for record in self._records:
            went_with_it = record.subject == subject and record.cause.why is Why.SUBJECT_DELETED
            if went_with_it and record.digest not in self._seen:
                yield record.digest

    async def _bring_back(self, digest: Digest, done: Restored) -> None:
        """A manifest, and before it those of its children that are in the trash."""
        waiting = [digest]
        while waiting:
            each = waiting[-1]
            manifest = await self._read(each)
            children = [] if each in self._seen else await self._children(manifest)
            self._seen.add(each)
            waiting += children
            if not children:
                waiting.pop()
                await self._commit(each, manifest, done)

    async def _read(self, digest: Digest) -> Manifest:
        try:
            content = await self._store.read_deleted(self._repository, digest)
        except NotFound:
            raise Unrestorable(f"the content of the manifest {digest} is gone: push it again") from None
        try:
            return parse_manifest(content, None)
        except ManifestInvalid:
            return await self._read_loosely(content, digest)

    async def _read_loosely(self, content: bytes, digest: Digest) -> Manifest:
        """Of what was stored by other rules it is not known what it needs: what it mentions, and is there, stays."""
        digests = sorted(map(unpack, mentioned(content)))
        no_manifests = await self._store.missing_manifests(self._repository, digests)
        no_blobs = await self._store.missing_blobs(self._repository, digests)
        referrer = referrer_of(digest, content)
        return Manifest(
            media_type=detect_media_type(content),
            content=content,
            blobs=tuple(each for each in digests if each not in no_blobs),
            manifests=tuple(each for each in digests if each not in no_manifests),
            subject=referrer.subject if referrer else None,
        )

    async def _children(self, manifest: Manifest) -> list[Digest]:
        missing = await self._store.missing_manifests(self._repository, manifest.manifests)
        missing = await self._store.missing_blobs(self._repository, missing)
        deleted = {record.digest for record in self._records if record.whole}
        return [digest for digest in missing if digest in deleted and digest not in self._seen]

    async def _commit(self, digest: Digest, manifest: Manifest, done: Restored) -> None:
        records = self._asked.get(digest) or [
            record for record in self._records if record.digest == digest and went_with_it(record)
        ]
        is_here = not await self._store.missing_manifests(self._repository, [digest])
        wanted, here, taken = await self._sorted(digest, {tag for record in records for tag in record.tags})
        while wanted or not is_here:
            try:
                await self._store.commit_manifest(
                    self._repository,
                    digest,
                    manifest,
                    sorted(wanted),
                    complete=self._complete,
                    fixed=self._fixed,
                )
            except TagFixed as found:
                wanted.remove(found.tag)
                taken[found.tag] = found.digest
            except Incomplete as lack:
                raise Unrestorable(_lacking(digest, lack.missing)) from None
            else:
                break
        if not is_here:
            done.manifests.append(digest)
        done.tags |= dict.fromkeys(sorted(wanted), digest)
        done.taken += [Taken(tag, digest, taken[tag]) for tag in sorted(taken)]
        back = here | wanted
        await self._store.drop_records(
            self._repository,
            [each.name for each in self._records if each.digest == digest and back.issuperset(each.tags)],
        )

    async def _sorted(self, digest: Digest, tags: set[Tag]) -> tuple[set[Tag], set[Tag], dict[Tag, Digest]]:
        """Tags that are to be set, that point here already, and that point elsewhere and must not move."""
        wanted: set[Tag] = set()
        here: set[Tag] = set()
        taken: dict[Tag, Digest] = {}
        for tag in tags:
            found = await target(self._store, self._repository, tag)
            if found == digest:
                here.add(tag)
            elif found is None or self._fixed is None or not self._fixed(tag):
                wanted.add(tag)
            else:
                taken[tag] = found
        return wanted, here, taken


def went_with_it(record: Record) -> bool:
    """Whether a deletion took a manifest, or tags of it for the same reason; not a tag that somebody did not want."""
    return record.cause.why is not Why.TAG_DELETED


async def target(store: Store, repository: RepositoryName, tag: Tag) -> Digest | None:
    """What a tag points to; None where there is no such tag."""
    try:
        return await store.resolve_tag(repository, tag)
    except NotFound:
        return None


def _lacking(digest: Digest, missing: Sequence[Digest]) -> str:
    more = f" and {len(missing) - _TOLD} more" if len(missing) > _TOLD else ""
    return (
        f"the manifest {digest} needs what is not in the repository any more: {', '.join(missing[:_TOLD])}{more};"
        " push the image again, or restore it as it is with --set manifests.allow_sparse=true"
    )
