"""The steps of a push over bare connections, and connections to workers of one's choice."""

from __future__ import annotations

import hashlib
import json
import os
from contextlib import ExitStack, contextmanager
from pathlib import Path
from typing import TYPE_CHECKING

from tests.http.wire import Wire

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    from tests.e2e.server import Server
    from tests.http.wire import Response

EMPTY = b"{}"
MANIFEST = "application/vnd.oci.image.manifest.v1+json"
_MANY_CONNECTIONS = 200


def digest_of(content: bytes) -> str:
    return f"sha256:{hashlib.sha256(content).hexdigest()}"


def descriptor(content: bytes, media_type: str = "application/octet-stream") -> dict[str, object]:
    return {"mediaType": media_type, "digest": digest_of(content), "size": len(content)}


def make_manifest(text: str, layers: Sequence[bytes] = (), subject: bytes | None = None) -> bytes:
    """A manifest told apart by `text`; its config is `EMPTY`, its layers are these contents."""
    document: dict[str, object] = {
        "schemaVersion": 2,
        "mediaType": MANIFEST,
        "artifactType": "application/vnd.example",
        "config": descriptor(EMPTY, "application/vnd.oci.empty.v1+json"),
        "layers": [descriptor(layer) for layer in layers],
        "annotations": {"text": text},
    }
    if subject is not None:
        document["subject"] = descriptor(subject, MANIFEST)
    return json.dumps(document).encode()


def start_upload(wire: Wire, repository: str) -> str:
    """The path of a new upload session."""
    response = wire.ask("POST", f"/v2/{repository}/blobs/uploads/")
    assert response.status == 202, response
    return response["location"]


def push_blob(wire: Wire, repository: str, content: bytes) -> str:
    """Push a blob with a POST and a PUT; its digest."""
    digest = digest_of(content)
    response = wire.ask("PUT", f"{start_upload(wire, repository)}?digest={digest}", body=content)
    assert response.status == 201, response
    assert response["docker-content-digest"] == digest
    return digest


def put_manifest(wire: Wire, repository: str, reference: str, content: bytes) -> Response:
    """`reference` may bear a query."""
    return wire.ask(
        "PUT", f"/v2/{repository}/manifests/{reference}", f"Content-Type: {MANIFEST}", body=content
    )


def pull_digest(wire: Wire, repository: str, reference: str) -> str | None:
    """The digest of the manifest that a GET gives, whose bytes are held against it; None where it is unknown."""
    response = wire.ask("GET", f"/v2/{repository}/manifests/{reference}")
    if response.status == 404:
        return None
    assert response.status == 200, response
    assert digest_of(response.body) == response["docker-content-digest"]
    return response["docker-content-digest"]


def pull_blob(wire: Wire, repository: str, digest: str) -> bytes | None:
    """The blob's bytes; None where it is unknown."""
    response = wire.ask("GET", f"/v2/{repository}/blobs/{digest}")
    if response.status == 404:
        return None
    assert (response.status, response.complete) == (200, True), response
    return response.body


def data_file(server: Server, digest: str) -> Path:
    """Where a blob's bytes lie."""
    algorithm, _, encoded = digest.partition(":")
    return server.storage / "docker/registry/v2/blobs" / algorithm / encoded[:2] / encoded / "data"


@contextmanager
def one_to_each(server: Server) -> Iterator[list[Wire]]:
    """A connection to each worker. The kernel deals connections out, so more are made than are kept."""
    workers = server.workers()
    found: dict[int, Wire] = {}
    with ExitStack() as opened:
        for _ in range(_MANY_CONNECTIONS):
            wire = opened.enter_context(Wire(server.url))
            assert wire.ask("GET", "/v2/").status == 200
            if found.setdefault(worker_of(server, wire), wire) is not wire:
                wire.socket.close()
            if len(found) == len(workers):
                break
        assert sorted(found) == sorted(workers), f"not reached by {_MANY_CONNECTIONS} connections: {workers}"
        yield [found[pid] for pid in workers]


def worker_of(server: Server, wire: Wire) -> int:
    """The process that holds the server's end of a connection on which it has answered."""
    ports = [f":{address[1]:04X}" for address in (wire.socket.getpeername(), wire.socket.getsockname())]
    for line in Path("/proc/net/tcp").read_text().splitlines():
        fields = line.split()
        if [fields[1][-5:], fields[2][-5:]] == ports:
            held = f"socket:[{fields[9]}]"
            return next(pid for pid in server.workers() if held in _open_files(pid))
    raise AssertionError(f"the connection {ports} is not known to the kernel")


def _open_files(pid: int) -> set[str]:
    found = set()
    for entry in os.scandir(f"/proc/{pid}/fd"):
        try:
            found.add(os.readlink(entry.path))
        except FileNotFoundError:
            continue  # closed meanwhile
    return found
