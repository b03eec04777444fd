"""Both servers at work on one tree at once, and what the first request after each change says."""

from __future__ import annotations

import time
from typing import TYPE_CHECKING

import pytest

from tests.e2e.pushing import digest_of
from tests.interop.peer import Peer

if TYPE_CHECKING:
    from tests.interop.conftest import Serve, Turn

pytestmark = pytest.mark.clients

ROUNDS = 6


class Fresh:
    """A look at the registry by a connection of its own, so that any of its workers may answer."""

    def __init__(self, peer: Peer) -> None:
        self._url = str(peer.http.base_url)

    def catalog(self) -> list[str]:
        with Peer(self._url) as peer:
            return peer.catalog()

    def tags(self, repository: str) -> list[str] | None:
        with Peer(self._url) as peer:
            return peer.tags(repository)

    def referrers(self, repository: str, subject: bytes) -> list[str]:
        with Peer(self._url) as peer:
            return peer.referrers(repository, subject)


def test_lists_while_both_write(cargohold: Serve, distribution: Turn) -> None:
    """Catalog, tags and referrers are right at the first request, in every worker, after either has changed them."""
    with cargohold(workers=2) as ours, distribution() as theirs:
        look = Fresh(ours)
        assert look.catalog() == []
        for number in range(ROUNDS):
            writer, other = (ours, theirs) if number % 2 else (theirs, ours)
            name = f"group{number % 3}/made{number}"
            subject = writer.push(name, "subject", text=name)
            assert name in look.catalog()
            assert look.tags(name) == ["subject"]
            assert look.referrers(name, subject) == []

            first = other.push(name, "first", text=f"{name} first", subject=subject)
            second = writer.push(name, "second", text=f"{name} second", subject=subject)
            assert look.tags(name) == theirs.tags(name) == ["first", "second", "subject"]
            assert look.referrers(name, subject) == sorted(map(digest_of, (first, second)))

            writer.delete_manifest(name, first)
            assert look.tags(name) == theirs.tags(name) == ["second", "subject"]
            assert look.referrers(name, subject) == [digest_of(second)]
            assert other.manifest(name, digest_of(first)) is None

            other.delete_manifest(name, second)
            writer.delete_manifest(name, subject)
            assert name not in look.catalog()
            assert look.tags(name) is None
            assert look.referrers(name, subject) == []

            again = other.push(name, "again", text=f"{name} first", subject=subject)
            assert again == first
            assert name in look.catalog()
            assert look.tags(name) == ["again"]
            assert look.referrers(name, subject) == [digest_of(first)]


@pytest.mark.parametrize("pause", [0.0, 2.5])
def test_stored_again(cargohold: Serve, distribution: Turn, pause: float) -> None:
    """A referrer that Distribution deleted and stored again is listed, though its folder was there all the time."""
    with cargohold() as ours, distribution() as theirs:
        subject = theirs.push("app", "subject", text="subject")
        referrer = theirs.push("app", text="referrer", subject=subject)
        theirs.delete_manifest("app", referrer)
        time.sleep(pause)
        assert ours.referrers("app", subject) == []
        assert theirs.push("app", text="referrer", subject=subject) == referrer
        assert ours.referrers("app", subject) == [digest_of(referrer)]


def test_blob_of_either(cargohold: Serve, distribution: Turn) -> None:
    """A blob that one holds is there for the other, mounted and deleted by it too, under sha256 and sha512."""
    with cargohold() as ours, distribution() as theirs:
        for algorithm in ("sha256", "sha512"):
            for writer, other in ((ours, theirs), (theirs, ours)):
                content = f"{algorithm} by {writer.http.base_url}".encode()
                digest = writer.push_blob("app", content, algorithm)
                assert other.blob("app", digest) == content
                mount = other.http.post(f"/v2/new/blobs/uploads/?mount={digest}&from=app")
                assert mount.status_code == 201, mount.text
                assert writer.blob("new", digest) == content
                assert other.blob("new", digest) == content
                other.delete(f"app/blobs/{digest}")
                assert writer.blob("app", digest) is None
                assert writer.blob("new", digest) == content
