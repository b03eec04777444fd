"""Distribution's collection of garbage over a tree that cargohold wrote."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from tests.e2e.pushing import EMPTY, digest_of, make_manifest
from tests.interop.distribution import Distribution

if TYPE_CHECKING:
    from pathlib import Path

    from tests.interop.conftest import Serve

pytestmark = pytest.mark.clients


def test_keeps_what_is_used(cargohold: Serve, root: Path, tmp_path: Path, program: str) -> None:
    """It removes the content of what was deleted, and nothing that a manifest of ours names."""
    with cargohold() as ours:
        kept = ours.push("app", "latest", text="kept")
        referrer = ours.push("app", text="referrer", subject=kept)
        deleted = ours.push("app", "gone", text="deleted")
        by_sha512 = ours.push_blob("app", b"by sha512", "sha512")
        content = make_manifest("by sha512").replace(
            b'"layers": []',
            b'"layers": [{"mediaType": "text/plain", "digest": "%s", "size": 9}]' % by_sha512.encode(),
        )
        ours.push_manifest("app", "by-sha512", content)
        ours.delete_manifest("app", deleted)
    server = Distribution(program, root, tmp_path / "distribution.json")
    server.stop()
    server.collect_garbage()
    blobs = root / "docker/registry/v2/blobs/sha256"
    removed = {digest_of(deleted), digest_of(b"deleted" * 1000)}
    assert not removed & {f"sha256:{path.parent.name}" for path in blobs.glob("*/*/data")}
    with cargohold() as ours:
        assert ours.catalog() == ["app"]
        assert ours.tags("app") == ["by-sha512", "latest"]
        assert ours.manifest("app", "by-sha512") == content
        assert ours.blob("app", by_sha512) == b"by sha512"
        assert ours.manifest("app", "latest") == kept
        assert ours.manifest("app", digest_of(referrer)) == referrer
        assert ours.referrers("app", kept) == [digest_of(referrer)]
        for blob in (EMPTY, b"kept" * 1000, b"referrer" * 1000):
            assert ours.blob("app", digest_of(blob)) == blob
        assert ours.blob("app", digest_of(b"deleted" * 1000)) is None
        assert ours.push("app", "gone", text="deleted") == deleted
        assert ours.manifest("app", "gone") == deleted
