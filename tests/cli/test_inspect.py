"""`cargohold inspect`: what an image of a running registry is."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any

import pytest

from tests.cli.asking import ask, done, refused
from tests.e2e.pushing import MANIFEST, descriptor, digest_of
from tests.interop.peer import Peer

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from tests.e2e.server import Server

INDEX = "application/vnd.oci.image.index.v1+json"
CONFIG = "application/vnd.oci.image.config.v1+json"
SHARED, LARGE = b"shared" * 1000, b"large" * 400_000


@pytest.fixture(scope="module")
def peer(scratch_registry: Server) -> Iterator[Peer]:
    with Peer(scratch_registry.url) as peer:
        yield peer


def push_image(peer: Peer, repository: str, tag: str, config: dict[str, Any], *layers: bytes) -> bytes:
    written = json.dumps(config).encode()
    for blob in (written, *layers):
        peer.push_blob(repository, blob)
    manifest = json.dumps(
        {
            "schemaVersion": 2,
            "mediaType": MANIFEST,
            "config": descriptor(written, CONFIG),
            "layers": [descriptor(layer, "application/vnd.oci.image.layer.v1.tar+gzip") for layer in layers],
            "annotations": {"org.opencontainers.image.title": "app"},
        }
    ).encode()
    peer.push_manifest(repository, tag, manifest)
    return manifest


def inspected(home: Path, *words: object) -> dict[str, Any]:
    told: dict[str, Any] = json.loads(done(home, "inspect", "--json", *words))
    return told


RUN = {
    "User": "65532",
    "Entrypoint": ["/app", "--fast"],
    "Cmd": ["serve"],
    "WorkingDir": "/srv",
    "ExposedPorts": {"80/tcp": {}},
    "Labels": {"b": "2", "a": "1"},
}


def test_image(peer: Peer, scratch_registry: Server, tmp_path: Path) -> None:
    """Of an image: digest, type, layers and their size, what its config says, annotations."""
    config = {
        "os": "linux",
        "architecture": "arm64",
        "variant": "v8",
        "created": "2026-01-31T12:00:00Z",
        "config": RUN,
    }
    manifest = push_image(peer, "inspected/image", "latest", config, SHARED, LARGE)
    where = f"{scratch_registry.host}/inspected/image"
    digest = digest_of(manifest)
    layer = {"mediaType": "application/vnd.oci.image.layer.v1.tar+gzip"}
    assert inspected(tmp_path, where) == {
        "image": where,
        "digest": digest,
        "mediaType": MANIFEST,
        "artifactType": None,
        "size": 2_006_000,
        "layers": [
            {"digest": digest_of(SHARED), **layer, "size": 6000},
            {"digest": digest_of(LARGE), **layer, "size": 2_000_000},
        ],
        "manifests": [],
        "config": {
            "created": "2026-01-31T12:00:00Z",
            "platform": "linux/arm64/v8",
            "user": "65532",
            "entrypoint": ["/app", "--fast"],
            "cmd": ["serve"],
            "workingDir": "/srv",
            "exposedPorts": ["80/tcp"],
            "labels": {"b": "2", "a": "1"},
        },
        "subject": None,
        "annotations": {"org.opencontainers.image.title": "app"},
        "referrers": [],
        "moreReferrers": False,
    }
    assert done(tmp_path, "inspect", f"{where}@{digest}").splitlines() == [
        f"image        {where}@{digest}",
        f"digest       {digest}",
        f"type         {MANIFEST}",
        "size         1.9 MiB of layers",
        "platform     linux/arm64/v8",
        "created      2026-01-31T12:00:00Z",
        "user         65532",
        'entrypoint   ["/app","--fast"]',
        'command      ["serve"]',
        "directory    /srv",
        "ports        80/tcp",
        "labels       a=1",
        "             b=2",
        f"layers       {digest_of(SHARED)}  5.9 KiB",
        f"             {digest_of(LARGE)}  1.9 MiB",
        "annotations  org.opencontainers.image.title=app",
    ]


def test_index(peer: Peer, scratch_registry: Server, tmp_path: Path) -> None:
    """Of an index: its platforms with the size of each, and of all together, a shared layer once; also nested ones."""
    repository = "inspected/index"
    platforms = [
        {"os": "linux", "architecture": "amd64"},
        {"os": "windows", "architecture": "amd64", "os.version": "10"},
    ]
    manifests = [
        push_image(peer, repository, f"part{number}", platform, SHARED, bytes([number]) * 1000)
        for number, platform in enumerate(platforms)
    ]
    children: list[dict[str, Any]] = [
        {**descriptor(manifest, MANIFEST), "platform": platform}
        for manifest, platform in zip(manifests, platforms, strict=True)
    ]
    nested = json.dumps({"schemaVersion": 2, "mediaType": INDEX, "manifests": []}).encode()
    peer.push_manifest(repository, "nested", nested, INDEX)
    index = {"schemaVersion": 2, "mediaType": INDEX, "manifests": [*children, descriptor(nested, INDEX)]}
    peer.push_manifest(repository, "1.0", json.dumps(index).encode(), INDEX)
    peer.delete_manifest(repository, manifests[0])
    peer.push_manifest(repository, "again", manifests[0])
    told = inspected(tmp_path, f"{scratch_registry.host}/{repository}:1.0")
    assert (told["mediaType"], told["size"], told["layers"], told["config"]) == (INDEX, 8000, [], None)
    assert [(part["digest"], part["platform"], part["size"]) for part in told["manifests"]] == [
        (digest_of(manifests[0]), "linux/amd64", 7000),
        (digest_of(manifests[1]), "windows/amd64 10", 7000),
        (digest_of(nested), None, None),
    ]
    peer.delete_manifest(repository, manifests[1])
    shown = done(tmp_path, "inspect", f"{scratch_registry.host}/{repository}:1.0").splitlines()
    assert shown[4:] == [
        f"manifests    {digest_of(manifests[0])}  linux/amd64  6.8 KiB",
        f"             {digest_of(manifests[1])}  windows/amd64 10",
        f"             {digest_of(nested)}  {INDEX}",
    ]


def test_referrers(peer: Peer, scratch_registry: Server, tmp_path: Path) -> None:
    """What refers to an image is told with its type, and of an artifact what it refers to."""
    subject = peer.push("inspected/signed", "1.0", text="one")
    signature = peer.push("inspected/signed", "signature", text="two", subject=subject)
    where = f"{scratch_registry.host}/inspected/signed"
    (told,) = inspected(tmp_path, f"{where}:1.0")["referrers"]
    assert (told["digest"], told["artifactType"]) == (digest_of(signature), "application/vnd.example")
    assert done(tmp_path, "inspect", f"{where}:1.0").endswith(
        f"referrers    {digest_of(signature)}  application/vnd.example\n"
    )
    assert inspected(tmp_path, f"{where}:signature")["subject"] == digest_of(subject)


def test_raw(peer: Peer, scratch_registry: Server, tmp_path: Path) -> None:
    """--raw prints the manifest byte for byte; it goes with no other form."""
    manifest = peer.push("inspected/raw", "1.0", text="one\r\n\u2603")
    where = f"{scratch_registry.host}/inspected/raw:1.0"
    assert ask(tmp_path, "inspect", "--raw", where).stdout_bytes == manifest
    both = ask(tmp_path, "inspect", "--raw", "--json", where)
    assert (both.exit_code, both.stdout) == (2, "")


def test_unknown(scratch_registry: Server, tmp_path: Path) -> None:
    """An image that is not there is refused in the registry's words."""
    words = refused(tmp_path, "inspect", f"{scratch_registry.host}/team/app:2.0")
    assert words == (
        f"{scratch_registry.host}/team/app:2.0: 127.0.0.1 answers 404 MANIFEST_UNKNOWN: manifest unknown to registry"
    )
