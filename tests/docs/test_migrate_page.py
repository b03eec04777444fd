"""The ways of the page from Distribution to cargohold, typed, from Distributions that hold images."""

from __future__ import annotations

import json
import subprocess
from typing import TYPE_CHECKING

import pytest

from tests.docs.blocks import blocks_of
from tests.docs.session import Session
from tests.e2e.clients.absence import require
from tests.e2e.clients.images import make_image
from tests.e2e.pushing import digest_of
from tests.interop.conftest import program
from tests.interop.distribution import Distribution
from tests.interop.peer import Peer

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

__all__ = ["program"]

pytestmark = pytest.mark.clients

IMPORT, CHECK = blocks_of("migrate.md", "console")
SERVE, CRANE, SKOPEO, REGCTL = blocks_of("migrate.md", "sh")
REPOSITORIES = ("app", "team/app")
OLD = "old.example.com:5000"


@pytest.fixture
def copying(old: Distribution, tmp_path: Path) -> Iterator[Session]:
    """Somebody with an empty cargohold beside the old registry, which has no TLS as it has on the page."""
    host = old.url.removeprefix("http://")
    replaced = {OLD: host, "--src docker": "--src docker --src-tls-verify=false"}
    with Session(tmp_path, replaced=replaced) as session:
        session.serve(f"cargohold serve --storage-path {tmp_path}/new")
        yield session


@pytest.fixture
def old(program: str, tmp_path: Path) -> Iterator[Distribution]:
    """A Distribution with two repositories of two images, whose tags are `v1` and `v2`."""
    server = Distribution(program, tmp_path / "old", tmp_path / "old.json")
    try:
        with Peer(server.url) as peer:
            for repository in REPOSITORIES:
                for tag in ("v1", "v2"):
                    peer.push(repository, tag, text=f"{repository} {tag}")
        yield server
    finally:
        server.stop()


def manifests(url: str) -> dict[tuple[str, str], bytes]:
    """All that a registry has, by repository and tag; each image is whole."""
    found = {}
    with Peer(url) as peer:
        for repository in peer.catalog():
            for tag in peer.tags(repository) or []:
                content = peer.manifest(repository, tag)
                assert content is not None
                document = json.loads(content)
                for blob in [document["config"], *document["layers"]]:
                    assert peer.blob(repository, blob["digest"]) is not None
                found[repository, tag] = content
    return found


def test_in_place(old: Distribution, tmp_path: Path) -> None:
    """With settings made of the old configuration, the old directory is served, and has what it had."""
    expected = manifests(old.url)
    assert len(expected) == 4
    shown = IMPORT.text.partition("$ cat config.yml\n")[2].partition("$ ")[0]
    (tmp_path / "config.yml").write_text(shown.replace("/var/lib/registry", str(tmp_path / "old")))
    with Session(tmp_path, replaced={"/var/lib/registry": str(tmp_path / "old")}) as session:
        session.type(IMPORT)
        session.type(CHECK)
        old.stop()
        session.type(SERVE)
        assert manifests(f"http://127.0.0.1:{session.port}") == expected


def test_copied_with_crane(old: Distribution, copying: Session) -> None:
    """Every tag of every repository is copied, and may be again."""
    require("crane")
    copying.type(CRANE)
    copying.type(CRANE)
    assert manifests(f"http://127.0.0.1:{copying.port}") == manifests(old.url)


def test_copied_with_skopeo(old: Distribution, copying: Session, tmp_path: Path) -> None:
    """Every tag of the repository is copied. skopeo takes no artifacts, so that the images are ones."""
    require("skopeo")
    image = make_image(tmp_path / "image", [{"one": b"the first layer"}])
    with Peer(old.url) as peer:
        for tag in ("v1", "v2"):
            for _, content in list(image.tree(image.entry))[:-1]:
                peer.push_blob("team/app", content)
            peer.push_manifest("team/app", tag, image.content)
    copying.type(SKOPEO)
    expected = {("team/app", tag): image.content for tag in ("v1", "v2")}
    assert manifests(f"http://127.0.0.1:{copying.port}") == expected


def test_copied_with_what_refers_to_it(old: Distribution, copying: Session, tmp_path: Path) -> None:
    """What refers to an image comes along, and is listed among its referrers, which the old registry cannot."""
    regctl = require("regctl")
    host = old.url.removeprefix("http://")
    (tmp_path / "sbom").write_text("what is in it")
    for command in (
        f"registry set --skip-check --tls disabled {host}",
        f"artifact put --artifact-type application/x.sbom --file sbom --subject {host}/team/app:v1",
    ):
        subprocess.run(
            [regctl, *command.split()], cwd=tmp_path, env=copying.environment, check=True, timeout=60
        )
    copying.type(REGCTL)
    with Peer(f"http://127.0.0.1:{copying.port}") as peer:
        content = peer.manifest("team/app", "v1")
        assert content is not None
        listed = peer.http.get(f"/v2/team/app/referrers/{digest_of(content)}").json()["manifests"]
        assert [each["artifactType"] for each in listed] == ["application/x.sbom"]
