"""A repository as its HTTP interface shows it, so that no client is believed about what it stored."""

from __future__ import annotations

import hashlib
import json
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, NamedTuple

if TYPE_CHECKING:
    import httpx2

    from tests.e2e.clients.images import Layout

OCI_MANIFEST = "application/vnd.oci.image.manifest.v1+json"
OCI_INDEX = "application/vnd.oci.image.index.v1+json"
DOCKER_MANIFEST = "application/vnd.docker.distribution.manifest.v2+json"
DOCKER_LIST = "application/vnd.docker.distribution.manifest.list.v2+json"
MANIFEST_TYPES = (OCI_MANIFEST, OCI_INDEX, DOCKER_MANIFEST, DOCKER_LIST)
ACCEPT = {"Accept": ", ".join(MANIFEST_TYPES)}


def sha256(content: bytes) -> str:
    """The digest of `content` as descriptors write it."""
    return "sha256:" + hashlib.sha256(content).hexdigest()


class Stored(NamedTuple):
    """A manifest as the registry serves it."""

    media_type: str
    digest: str
    content: bytes

    @property
    def document(self) -> Any:
        """What the JSON says."""
        return json.loads(self.content)


@dataclass(frozen=True)
class Repository:
    """A repository of the registry; each answer is checked against its digest and its headers."""

    session: httpx2.Client
    name: str

    @property
    def host(self) -> str:
        """The registry's host and port."""
        return self.session.base_url.netloc.decode()

    def __str__(self) -> str:
        """What clients are told: the host, the port and the name."""
        return f"{self.host}/{self.name}"

    def below(self, name: str) -> Repository:
        """Another repository, whose name begins with this one's."""
        return Repository(self.session, f"{self.name}/{name}")

    def push(self, layout: Layout, tag: str) -> None:
        """Puts the layout's image or index there, with all that it names."""
        entry = layout.entry
        for media_type, content in layout.tree(entry):
            digest = sha256(content)
            if media_type in MANIFEST_TYPES:
                reference = tag if digest == entry["digest"] else digest
                headers = {"Content-Type": media_type}
                answer = self.session.put(
                    f"/v2/{self.name}/manifests/{reference}", content=content, headers=headers
                )
            else:
                location = self.session.post(f"/v2/{self.name}/blobs/uploads/").headers["location"]
                url = self.session.base_url.join(location).copy_merge_params({"digest": digest})
                answer = self.session.put(url, content=content)
            assert answer.status_code == 201, answer.text

    def manifest(self, reference: str) -> Stored:
        """The manifest, which must be there and be what its digest says."""
        answer = self.session.get(f"/v2/{self.name}/manifests/{reference}", headers=ACCEPT)
        assert answer.status_code == 200, answer.text
        assert answer.headers["docker-content-digest"] == sha256(answer.content)
        return Stored(answer.headers["content-type"], sha256(answer.content), answer.content)

    def has(self, reference: str) -> bool:
        """Whether HEAD finds the manifest."""
        answer = self.session.head(f"/v2/{self.name}/manifests/{reference}", headers=ACCEPT)
        assert answer.status_code in {200, 404}
        return answer.status_code == 200

    def blob(self, digest: str) -> bytes:
        """The blob, which must be there and be what its digest says."""
        answer = self.session.get(f"/v2/{self.name}/blobs/{digest}")
        assert answer.status_code == 200, answer.text
        assert sha256(answer.content) == digest
        return answer.content

    def has_blob(self, digest: str) -> bool:
        """Whether HEAD finds the blob."""
        answer = self.session.head(f"/v2/{self.name}/blobs/{digest}")
        assert answer.status_code in {200, 404}
        return answer.status_code == 200

    def tags(self) -> list[str]:
        """All tags, in the order served; none for a repository that does not exist."""
        answer = self.session.get(f"/v2/{self.name}/tags/list")
        if answer.status_code == 404:
            return []
        assert answer.status_code == 200, answer.text
        assert answer.json()["name"] == self.name
        tags: list[str] = answer.json()["tags"]
        return tags

    def referrers(self, subject: str, artifact_type: str = "") -> list[dict[str, Any]]:
        """The descriptors of what refers to `subject`, of one artifact type where that is given."""
        query = {"artifactType": artifact_type} if artifact_type else {}
        answer = self.session.get(f"/v2/{self.name}/referrers/{subject}", params=query)
        assert answer.status_code == 200, answer.text
        assert answer.headers["content-type"] == OCI_INDEX
        descriptors: list[dict[str, Any]] = answer.json()["manifests"]
        return descriptors

    def is_whole(self, reference: str) -> bool:
        """Whether what an image, or each image of an index, names is there, in size and content."""
        document = self.manifest(reference).document
        for descriptor in (*document.get("layers", ()), *filter(None, [document.get("config")])):
            assert len(self.blob(descriptor["digest"])) == descriptor["size"]
        return all(self.is_whole(child["digest"]) for child in document.get("manifests", ()))
