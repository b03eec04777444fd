"""Blobs: who sees them, mounts, deletion."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from cargohold.storage.protocols import NotFound
from cargohold.types.digest import Algorithm, Digest
from cargohold.types.names import RepositoryName

from .base import NOTHING, ONE, OTHER, Contract, Within, blob, commit, document, push, read, sample, started

if TYPE_CHECKING:
    from cargohold.storage.protocols import Store

UNKNOWN = Digest.of(b"nobody pushed this")
THIRD = RepositoryName("third")


class BlobContract(Contract):
    """`BlobStore`."""

    @pytest.mark.parametrize("algorithm", Algorithm)
    async def test_blob_found_where_pushed(self, store: Store, second: Store, algorithm: Algorithm) -> None:
        """A repository sees a blob that was pushed to it, byte for byte, and every process does."""
        content = bytes(range(256)) * 1000
        digest = await push(store, ONE, content, algorithm)
        assert await blob(store, ONE, digest) == content
        assert await blob(second, ONE, digest) == content

    @pytest.mark.parametrize("stranger", ["library", "library/one/deeper", "one", "library/other"])
    async def test_blob_unseen_elsewhere(self, store: Store, stranger: str) -> None:
        """A repository does not see what was pushed to another, above, below or beside it."""
        digest = await push(store, ONE, b"mine")
        assert await blob(store, RepositoryName(stranger), digest) is None

    async def test_unknown_blob(self, store: Store) -> None:
        """A digest that nobody pushed is NotFound, in a repository that exists and in one that does not."""
        await push(store, ONE, b"something else")
        assert await blob(store, ONE, UNKNOWN) is None
        assert await blob(store, OTHER, UNKNOWN) is None

    async def test_blob_kept_once(self, store: Store) -> None:
        """The same content pushed to two repositories is one content, which both see."""
        digest = await push(store, ONE, b"shared")
        assert await push(store, OTHER, b"shared") == digest
        assert await store.find_blob(ONE, digest) == await store.find_blob(OTHER, digest)

    async def test_blob_pushed_again(self, store: Store) -> None:
        """A blob that the repository already holds can be pushed again, and stays what it was."""
        digest = await push(store, ONE, b"again")
        assert await push(store, ONE, b"again") == digest
        assert await blob(store, ONE, digest) == b"again"

    async def test_missing_blobs_in_order(self, store: Store) -> None:
        """`missing_blobs` gives those that are no blob of the repository, in the order asked."""
        held = [await push(store, ONE, b"held %d" % number) for number in range(3)]
        foreign = await push(store, OTHER, b"foreign")
        asked = [UNKNOWN, held[2], foreign, held[0], NOTHING, held[1]]
        assert await store.missing_blobs(ONE, asked) == [UNKNOWN, foreign, NOTHING]
        assert await store.missing_blobs(ONE, asked[::-1]) == [NOTHING, foreign, UNKNOWN]
        assert await store.missing_blobs(THIRD, asked) == asked
        assert await store.missing_blobs(ONE, held) == []
        assert await store.missing_blobs(ONE, []) == []

    async def test_empty_blob(self, store: Store) -> None:
        """The blob of no bytes is a blob like others: not there until it is pushed."""
        assert await blob(store, ONE, NOTHING) is None
        upload = await started(store, ONE)
        await store.commit_upload(ONE, upload, NOTHING, 0)
        assert await blob(store, ONE, NOTHING) == b""

    async def test_manifest_is_no_blob(self, store: Store) -> None:
        """A manifest is not among the blobs of its repository, nor a blob among the manifests."""
        made = sample("manifest")
        await commit(store, ONE, made)
        assert await blob(store, ONE, made.digest) is None
        digest = await push(store, ONE, b"blob")
        assert await document(store, ONE, digest) is None

    async def test_both_blob_and_manifest(self, store: Store) -> None:
        """The same bytes may be a blob and a manifest of a repository; each is deleted without the other."""
        made = sample("both")
        for first in ("blob", "manifest"):
            await push(store, ONE, made.manifest.content)
            await commit(store, ONE, made)
            if first == "blob":
                await store.delete_blob(ONE, made.digest)
                assert await blob(store, ONE, made.digest) is None
                assert await document(store, ONE, made.digest) == made.manifest.content
            else:
                await store.delete_manifest(ONE, made.digest)
                assert await document(store, ONE, made.digest) is None
                assert await blob(store, ONE, made.digest) == made.manifest.content

    async def test_mount(self, store: Store, second: Store) -> None:
        """A mounted blob is one of the target, and the very content of the source: nothing was copied."""
        digest = await push(store, ONE, b"mounted")
        await store.mount_blob(digest, ONE, OTHER)
        assert await blob(second, OTHER, digest) == b"mounted"
        assert await store.find_blob(OTHER, digest) == await store.find_blob(ONE, digest)

    async def test_mount_from_anywhere(self, store: Store, second: Store) -> None:
        """Without a source, a blob of any repository can be mounted."""
        digest = await push(store, ONE, b"from anywhere")
        await second.mount_blob(digest, None, OTHER)
        assert await blob(store, OTHER, digest) == b"from anywhere"

    async def test_mount_from_what_is_visible(self, store: Store) -> None:
        """Without a source, a blob is not there where only repositories hold it that are not visible."""
        digest = await push(store, RepositoryName("hidden/one"), b"hidden")
        with pytest.raises(NotFound):
            await store.mount_blob(digest, None, OTHER, Within("seen/"))
        assert await blob(store, OTHER, digest) is None
        await push(store, RepositoryName("seen/one"), b"hidden")
        await store.mount_blob(digest, None, OTHER, Within("seen/"))
        assert await blob(store, OTHER, digest) == b"hidden"

    async def test_mount_not_held(self, store: Store) -> None:
        """What the source does not hold cannot be mounted from it, though another repository holds it."""
        digest = await push(store, ONE, b"elsewhere")
        with pytest.raises(NotFound):
            await store.mount_blob(digest, OTHER, THIRD)
        assert await blob(store, THIRD, digest) is None

    @pytest.mark.parametrize("source", [ONE, None])
    async def test_mount_unknown(self, store: Store, source: RepositoryName | None) -> None:
        """A blob that no repository holds cannot be mounted; the target does not see it then."""
        with pytest.raises(NotFound):
            await store.mount_blob(UNKNOWN, source, OTHER)
        assert await blob(store, OTHER, UNKNOWN) is None

    @pytest.mark.parametrize("source", [ONE, None])
    async def test_mount_deleted(self, store: Store, source: RepositoryName | None) -> None:
        """A blob that its only repository has lost cannot be mounted, though its content stays."""
        digest = await push(store, ONE, b"taken away")
        await store.delete_blob(ONE, digest)
        with pytest.raises(NotFound):
            await store.mount_blob(digest, source, OTHER)

    @pytest.mark.parametrize("source", [ONE, None])
    async def test_mount_manifest(self, store: Store, source: RepositoryName | None) -> None:
        """A manifest is no blob of its repository, and so cannot be mounted."""
        made = sample("not to be mounted")
        await commit(store, ONE, made)
        with pytest.raises(NotFound):
            await store.mount_blob(made.digest, source, OTHER)

    @pytest.mark.parametrize("source", [ONE, OTHER, None])
    async def test_mount_again(self, store: Store, source: RepositoryName | None) -> None:
        """Mounting what the target already holds, from itself too, changes nothing."""
        digest = await push(store, ONE, b"here")
        await store.mount_blob(digest, ONE, OTHER)
        await store.mount_blob(digest, source, ONE)
        assert await blob(store, ONE, digest) == b"here"

    async def test_mounted_outlives_source(self, store: Store) -> None:
        """A mounted blob stays with the target when the source loses it, and can be mounted on from there."""
        digest = await push(store, ONE, b"handed on")
        await store.mount_blob(digest, ONE, OTHER)
        await store.delete_blob(ONE, digest)
        assert await blob(store, OTHER, digest) == b"handed on"
        await store.mount_blob(digest, None, THIRD)
        assert await blob(store, THIRD, digest) == b"handed on"

    async def test_delete_blob(self, store: Store, second: Store) -> None:
        """Deletion takes the blob from one repository; others keep theirs."""
        digest = await push(store, ONE, b"deleted")
        await push(store, OTHER, b"deleted")
        await store.delete_blob(ONE, digest)
        assert await blob(second, ONE, digest) is None
        assert await blob(second, OTHER, digest) == b"deleted"

    async def test_delete_blob_not_held(self, store: Store) -> None:
        """What the repository does not hold, or no longer, cannot be deleted from it."""
        digest = await push(store, ONE, b"deleted once")
        for repository, unheld in ((ONE, UNKNOWN), (OTHER, digest)):
            with pytest.raises(NotFound):
                await store.delete_blob(repository, unheld)
        await store.delete_blob(ONE, digest)
        with pytest.raises(NotFound):
            await store.delete_blob(ONE, digest)

    async def test_blob_content_stays(self, store: Store) -> None:
        """A content that was found stays readable after the deletion of the blob."""
        digest = await push(store, ONE, b"being sent")
        found = await store.find_blob(ONE, digest)
        await store.delete_blob(ONE, digest)
        assert read(found) == b"being sent"

    async def test_blob_pushed_after_deletion(self, store: Store) -> None:
        """A deleted blob can be pushed again."""
        digest = await push(store, ONE, b"back")
        await store.delete_blob(ONE, digest)
        assert await push(store, ONE, b"back") == digest
        assert await blob(store, ONE, digest) == b"back"
