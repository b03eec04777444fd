"""A registry as its HTTP interface shows it, whichever server it is."""

from __future__ import annotations

import hashlib
from typing import TYPE_CHECKING, Any

import httpx2

from tests.e2e.pushing import EMPTY, MANIFEST, digest_of, make_manifest

if TYPE_CHECKING:
    from types import TracebackType
    from typing import Self

SCHEMA1 = "application/vnd.docker.distribution.manifest.v1+json"
SCHEMA1_SIGNED = "application/vnd.docker.distribution.manifest.v1+prettyjws"
_DOCKER = "application/vnd.docker.distribution.manifest"
# For the answer too: a gigabyte is synced before it comes, on a disk that others are writing gigabytes to.
_SECONDS = 240
_ACCEPT = {"Accept": f"{MANIFEST}, {_DOCKER}.v2+json, {_DOCKER}.list.v2+json, {SCHEMA1_SIGNED}, {SCHEMA1}"}


class Peer:
    """Pushes and pulls; what is pulled is held against its digest. Anything but an expected status fails."""

    def __init__(self, url: str) -> None:
        self.http = httpx2.Client(base_url=url, timeout=_SECONDS)

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.http.close()

    def start(self, repository: str) -> str:
        """The URL of a new upload session."""
        answer = self.http.post(f"/v2/{repository}/blobs/uploads/")
        assert answer.status_code == 202, answer.text
        return str(self.http.base_url.join(answer.headers["location"]))

    def append(self, session: str, content: bytes) -> str:
        """Add to an upload session; its URL from then on."""
        answer = self.http.patch(
            session, content=content, headers={"Content-Type": "application/octet-stream"}
        )
        assert answer.status_code == 202, answer.text
        return str(self.http.base_url.join(answer.headers["location"]))

    def finish(self, session: str, digest: str, content: bytes = b"") -> httpx2.Response:
        """End an upload session with its last bytes."""
        url = httpx2.URL(session).copy_merge_params({"digest": digest})
        return self.http.put(url, content=content, headers={"Content-Type": "application/octet-stream"})

    def push_blob(self, repository: str, content: bytes, algorithm: str = "sha256") -> str:
        """Push a blob; its digest."""
        digest = f"{algorithm}:{hashlib.new(algorithm, content).hexdigest()}"
        answer = self.finish(self.start(repository), digest, content)
        assert answer.status_code == 201, answer.text
        return digest

    def push_manifest(
        self, repository: str, reference: str, content: bytes, media_type: str = MANIFEST
    ) -> str:
        """Push a manifest; its digest."""
        answer = self.http.put(
            f"/v2/{repository}/manifests/{reference}", content=content, headers={"Content-Type": media_type}
        )
        assert answer.status_code == 201, answer.text
        return digest_of(content)

    def push(self, repository: str, *tags: str, text: str, subject: bytes | None = None) -> bytes:
        """Push an image of one layer, told apart by `text`; its manifest."""
        layer = text.encode() * 1000
        content = make_manifest(text, [layer], subject)
        for blob in (EMPTY, layer):
            self.push_blob(repository, blob)
        for reference in tags or (digest_of(content),):
            self.push_manifest(repository, reference, content)
        return content

    def manifest(self, repository: str, reference: str) -> bytes | None:
        """The bytes of a manifest; None where it is unknown."""
        answer = self.http.get(f"/v2/{repository}/manifests/{reference}", headers=_ACCEPT)
        if answer.status_code == 404:
            return None
        assert answer.status_code == 200, answer.text
        assert answer.headers["docker-content-digest"] == digest_of(answer.content)
        return answer.content

    def blob(self, repository: str, digest: str) -> bytes | None:
        """The bytes of a blob; None where it is unknown."""
        answer = self.http.get(f"/v2/{repository}/blobs/{digest}")
        if answer.status_code == 404:
            return None
        assert answer.status_code == 200, answer.text
        algorithm, _, encoded = digest.partition(":")
        assert hashlib.new(algorithm, answer.content).hexdigest() == encoded
        return answer.content

    def tags(self, repository: str) -> list[str] | None:
        """The tags; None for a repository that is unknown. An empty list is `null` to Distribution."""
        answer = self.http.get(f"/v2/{repository}/tags/list")
        if answer.status_code == 404:
            return None
        assert answer.status_code == 200, answer.text
        return sorted(answer.json()["tags"] or [])

    def catalog(self) -> list[str]:
        """The repositories."""
        answer = self.http.get("/v2/_catalog", params={"n": 100})
        assert answer.status_code == 200, answer.text
        repositories: list[str] = answer.json()["repositories"] or []
        return repositories

    def referrers(self, repository: str, subject: bytes) -> list[str]:
        """The digests of what refers to a manifest."""
        answer = self.http.get(f"/v2/{repository}/referrers/{digest_of(subject)}")
        assert answer.status_code == 200, answer.text
        entries: list[dict[str, Any]] = answer.json()["manifests"]
        return [entry["digest"] for entry in entries]

    def delete(self, path: str) -> None:
        """Delete what is there."""
        answer = self.http.delete(f"/v2/{path}")
        assert answer.status_code == 202, answer.text

    def delete_manifest(self, repository: str, content: bytes) -> None:
        """Delete a manifest by its digest."""
        self.delete(f"{repository}/manifests/{digest_of(content)}")
