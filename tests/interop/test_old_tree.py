"""A tree that Distribution 2.8 wrote, with all that time has left in it, is served without a fault."""

from __future__ import annotations

import os
from typing import TYPE_CHECKING
from urllib.parse import quote

import pytest

from tests.e2e.clients.absence import require
from tests.e2e.pushing import EMPTY, digest_of
from tests.e2e.server import Server
from tests.interop.distribution import Distribution
from tests.interop.old_tree import NO_CONTENT, SESSIONS, OldTree
from tests.interop.peer import SCHEMA1, SCHEMA1_SIGNED, Peer

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    import httpx2

    from tests.interop.conftest import Serve

pytestmark = pytest.mark.clients

APP = "library/app"

# Root reads folders of any mode, but for a root without these capabilities, which are lost at the exec.
_BOUND_BY_MODES = ("setpriv", "--bounding-set=-dac_override,-dac_read_search")


@pytest.fixture
def tree(root: Path, tmp_path: Path) -> OldTree:
    server = Distribution(require("docker-registry"), root, tmp_path / "distribution.json", schema1=True)
    made = OldTree(root)
    try:
        with Peer(server.url) as theirs:
            made.fill(theirs, require("skopeo"))
    finally:
        server.stop()
    return made


def test_what_it_held(cargohold: Serve, tree: OldTree) -> None:
    """Images, tags and blobs by either digest are served as they were pushed; what was emptied is gone."""
    with cargohold() as ours:
        assert ours.catalog() == [APP, "schema1"]
        assert ours.tags(APP) == ["latest", "v1"]
        assert ours.manifest(APP, "v1") == ours.manifest(APP, digest_of(tree.manifest)) == tree.manifest
        assert ours.blob(APP, digest_of(EMPTY)) == EMPTY
        assert ours.blob(APP, tree.with_sha512) == b"known by sha512"
        for repository in ("emptied", "only/blobs", "only/uploads", "library"):
            assert ours.tags(repository) is None
        assert ours.blob("only/blobs", digest_of(b"a blob")) == b"a blob"
        referrer = tree.orphan()
        assert ours.referrers(APP, tree.manifest) == [digest_of(referrer)]


def test_schema_1(cargohold: Serve, tree: OldTree) -> None:
    """Manifests of schema 1 are listed, served with their own type and stored bytes, deleted, and not accepted anew."""
    older = tree.add_signed()
    with cargohold() as ours:
        assert ours.tags("schema1") == ["older", "signed"]
        for tag in ("older", "signed"):
            for accept in ("*/*", f"{SCHEMA1_SIGNED}, {SCHEMA1}"):
                answer = ours.http.get(f"/v2/schema1/manifests/{tag}", headers={"Accept": accept})
                assert answer.status_code == 200, answer.text
                assert answer.headers["content-type"] in (SCHEMA1, SCHEMA1_SIGNED)
                assert answer.headers["docker-content-digest"] == digest_of(answer.content)
        refused = ours.http.put(
            "/v2/schema1/manifests/new", content=answer.content, headers={"Content-Type": SCHEMA1_SIGNED}
        )
        assert (refused.status_code, refused.json()["errors"][0]["code"]) == (400, "MANIFEST_INVALID")
        ours.delete(f"schema1/manifests/{older}")
        assert ours.tags("schema1") == ["signed"]


@pytest.mark.parametrize("repository", SESSIONS)
def test_sessions(cargohold: Serve, tree: OldTree, repository: str) -> None:
    """An upload session of Distribution's says how far it is, goes on from there to its end, and can be cancelled."""
    there = SESSIONS[repository]
    path = f"/v2/{repository}/blobs/uploads/{tree.sessions[repository]}"
    with cargohold() as ours:
        answer = ours.http.get(path)
        assert (answer.status_code, answer.headers["range"]) == (204, f"0-{max(len(there) - 1, 0)}")
        late = ours.http.patch(
            path, content=b"late", headers={"Content-Range": f"{len(there) + 1}-{len(there) + 4}"}
        )
        assert late.status_code == 416
        session = ours.append(path, b"more")
        whole = there + b"more and the end"
        assert ours.finish(session, digest_of(whole), b" and the end").status_code == 201
        assert ours.blob(repository, digest_of(whole)) == whole
        assert ours.http.get(path).status_code == 404


@pytest.mark.parametrize("repository", SESSIONS)
def test_sessions_cancelled(cargohold: Serve, tree: OldTree, repository: str) -> None:
    """An upload session of Distribution's can be cancelled; nothing is left of it."""
    path = f"/v2/{repository}/blobs/uploads/{tree.sessions[repository]}"
    with cargohold() as ours:
        assert ours.http.delete(path).status_code == 204
        assert ours.http.get(path).status_code == 404
    assert os.listdir(tree.repositories / repository / "_uploads") == []


def test_odd_things(cargohold: Serve, tree: OldTree) -> None:
    """Strays, broken links, lost content and names that are no names hide nothing and break nothing."""
    tree.spoil()
    with cargohold(manifests__allow_tag_deletion=True) as ours:
        assert ours.catalog() == [APP, "schema1"]
        tags = ours.tags(APP)
        assert tags is not None
        assert {"latest", "v1", "linked", "newline"} <= set(tags)
        assert not {"stray-file", "half", "no-link", "-bad", "a b", "to-nowhere", "to-itself"} & set(tags)
        assert ours.manifest(APP, "linked") == ours.manifest(APP, "newline") == tree.manifest
        assert ours.manifest("linked/app", "latest") == tree.manifest
        for tag in (
            "rubbish",
            "binary",
            "nothing",
            "other-algorithm",
            "upper",
            "dangling",
            "lost",
            "to-itself",
        ):
            assert ours.manifest(APP, tag) is None
        assert ours.manifest(APP, NO_CONTENT) is None
        assert ours.referrers(APP, tree.manifest) == []
        ours.delete(f"{APP}/manifests/{NO_CONTENT}")
        ours.delete(f"{APP}/manifests/rubbish")
        assert not {"rubbish", "lost"} & set(ours.tags(APP) or ())
        ours.delete(f"{APP}/manifests/linked")
        assert ours.manifest(APP, "latest") == tree.manifest


def test_nothing_faults(cargohold: Serve, tree: OldTree) -> None:
    """Whatever a tree holds can be asked for, resumed and deleted: never a 5xx, and errors are JSON."""
    tree.spoil()
    with cargohold(manifests__allow_tag_deletion=True) as ours:
        paths = list(_paths(tree.repositories))
        assert len(paths) > 60
        faults = []
        for method in ("HEAD", "GET", "PATCH", "PUT", "DELETE"):
            for path in paths:
                answer = ours.http.request(method, path)
                if not _is_proper(answer):
                    faults.append((method, path, answer.status_code, answer.text))
        assert faults == []


def test_damaged_content(tree: OldTree) -> None:
    """A manifest whose bytes are not those of its digest is not served, and harms no other."""
    encoded = digest_of(tree.manifest).partition(":")[2]
    data = tree.root / "docker/registry/v2/blobs/sha256" / encoded[:2] / encoded / "data"
    data.write_bytes(data.read_bytes()[:-1] + b" ")
    server = Server(tree.root)
    try:
        with Peer(server.url) as ours:
            answer = ours.http.get(f"/v2/{APP}/manifests/latest")
            assert answer.status_code == 503
            assert answer.json()["errors"]
            assert ours.tags(APP) == ["latest", "v1"]
            assert ours.referrers(APP, tree.manifest) == []
            assert ours.catalog() == [APP, "schema1"]
    finally:
        server.stop()
    assert f"manifest {digest_of(tree.manifest)} are damaged" in server.log


def test_unreadable_folders(tree: OldTree) -> None:
    """A folder that the server may not read hides what is in it, and nothing else."""
    locked = tree.repositories / "only"
    locked.chmod(0)
    server = Server(tree.root, launcher=_BOUND_BY_MODES if os.geteuid() == 0 else ())
    try:
        with Peer(server.url) as ours:
            hidden = ours.http.get(f"/v2/only/blobs/blobs/{digest_of(b'a blob')}")
            assert (hidden.status_code, hidden.json()["errors"][0]["code"]) == (503, "UNAVAILABLE")
            assert ours.catalog() == [APP, "schema1"]
            pushed = ours.push(APP, "new", text="beside the locked folder")
            assert ours.manifest(APP, "new") == pushed
            assert ours.tags(APP) == ["latest", "new", "v1"]
    finally:
        locked.chmod(0o755)
        assert server.stop() == 0


def _is_proper(answer: httpx2.Response) -> bool:
    if answer.status_code < 400:
        return True
    is_told = answer.request.method == "HEAD" or "errors" in answer.json()
    return answer.status_code < 500 and is_told


def _paths(repositories: Path) -> Iterator[str]:
    """Every address that a name in the tree may stand for, with names that are not valid too."""
    yield "/v2/_catalog"
    for folder, folders, names in os.walk(os.fsencode(repositories)):
        repository, _, below = os.path.relpath(folder, os.fsencode(repositories)).partition(b"/_")
        prefix = f"/v2/{quote(repository)}"
        if not below:
            yield f"{prefix}/tags/list"
        for name in map(quote, (*folders, *names)):
            match below.split(b"/"):
                case [b"manifests", b"tags"]:
                    yield f"{prefix}/manifests/{name}"
                case [b"manifests", b"revisions", algorithm]:
                    yield f"{prefix}/manifests/{quote(algorithm)}:{name}"
                    yield f"{prefix}/referrers/{quote(algorithm)}:{name}"
                case [b"layers", algorithm]:
                    yield f"{prefix}/blobs/{quote(algorithm)}:{name}"
                case [b"uploads"]:
                    yield f"{prefix}/blobs/uploads/{name}"
