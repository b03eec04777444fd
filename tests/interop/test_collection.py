"""cargohold's collection of garbage over a tree that Distribution wrote."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from cargohold.storage.filesystem import FilesystemStore
from cargohold.storage.filesystem.leases import Terms
from tests.e2e.pushing import EMPTY, digest_of, make_manifest
from tests.storage.collecting import HOUR, collect, everywhere, make_old

if TYPE_CHECKING:
    from pathlib import Path

    from tests.interop.conftest import Serve, Turn
    from tests.interop.peer import Peer

pytestmark = pytest.mark.clients

BY_SHA512 = b"by sha512"


def fill(peer: Peer) -> dict[str, bytes]:
    """Of everything something that is needed, and something that is not; the manifests that are, by tag."""
    kept = peer.push("app", "latest", text="kept")
    referrer = peer.push("app", "referrer", text="referrer", subject=kept)
    digest = peer.push_blob("app", BY_SHA512, "sha512")
    content = make_manifest("by sha512").replace(
        b'"layers": []',
        b'"layers": [{"mediaType": "text/plain", "digest": "%s", "size": 9}]' % digest.encode(),
    )
    peer.push_manifest("app", "by-sha512", content)
    peer.delete_manifest("app", peer.push("app", "gone", text="deleted"))
    peer.delete_manifest("app", peer.push("app", "gone-too", text="shared"))
    peer.push_blob("app", b"unused")
    peer.push_blob("app", b"unused by sha512", "sha512")
    shared = peer.push("other/app", "shared", text="shared")
    return {"latest": kept, "referrer": referrer, "by-sha512": content, "shared": shared}


def require(peer: Peer, manifests: dict[str, bytes], by_sha512: str) -> None:
    """All that is needed is there, in its repository, and nothing else."""
    assert peer.catalog() == ["app", "other/app"]
    assert peer.tags("app") == ["by-sha512", "latest", "referrer"]
    for tag, content in manifests.items():
        assert peer.manifest("other/app" if tag == "shared" else "app", tag) == content
    for content in (EMPTY, b"kept" * 1000, b"referrer" * 1000):
        assert peer.blob("app", digest_of(content)) == content
    assert peer.blob("other/app", digest_of(b"shared" * 1000)) == b"shared" * 1000
    assert peer.blob("app", by_sha512) == BY_SHA512
    for content in (b"deleted" * 1000, b"shared" * 1000, b"unused"):
        assert peer.blob("app", digest_of(content)) is None


def test_keeps_what_is_used(cargohold: Serve, distribution: Turn, root: Path) -> None:
    """What nothing uses goes, blobs with two names too, and both servers go on with all the rest.

    What is pushed again by Distribution is there again.
    """
    with distribution() as theirs:
        manifests = fill(theirs)
        by_sha512 = theirs.push_blob("app", BY_SHA512, "sha512")
    store = FilesystemStore(str(root), Terms(grace=HOUR, keep=0))
    store.prepare()
    make_old(store)
    report = collect(store, untagged=everywhere)
    assert report.skipped == {}
    store.close()
    kept = {digest_of(content) for content in manifests.values()}
    kept |= {digest_of(text * 1000) for text in (b"kept", b"referrer", b"shared")}
    kept |= {digest_of(EMPTY), digest_of(BY_SHA512)}
    blobs = (root / "docker/registry/v2/blobs").glob("*/*/*/data")
    assert {f"{path.parts[-4]}:{path.parts[-2]}" for path in blobs} == kept
    with distribution() as theirs:
        require(theirs, manifests, by_sha512)
    with cargohold() as ours:
        require(ours, manifests, by_sha512)
        assert ours.referrers("app", manifests["latest"]) == [digest_of(manifests["referrer"])]
    with distribution() as theirs:
        again = theirs.push("app", "gone", text="deleted")
        assert theirs.manifest("app", "gone") == again
        assert theirs.blob("app", digest_of(b"deleted" * 1000)) == b"deleted" * 1000
