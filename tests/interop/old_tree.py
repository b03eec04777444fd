"""A tree as Distribution 2.8 left it after years, and what else is found in such trees."""

from __future__ import annotations

import gzip
import json
import os
import subprocess
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from tests.e2e.clients.images import CONFIG, LAYER, Layout, packed
from tests.e2e.pushing import MANIFEST, digest_of, make_manifest

if TYPE_CHECKING:
    from pathlib import Path

    from tests.interop.peer import Peer

SESSIONS = {"library/app": b"", "library/app2": b"x" * 100_000, "only/uploads": b"y"}
STRAY_SESSION = "00000000-0000-4000-8000-000000000000"
NO_CONTENT = digest_of(b"a manifest whose content is lost")


@dataclass
class OldTree:
    """What Distribution was asked to store, by repository."""

    root: Path
    manifest: bytes = b""
    with_sha512: str = ""
    sessions: dict[str, str] = field(default_factory=dict)

    @property
    def repositories(self) -> Path:
        return self.root / "docker/registry/v2/repositories"

    def fill(self, theirs: Peer, skopeo: str) -> None:
        """Through a running 2.8 that takes schema 1."""
        self.manifest = theirs.push("library/app", "latest", "v1", text="old")
        self.with_sha512 = theirs.push_blob("library/app", b"known by sha512", "sha512")
        emptied = theirs.push("emptied", "gone", text="emptied")
        theirs.delete_manifest("emptied", emptied)
        theirs.push_blob("only/blobs", b"a blob")
        for repository, content in SESSIONS.items():
            session = theirs.start(repository)
            if content:
                session = theirs.append(session, content)
            self.sessions[repository] = session.partition("?")[0].rpartition("/")[2]
        layout = f"oci:{_old_image(self.root.parent / 'layout')}"
        target = f"docker://{theirs.http.base_url.netloc.decode()}/schema1:signed"
        subprocess.run(
            [skopeo, "--insecure-policy", "copy", "--format=v2s1", "--dest-tls-verify=false", layout, target],
            check=True,
            capture_output=True,
            timeout=60,
        )

    def store(self, content: bytes) -> str:
        """Put content among the blobs; its digest."""
        digest = digest_of(content)
        encoded = digest.partition(":")[2]
        _write(self.root / "docker/registry/v2/blobs/sha256" / encoded[:2] / encoded / "data", content)
        return digest

    def add_signed(self) -> str:
        """A manifest of schema 1 as 2.0 laid it out, its signatures beside it; its digest."""
        layer = digest_of(b"{}")
        document = {"schemaVersion": 1, "name": "schema1", "tag": "older", "fsLayers": [{"blobSum": layer}]}
        digest = self.store(json.dumps(document).encode())
        revision = self.repositories / "schema1/_manifests/revisions" / digest.replace(":", "/")
        signature = self.store(b'{"signature": "of a key that is gone"}')
        _write(revision / "link", digest.encode())
        _write(revision / "signatures" / signature.replace(":", "/") / "link", signature.encode())
        _write(self.repositories / "schema1/_manifests/tags/older/current/link", digest.encode())
        return digest

    def spoil(self) -> None:
        """Add what no registry made: what an administrator, a crash, a restore or a bad disk leaves."""
        digest = digest_of(self.manifest)
        app = self.repositories / "library/app"
        tags, revisions = app / "_manifests/tags", app / "_manifests/revisions"
        for path in (
            *(
                self.repositories / name
                for name in ("stray", "library/stray", ".hidden/x", "Upper/_manifests/x")
            ),
            *(app / name for name in ("stray", "_manifests/stray", "_stray/x", "_layers/stray")),
            *(app / "_layers/sha256" / name for name in ("stray", "00/link", "A" * 64 + "/link")),
            *(app / "_uploads" / name for name in ("stray", "stray2/data", STRAY_SESSION)),
            *(
                tags / name
                for name in ("stray-file", "half/index/stray", "-bad/current/link", "a b/current/link")
            ),
            *(revisions / name for name in ("stray", "sha256/stray", "md5/00/link", "sha256/" + "f" * 63)),
            self.root / "docker/registry/v2/blobs/sha256/stray",
            self.root / "stray",
        ):
            _write(path, b"stray")
        for name, content in {
            "newline": f"{digest}\n".encode(),
            "rubbish": b"rubbish",
            "binary": bytes(range(256)) * 100,
            "nothing": b"",
            "other-algorithm": b"md5:d41d8cd98f00b204e9800998ecf8427e",
            "upper": digest.upper().encode(),
            "dangling": digest_of(b"was never stored").encode(),
            "lost": NO_CONTENT.encode(),
        }.items():
            _write(tags / name / "current/link", content)
        (tags / "no-link/current").mkdir(parents=True)
        (tags / "link-is-folder/current/link").mkdir(parents=True)
        _write(revisions / NO_CONTENT.replace(":", "/") / "link", NO_CONTENT.encode())
        (revisions / "sha256" / ("0" * 64)).mkdir()
        os.makedirs(os.fsencode(tags) + b"/\xff\xfe/current")
        os.makedirs(os.fsencode(self.repositories) + b"/\xff\xfe/_manifests")
        (tags / "line\nbreak").mkdir()
        (tags / "linked").symlink_to("latest")
        (tags / "to-nowhere").symlink_to("nowhere")
        (tags / "to-itself").symlink_to("to-itself")
        (self.repositories / "linked").symlink_to("library")
        (self.repositories / "library/circle").symlink_to("..")
        (self.repositories / "empty/_manifests").mkdir(parents=True)
        (self.repositories / "nothing").mkdir()

    def orphan(self) -> bytes:
        """A referrer by hand, whose subject is the manifest; its bytes."""
        content = make_manifest("by hand", [], self.manifest)
        digest = self.store(content)
        link = self.repositories / "library/app/_manifests/revisions" / digest.replace(":", "/") / "link"
        _write(link, digest.encode())
        return content


def _old_image(path: Path) -> Path:
    """A layout of an image that can be turned into schema 1: that needs a history."""
    layout, archive = Layout(path), packed({"program": b"1"})
    config = {
        "architecture": "amd64",
        "os": "linux",
        "created": "2016-01-01T00:00:00Z",
        "rootfs": {"type": "layers", "diff_ids": [digest_of(archive)]},
        "history": [{"created": "2016-01-01T00:00:00Z", "created_by": "a test"}],
    }
    manifest = {
        "schemaVersion": 2,
        "mediaType": MANIFEST,
        "config": layout.put(CONFIG, json.dumps(config).encode()),
        "layers": [layout.put(LAYER, gzip.compress(archive, mtime=0))],
    }
    return layout.finish(layout.put(MANIFEST, json.dumps(manifest).encode())).path


def _write(path: Path, content: bytes) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(content)
