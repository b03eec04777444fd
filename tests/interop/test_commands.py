"""The commands that ask a running registry ask others than ours, too."""

from __future__ import annotations

import json
import shutil
from typing import TYPE_CHECKING

from tests.cli.asking import ask, done, refused
from tests.e2e.pushing import MANIFEST, digest_of

if TYPE_CHECKING:
    from pathlib import Path

    from tests.interop.conftest import Turn
    from tests.interop.peer import Peer

PAGE = 100  # of a catalog


def where(peer: Peer) -> str:
    return str(peer.http.base_url).rstrip("/")


def test_lists(distribution: Turn, root: Path, tmp_path: Path) -> None:
    """Repositories and tags are listed, over all the pages that they come in."""
    with distribution() as peer:
        names = [f"team/app{number:03}" for number in range(PAGE + 2)]
        content = peer.push(names[0], "1.0", text="one")
        repositories = root / "docker/registry/v2/repositories"
        for name in names[1:]:
            shutil.copytree(repositories / names[0], repositories / name)
        peer.push_manifest(names[0], "latest", content)
        assert done(tmp_path, "ls", where(peer)).splitlines() == names
        assert json.loads(done(tmp_path, "ls", "--json", where(peer))) == names
        assert sorted(done(tmp_path, "tags", f"{where(peer)}/{names[0]}").splitlines()) == ["1.0", "latest"]


def test_inspect(distribution: Turn, tmp_path: Path) -> None:
    """An image is told; that it has referrers is known from the tag by which clients list them."""
    with distribution() as peer:
        content = peer.push("team/app", "1.0", text="one")
        signature = peer.push("team/app", text="two", subject=content)
        listed = {
            "schemaVersion": 2,
            "mediaType": "application/vnd.oci.image.index.v1+json",
            "manifests": [{"mediaType": MANIFEST, "digest": digest_of(signature), "size": len(signature)}],
        }
        tag = digest_of(content).replace(":", "-")
        image = f"{where(peer)}/team/app:1.0"
        told = json.loads(done(tmp_path, "inspect", "--json", image))
        assert (told["digest"], told["mediaType"]) == (digest_of(content), MANIFEST)
        assert (told["size"], told["referrers"]) == (3000, [])
        peer.push_manifest("team/app", tag, json.dumps(listed).encode(), str(listed["mediaType"]))
        told = json.loads(done(tmp_path, "inspect", "--json", image))
        assert [each["digest"] for each in told["referrers"]] == [digest_of(signature)]
        assert done(tmp_path, "inspect", "--raw", image).encode() == content


def test_rm(distribution: Turn, tmp_path: Path) -> None:
    """A manifest goes with its tags, which are named; a tag alone goes where it can, and else nothing does."""
    with distribution() as peer:
        for tags, text in ((("1.0", "latest"), "one"), (("2.0",), "two")):
            peer.push("team/app", *tags, text=text)
        image = f"{where(peer)}/team/app"
        alone = ask(tmp_path, "rm", "--yes", f"{image}:latest")
        left = peer.tags("team/app") or []
        assert left == (["1.0", "2.0"] if alone.exit_code == 0 else ["1.0", "2.0", "latest"]), alone.output
        gone = done(tmp_path, "rm", "--yes", "--manifest", f"{image}:1.0")
        assert gone.endswith(f", with its tags {', '.join(tag for tag in left if tag != '2.0')}\n")
        assert peer.manifest("team/app", "1.0") is None
        assert peer.manifest("team/app", "2.0") is not None
        assert "404 MANIFEST_UNKNOWN" in refused(tmp_path, "inspect", f"{image}:1.0")
