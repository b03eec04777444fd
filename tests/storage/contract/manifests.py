"""Manifests, tags, referrers: what one call does to them."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from cargohold.storage.protocols import NotFound
from cargohold.types.digest import Algorithm, Digest
from cargohold.types.names import RepositoryName, Tag

from .base import (
    LATEST,
    ONE,
    OTHER,
    Contract,
    blob,
    commit,
    descriptors,
    document,
    push,
    sample,
    tags_of,
    target,
)

if TYPE_CHECKING:
    from cargohold.storage.protocols import Store

FIRST, SECOND, THIRD = sample("first"), sample("second"), sample("third")
STABLE, EDGE = Tag("stable"), Tag("edge")


class ManifestContract(Contract):
    """`MetadataStore`: manifests and tags."""

    @pytest.mark.parametrize("algorithm", Algorithm)
    async def test_manifest_read_where_committed(
        self, store: Store, second: Store, algorithm: Algorithm
    ) -> None:
        """A manifest is read as it was committed, by every process, under a digest of either algorithm."""
        made = sample("exact bytes", algorithm=algorithm)
        await commit(store, ONE, made)
        assert await document(store, ONE, made.digest) == made.manifest.content
        assert await document(second, ONE, made.digest) == made.manifest.content

    async def test_manifest_unseen_elsewhere(self, store: Store) -> None:
        """A manifest and a tag are those of one repository; no other sees them."""
        await commit(store, ONE, FIRST, LATEST)
        for name in ("library/other", "library", "library/one/deeper", "one"):
            assert await document(store, RepositoryName(name), FIRST.digest) is None
            assert await target(store, RepositoryName(name), LATEST) is None

    async def test_same_name_in_two_repositories(self, store: Store) -> None:
        """One tag in two repositories points where each set it, and is deleted in one alone."""
        await commit(store, ONE, FIRST, LATEST)
        await commit(store, OTHER, SECOND, LATEST)
        assert await target(store, ONE, LATEST) == FIRST.digest
        await store.delete_tag(ONE, LATEST)
        assert await target(store, OTHER, LATEST) == SECOND.digest

    async def test_same_manifest_in_two_repositories(self, store: Store) -> None:
        """One manifest in two repositories is deleted from one alone."""
        await commit(store, ONE, FIRST, LATEST)
        await commit(store, OTHER, FIRST, LATEST)
        await store.delete_manifest(ONE, FIRST.digest)
        assert await document(store, ONE, FIRST.digest) is None
        assert await document(store, OTHER, FIRST.digest) == FIRST.manifest.content
        assert await target(store, OTHER, LATEST) == FIRST.digest

    async def test_content_is_not_checked(self, store: Store) -> None:
        """A manifest is stored though nothing of what it names is: not its blobs, not its subject."""
        made = sample("names much", subject=Digest.of(b"not stored"))
        await commit(store, ONE, made, LATEST)
        assert await document(store, ONE, made.digest) == made.manifest.content

    async def test_missing_manifests_in_order(self, store: Store) -> None:
        """`missing_manifests` gives those that the repository lacks, in the order asked."""
        await commit(store, ONE, SECOND)
        await commit(store, OTHER, THIRD)
        digest = await push(store, ONE, b"a blob")
        asked = [THIRD.digest, SECOND.digest, digest, FIRST.digest]
        assert await store.missing_manifests(ONE, asked) == [THIRD.digest, digest, FIRST.digest]
        assert await store.missing_manifests(ONE, asked[::-1]) == [FIRST.digest, digest, THIRD.digest]
        assert await store.missing_manifests(RepositoryName("unknown"), asked) == asked
        assert await store.missing_manifests(ONE, []) == []

    async def test_manifest_committed_again(self, store: Store) -> None:
        """A manifest that is there can be committed again; its tags stay, and new ones are added."""
        await commit(store, ONE, FIRST, LATEST)
        await commit(store, ONE, FIRST)
        await commit(store, ONE, FIRST, STABLE)
        assert await document(store, ONE, FIRST.digest) == FIRST.manifest.content
        assert await tags_of(store, ONE) == [LATEST, STABLE]

    async def test_several_tags(self, store: Store, second: Store) -> None:
        """All the tags of a commit point to its manifest; one given twice is one."""
        tags = [Tag(f"v1.{number}") for number in range(12)]
        await commit(store, ONE, FIRST, *tags, tags[3])
        assert [await target(second, ONE, tag) for tag in tags] == [FIRST.digest] * 12
        assert await tags_of(store, ONE) == sorted(tags)

    async def test_tag_moves(self, store: Store, second: Store) -> None:
        """A commit moves the tags that it names, wherever they pointed, and no others; all see it."""
        await commit(store, ONE, FIRST, LATEST, STABLE)
        await commit(second, ONE, SECOND, LATEST, EDGE)
        for each in (store, second):
            assert await target(each, ONE, LATEST) == SECOND.digest
            assert await target(each, ONE, EDGE) == SECOND.digest
            assert await target(each, ONE, STABLE) == FIRST.digest
        assert await document(store, ONE, FIRST.digest) == FIRST.manifest.content

    async def test_tag_moves_back(self, store: Store) -> None:
        """A tag may return to what it pointed to before."""
        for made in (FIRST, SECOND, FIRST, FIRST, SECOND):
            await commit(store, ONE, made, LATEST)
            assert await target(store, ONE, LATEST) == made.digest

    async def test_unknown_tag(self, store: Store) -> None:
        """A tag that nobody set is NotFound, whether or not the repository exists; case tells tags apart."""
        await commit(store, ONE, FIRST, LATEST)
        assert await target(store, ONE, STABLE) is None
        assert await target(store, ONE, Tag("Latest")) is None
        assert await target(store, OTHER, LATEST) is None

    async def test_delete_returns_tags(self, store: Store, second: Store) -> None:
        """Deleting a manifest removes and returns every tag that points to it, and no tag that does not."""
        await commit(store, ONE, FIRST, LATEST, STABLE, EDGE)
        await commit(store, ONE, SECOND, EDGE)
        tags = await second.delete_manifest(ONE, FIRST.digest)
        assert sorted(tags) == [LATEST, STABLE]
        assert await document(store, ONE, FIRST.digest) is None
        assert await tags_of(store, ONE) == [EDGE]
        assert [await target(store, ONE, tag) for tag in (LATEST, STABLE, EDGE)] == [
            None,
            None,
            SECOND.digest,
        ]

    async def test_delete_untagged(self, store: Store) -> None:
        """Deleting a manifest to which no tag points returns none, though one did once."""
        await commit(store, ONE, FIRST, LATEST)
        await commit(store, ONE, SECOND, LATEST)
        assert await store.delete_manifest(ONE, FIRST.digest) == []
        assert await target(store, ONE, LATEST) == SECOND.digest

    async def test_delete_unknown_manifest(self, store: Store) -> None:
        """What the repository does not hold, or no longer, cannot be deleted from it."""
        await commit(store, ONE, FIRST, LATEST)
        for repository, digest in ((ONE, SECOND.digest), (OTHER, FIRST.digest)):
            with pytest.raises(NotFound):
                await store.delete_manifest(repository, digest)
        assert await store.delete_manifest(ONE, FIRST.digest) == [LATEST]
        with pytest.raises(NotFound):
            await store.delete_manifest(ONE, FIRST.digest)

    async def test_delete_leaves_blobs(self, store: Store) -> None:
        """Blobs stay when a manifest that names them is deleted."""
        made = sample("layer")
        digest = await push(store, ONE, b"layer")
        await commit(store, ONE, made)
        assert digest in made.manifest.blobs
        await store.delete_manifest(ONE, made.digest)
        assert await blob(store, ONE, digest) == b"layer"

    async def test_manifest_committed_after_deletion(self, store: Store) -> None:
        """A deleted manifest can be committed again; the tags that it had do not come back with it."""
        await commit(store, ONE, FIRST, LATEST, STABLE)
        await store.delete_manifest(ONE, FIRST.digest)
        await commit(store, ONE, FIRST, EDGE)
        assert await document(store, ONE, FIRST.digest) == FIRST.manifest.content
        assert await tags_of(store, ONE) == [EDGE]
        assert await store.delete_manifest(ONE, FIRST.digest) == [EDGE]

    async def test_delete_tag(self, store: Store, second: Store) -> None:
        """Deleting a tag leaves its manifest and the other tags."""
        await commit(store, ONE, FIRST, LATEST, STABLE)
        await second.delete_tag(ONE, LATEST)
        assert await target(store, ONE, LATEST) is None
        assert await tags_of(store, ONE) == [STABLE]
        assert await document(store, ONE, FIRST.digest) == FIRST.manifest.content
        assert await store.delete_manifest(ONE, FIRST.digest) == [STABLE]

    async def test_delete_unknown_tag(self, store: Store) -> None:
        """A tag that is not there, or no longer, cannot be deleted."""
        await commit(store, ONE, FIRST, LATEST)
        for repository, tag in ((ONE, STABLE), (OTHER, LATEST)):
            with pytest.raises(NotFound):
                await store.delete_tag(repository, tag)
        await store.delete_tag(ONE, LATEST)
        with pytest.raises(NotFound):
            await store.delete_tag(ONE, LATEST)

    async def test_tag_set_again(self, store: Store) -> None:
        """A deleted tag can be set again, to what it pointed to or to another."""
        for made in (FIRST, FIRST, SECOND):
            await commit(store, ONE, made, LATEST)
            assert await target(store, ONE, LATEST) == made.digest
            await store.delete_tag(ONE, LATEST)

    async def test_longest_names(self, store: Store) -> None:
        """The longest names of the grammar, and those like a store's own files, are names like others."""
        repositories = ["r" * 255, "a/" * 127 + "a", "blobs", "sha256", "data/link", "manifests/tags/uploads"]
        tags = [Tag(text) for text in ("t" * 128, "current", "index", "link", "sha256", "_layers", "1")]
        for name in map(RepositoryName, repositories):
            await commit(store, name, FIRST, *tags)
            assert await tags_of(store, name) == sorted(tags)
            assert [await target(store, name, tag) for tag in tags] == [FIRST.digest] * len(tags)
            digest = await push(store, name, b"content")
            assert await blob(store, name, digest) == b"content"
        assert await store.list_repositories("", 100) == sorted(repositories)
        for name in map(RepositoryName, repositories):
            assert sorted(await store.delete_manifest(name, FIRST.digest)) == sorted(tags)
        assert await store.list_repositories("", 100) == []


class ReferrerContract(Contract):
    """`MetadataStore.list_referrers`."""

    async def test_referrers_by_digest(self, store: Store, second: Store) -> None:
        """The descriptors of all manifests with this subject are listed, by digest, whenever they came."""
        made = [sample(f"of {number}", FIRST.digest, list(Algorithm)[number % 2]) for number in range(12)]
        await commit(store, ONE, FIRST, LATEST)
        for each in made:
            await commit(store, ONE, each)
        expected = descriptors(FIRST.digest, made)
        assert len(expected) == 12
        for each_store in (store, second):
            assert await each_store.list_referrers(ONE, FIRST.digest) == expected

    async def test_referrers_of_several_subjects(self, store: Store) -> None:
        """Each subject has its own referrers, of which some may be subjects themselves."""
        signature = sample("signature", FIRST.digest)
        signed = sample("signature of the signature", signature.digest)
        both = [signature, signed, sample("report", FIRST.digest), sample("of second", SECOND.digest)]
        for each in both:
            await commit(store, ONE, each)
        for subject in (FIRST.digest, SECOND.digest, signature.digest, signed.digest):
            assert await store.list_referrers(ONE, subject) == descriptors(subject, both)
        assert len(await store.list_referrers(ONE, FIRST.digest)) == 2

    async def test_referrers_of_subject_not_stored(self, store: Store) -> None:
        """Referrers are listed before their subject is stored, and after it was deleted."""
        made = [sample("early", FIRST.digest)]
        await commit(store, ONE, made[0])
        assert await store.list_referrers(ONE, FIRST.digest) == descriptors(FIRST.digest, made)
        await commit(store, ONE, FIRST)
        assert await store.list_referrers(ONE, FIRST.digest) == descriptors(FIRST.digest, made)
        await store.delete_manifest(ONE, FIRST.digest)
        assert await store.list_referrers(ONE, FIRST.digest) == descriptors(FIRST.digest, made)

    @pytest.mark.parametrize("subject", [Digest.of(b"unknown"), Digest.of(b"unknown", Algorithm.SHA512)])
    async def test_referrers_of_unknown(self, store: Store, subject: Digest) -> None:
        """What is not known has no referrers, whether or not the repository exists."""
        await commit(store, ONE, sample("of first", FIRST.digest))
        assert await store.list_referrers(ONE, subject) == []
        assert await store.list_referrers(OTHER, subject) == []

    async def test_referrers_unseen_elsewhere(self, store: Store) -> None:
        """Referrers are those of one repository."""
        made = sample("of first", FIRST.digest)
        await commit(store, ONE, made)
        await commit(store, OTHER, FIRST)
        assert await store.list_referrers(OTHER, FIRST.digest) == []
        await commit(store, OTHER, made)
        await store.delete_manifest(ONE, made.digest)
        assert await store.list_referrers(ONE, FIRST.digest) == []
        assert await store.list_referrers(OTHER, FIRST.digest) == descriptors(FIRST.digest, [made])

    async def test_referrer_committed_again(self, store: Store) -> None:
        """A referrer that is committed twice is listed once."""
        made = sample("twice", FIRST.digest)
        for tags in ((), (LATEST,)):
            await commit(store, ONE, made, *tags)
        assert await store.list_referrers(ONE, FIRST.digest) == descriptors(FIRST.digest, [made])

    async def test_referrer_deleted(self, store: Store, second: Store) -> None:
        """A deleted referrer leaves the list, in every process, and comes back when it is committed again."""
        made = [sample(f"of {number}", FIRST.digest) for number in range(3)]
        for each in made:
            await commit(store, ONE, each)
        await second.delete_manifest(ONE, made[1].digest)
        for each_store in (store, second):
            left = descriptors(FIRST.digest, [made[0], made[2]])
            assert await each_store.list_referrers(ONE, FIRST.digest) == left
        await commit(store, ONE, made[1])
        assert await second.list_referrers(ONE, FIRST.digest) == descriptors(FIRST.digest, made)

    async def test_referrers_need_no_tag(self, store: Store) -> None:
        """A tag that moves away from a referrer, or is deleted, leaves it listed."""
        made = sample("tagged", FIRST.digest)
        await commit(store, ONE, made, LATEST, STABLE)
        await commit(store, ONE, SECOND, LATEST)
        await store.delete_tag(ONE, STABLE)
        assert await store.list_referrers(ONE, FIRST.digest) == descriptors(FIRST.digest, [made])
