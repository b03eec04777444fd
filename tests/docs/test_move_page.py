"""The page about moving images: each of its commands is typed, and does what the page says."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING

import httpx2
import pytest

from tests.docs.blocks import SHELLS, blocks_of
from tests.docs.session import Session
from tests.e2e.clients.absence import require
from tests.e2e.clients.engine import docker_engine
from tests.e2e.clients.images import make_image, packed
from tests.e2e.clients.repository import Repository
from tests.interop.peer import Peer

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

ALL, SOME, SKOPEO, PLAIN, DOCKER, ARCHIVE, PIPE = blocks_of("move.md", *SHELLS)


@pytest.fixture
def session(tmp_path: Path) -> Iterator[Session]:
    """Somebody whose registry is in ./data, and who has another one."""
    (tmp_path / "backup").mkdir()
    (tmp_path / "other.yaml").write_text(f"storage: {{path: {tmp_path}/other}}\n")
    places = {"/srv": str(tmp_path), "/backup": f"{tmp_path}/backup"}
    with Session(tmp_path, replaced=places) as typist:
        typist.serve(f"cargohold serve --storage-path {tmp_path}/other")
        typist.serve("cargohold serve")
        with httpx2.Client(base_url=f"http://127.0.0.1:{typist.port}", timeout=60) as http:
            app = make_image(tmp_path / "app-image", [{"app": b"app"}])
            for name, tag in (("team/app", "v1"), ("team/app", "latest"), ("other", "v1")):
                Repository(http, name).push(app, tag)
            Repository(http, "team/web").push(make_image(tmp_path / "web-image", [{"web": b"web"}]), "v1")
        with peer_of(typist) as peer:
            peer.push("team/app", text="signature", subject=app.content)
        yield typist


def peer_of(session: Session) -> Peer:
    return Peer(f"http://127.0.0.1:{session.port}")


def test_all_and_some(session: Session, tmp_path: Path) -> None:
    """All of a registry in another, and parts of it, with what the commands say."""
    session.type(ALL)
    session.type(SOME)
    names = [
        each["annotations"]
        for each in json.loads((tmp_path / "backup/some/index.json").read_text())["manifests"]
    ]
    assert len(names) == 5
    with peer_of(session) as first:
        held = {name: first.tags(name) for name in first.catalog()}
        app = first.manifest("team/app", "v1")
    session.serve(f"cargohold serve --storage-path {tmp_path}/other")
    with peer_of(session) as second:
        assert {name: second.tags(name) for name in second.catalog()} == held
        assert second.manifest("team/app", "v1") == app


def test_names(session: Session) -> None:
    """Clients find images by their whole names, and others by tags alone."""
    require("skopeo")
    require("oras")
    session.type(ALL)
    session.type(SKOPEO)
    session.type(PLAIN)
    with peer_of(session) as peer:
        for tag in ("v1", "v2"):
            assert peer.manifest("copy", tag) == peer.manifest("team/app", "v1")


def test_archives(session: Session) -> None:
    """What skopeo wrote goes where it is said."""
    require("skopeo")
    session.type(ARCHIVE)
    with peer_of(session) as peer:
        assert peer.manifest("mirror/app", "v1") == peer.manifest("team/app", "v1")


@pytest.mark.clients
def test_what_docker_saves(
    session: Session, tmp_path: Path, tmp_path_factory: pytest.TempPathFactory
) -> None:
    """An image of docker's is imported by its name."""
    with docker_engine(tmp_path_factory.mktemp("docker")) as docker:
        (tmp_path / "files.tar").write_bytes(packed({"file": b"of an image"}))
        docker("import", tmp_path / "files.tar", "team/app:v2")
        session.environment |= {name: value for name, value in docker.environment.items() if name != "HOME"}
        session.type(DOCKER)
    with peer_of(session) as peer:
        assert peer.tags("team/app") == ["latest", "v1", "v2"]


def test_through_a_pipe(session: Session, tmp_path: Path) -> None:
    """From one machine to another: here, to another storage."""
    programs = tmp_path / "programs"
    programs.mkdir()
    (programs / "ssh").write_text(
        f'#!/bin/sh\nshift\nexport REGISTRY_STORAGE_PATH={tmp_path}/other\nexec sh -c "$*"\n'
    )
    (programs / "ssh").chmod(0o755)
    session.environment["PATH"] = f"{programs}:{session.environment['PATH']}"
    session.type(PIPE)
    session.serve(f"cargohold serve --storage-path {tmp_path}/other")
    with peer_of(session) as second:
        assert second.catalog() == ["team/app", "team/web"]
