"""A tree of Distribution is checked for what it is: what that server leaves is no damage."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from collections import Counter
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest

from tests.e2e.clients.absence import require
from tests.e2e.pushing import EMPTY, digest_of
from tests.interop.distribution import Distribution
from tests.interop.old_tree import OldTree
from tests.interop.peer import Peer
from tests.interop.tree import snapshot

if TYPE_CHECKING:
    from tests.interop.conftest import Serve, Turn

pytestmark = pytest.mark.clients


def fsck(root: Path, *words: str) -> tuple[int, dict[str, Any]]:
    """How it ends, and what it says."""
    done = subprocess.run(
        [Path(sys.executable).parent / "cargohold", "fsck", "--json", *words, "--storage-path", root],
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )
    assert done.stderr == ""
    return done.returncode, json.loads(done.stdout)


def test_what_it_leaves_is_harmless(root: Path, tmp_path: Path, program: str) -> None:
    """Images, deletions, sessions and a collection of garbage: nothing is lost or damaged, and nothing is changed."""
    settings = tmp_path / "distribution.json"
    server = Distribution(program, root, settings)
    try:
        with Peer(server.url) as theirs:
            kept = theirs.push("team/app", "latest", text="kept")
            theirs.push("team/app", text="untagged", subject=kept)
            gone = theirs.push("team/app", "old", text="gone")
            theirs.delete_manifest("team/app", gone)
            theirs.push("team/app", "latest", text="moved")
            theirs.append(theirs.start("team/app"), b"some")
    finally:
        server.stop()
    before = snapshot(root)
    assert fsck(root, "--verify-content")[0] == 0
    server.collect_garbage()
    collected = snapshot(root)
    assert collected != before
    code, said = fsck(root)
    assert (code, said["found"]["lost"], said["found"]["damaged"]) == (0, 0, 0)
    assert said["looked"]["manifests"] == 3
    assert snapshot(root) == collected


def test_repaired_and_served_by_both(root: Path, cargohold: Serve, distribution: Turn) -> None:
    """What is repaired is served by either server, and no check finds anything after it."""
    with distribution() as theirs:
        manifest = theirs.push("team/app", "latest", text="image")
        theirs.push_blob("team/app", b"by sha512", "sha512")
    layer = digest_of(b"image" * 1000).replace(":", "/")
    app = root / "docker/registry/v2/repositories/team/app"
    (app / "_layers" / layer / "link").unlink()
    (app / "_manifests/revisions" / digest_of(manifest).replace(":", "/") / "link").write_bytes(b"")
    with distribution() as theirs:
        assert theirs.blob("team/app", digest_of(b"image" * 1000)) is None
    code, said = fsck(root, "--repair")
    assert (code, said["kinds"]) == (1, {"bad-link": 1, "unlinked-blob": 1})
    assert fsck(root, "--verify-content")[0] == 0
    for serve in (distribution, cargohold):
        with serve() as registry:
            assert registry.manifest("team/app", "latest") == manifest
            for content in (EMPTY, b"image" * 1000):
                assert registry.blob("team/app", digest_of(content)) == content


def test_an_old_tree(root: Path, tmp_path: Path, cargohold: Serve) -> None:
    """With all that years have left in it: what is wrong is told and repaired, the rest is as it was.

    While a symbolic link gives a repository a second name, what is in it is told by both, and left.
    """
    server = Distribution(require("docker-registry"), root, tmp_path / "distribution.json", schema1=True)
    tree = OldTree(root)
    try:
        with Peer(server.url) as theirs:
            tree.fill(theirs, require("skopeo"))
    finally:
        server.stop()
    assert fsck(root, "--verify-content")[0] == 0
    tree.add_signed()
    tree.spoil()
    code, said = fsck(root, "--verify-content")
    assert code == 1
    by_name = {
        first: Counter(
            (each["kind"], each.get("tag", ""))
            for each in said["findings"]
            if each.get("repository", "").startswith(first)
        )
        for first in ("library/", "linked/")
    }
    assert by_name["linked/"] == by_name["library/"]
    found = by_name["library/"]
    assert found[("dangling-tag", "dangling")] == found[("dangling-tag", "lost")] == 1
    assert found[("lost-manifest", "")] == 1
    for tag in ("rubbish", "binary", "nothing", "other-algorithm", "upper", "link-is-folder"):
        assert found[("bad-link", tag)] == 1, tag
    repositories = root / "docker/registry/v2/repositories"
    before = sorted(os.walk(repositories))
    code, said = fsck(root, "--repair", "--min-age", "0", "library/**")
    assert code == 1
    assert "aliased" in {each["outcome"] for each in said["findings"]}
    assert sorted(os.walk(repositories)) == before
    (repositories / "linked").unlink()
    assert fsck(root, "--repair", "--min-age", "0")[0] == 1
    code, said = fsck(root, "--verify-content", "--all")
    assert (code, said["findings"]) == (0, [])
    with cargohold() as ours:
        assert ours.tags("library/app") == ["latest", "linked", "newline", "v1"]
        assert ours.manifest("library/app", "latest") == tree.manifest
        assert ours.blob("library/app", tree.with_sha512) == b"known by sha512"
        assert ours.tags("schema1") == ["older", "signed"]
