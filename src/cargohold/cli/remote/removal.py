"""What is to be removed from registries, told before it is done."""

from __future__ import annotations

from contextlib import suppress
from typing import TYPE_CHECKING

import msgspec

from cargohold.cli.progress import progress
from cargohold.cli.refusal import Refused
from cargohold.cli.remote.exchange import RegistryRefused, at_once
from cargohold.cli.remote.session import Session
from cargohold.types.digest import Digest
from cargohold.types.errors import TagInvalid
from cargohold.types.names import RepositoryName, Tag

if TYPE_CHECKING:
    from collections.abc import Callable, Collection, Iterable, Iterator

    from cargohold.cli.remote.address import Address, Place

_NOT_FOUND = 404
_BAD_REQUEST = 400
_NO_TAG_DELETION = frozenset({"UNSUPPORTED", "DIGEST_INVALID"})
_BATCH = 256


class Removal(msgspec.Struct, frozen=True):
    """A `tag` that goes alone; or a manifest with all the `tags` that point to it."""

    session: Session
    repository: RepositoryName
    digest: Digest
    tag: Tag | None
    tags: tuple[Tag, ...] = ()

    def __str__(self) -> str:
        if self.tag is not None:
            return f"tag {self.session.address}/{self.repository}:{self.tag}"
        return f"manifest {self._manifest}, {_tagged(self.tags)}"

    def carry_out(self, *, quiet: bool) -> None:
        """Remove it. Raises Refused, with what may be done where the registry removes no tags."""
        try:
            self.session.delete_manifest(self.repository, self.tag or self.digest)
        except RegistryRefused as error:
            if self.tag is None or error.status != _BAD_REQUEST or error.codes.isdisjoint(_NO_TAG_DELETION):
                raise
            tags = _tags_of(self.session, self.repository, {self.digest}, quiet=quiet)[self.digest]
            raise Refused(
                f"{error.message}. It does not remove a tag alone. What can be removed is its manifest,"
                f" {_tagged(tags)}, by --manifest or by the address {self._manifest}. Where the registry is"
                " cargohold, manifests.allow_tag_deletion lets tags be removed."
            ) from None

    @property
    def _manifest(self) -> str:
        return f"{self.session.address}/{self.repository}@{self.digest}"


def plan(
    places: Iterable[Place], open_session: Callable[[Place], Session], *, manifests: bool, quiet: bool
) -> list[Removal]:
    """What is to be done for images, each thing once; with `manifests` a tag stands for what it points to.

    Raises Refused where one of them is not there.
    """
    repositories: dict[tuple[Address, RepositoryName], list[Place]] = {}
    for place in places:
        repositories.setdefault((place.address, place.repository), []).append(place)
    return [
        removal
        for named in repositories.values()
        for removal in _plan(open_session(named[0]), named, manifests=manifests, quiet=quiet)
    ]


def _plan(session: Session, places: list[Place], *, manifests: bool, quiet: bool) -> list[Removal]:
    """For images of one repository; tags come first, and those that go with a manifest are not told apart."""
    repository = places[0].repository
    digests = {place: session.digest(repository, place.reference or "") for place in places}
    whole = {digest: None for place, digest in digests.items() if manifests or place.tag is None}
    alone = {place.tag: digest for place, digest in digests.items() if digest not in whole}
    tags = _tags_of(session, repository, whole, quiet=quiet) if whole else {}
    return [
        *(Removal(session, repository, digest, tag) for tag, digest in alone.items()),
        *(Removal(session, repository, digest, None, tags[digest]) for digest in whole),
    ]


def _tags_of(
    session: Session, repository: RepositoryName, digests: Collection[Digest], *, quiet: bool
) -> dict[Digest, tuple[Tag, ...]]:
    """The tags that point to manifests now. Raises Refused."""

    def pointed_to(tag: Tag) -> Digest | None:
        try:
            return session.digest(repository, tag)
        except RegistryRefused as error:
            if error.status == _NOT_FOUND:
                return None
            raise

    found: dict[Digest, list[Tag]] = {digest: [] for digest in digests}
    with at_once() as threads, progress("tags", quiet=quiet) as advance:
        for batch in _batches(session, repository):
            for tag, digest in zip(batch, threads.map(pointed_to, batch), strict=True):
                if digest in found:
                    found[digest].append(tag)
                advance(1)
    return {digest: tuple(sorted(tags)) for digest, tags in found.items()}


def _batches(session: Session, repository: RepositoryName) -> Iterator[list[Tag]]:
    """The tags of a repository, some hundred at a time; what can be no tag is left out."""
    try:
        for page in session.tags(repository):
            for start in range(0, len(page), _BATCH):
                yield list(_valid(page[start : start + _BATCH]))
    except RegistryRefused as error:
        if error.status != _NOT_FOUND:  # some say so where a repository has manifests without tags
            raise


def _valid(names: Iterable[str]) -> Iterator[Tag]:
    for name in names:
        with suppress(TagInvalid):
            yield Tag(name)


def _tagged(tags: Collection[Tag]) -> str:
    return f"with its tags {', '.join(tags)}" if tags else "which has no tag"
