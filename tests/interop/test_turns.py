"""One tree, served by cargohold and by Distribution in turn, and by both at once."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from tests.e2e.pushing import EMPTY, digest_of
from tests.interop.tree import snapshot

if TYPE_CHECKING:
    from pathlib import Path

    from tests.interop.conftest import Serve, Turn
    from tests.interop.peer import Peer

pytestmark = pytest.mark.clients

REPOSITORIES = ("app", "team/app", "team/app/deep")


def _check(peer: Peer, expected: dict[str, dict[str, bytes]]) -> None:
    """By repository and tag, these manifests are served, with the layers that they name, and no others."""
    for repository, tagged in expected.items():
        assert peer.tags(repository) == sorted(tagged)
        for tag, content in tagged.items():
            assert peer.manifest(repository, tag) == content
            assert peer.manifest(repository, digest_of(content)) == content
        assert peer.blob(repository, digest_of(EMPTY)) == EMPTY
    assert set(expected) <= set(peer.catalog())


@pytest.mark.parametrize("first", ["cargohold", "distribution"])
def test_in_turn(cargohold: Serve, distribution: Turn, first: str) -> None:
    """What either has pushed, moved or deleted is so for the other when it is started on the tree, twice round."""
    turns: list[Turn] = (
        [cargohold, distribution] * 2 if first == "cargohold" else [distribution, cargohold] * 2
    )
    expected: dict[str, dict[str, bytes]] = {name: {} for name in REPOSITORIES}
    deleted: list[tuple[str, bytes]] = []
    for number, serve in enumerate(turns):
        with serve() as peer:
            if number:
                _check(peer, expected)
            for repository, content in deleted:
                assert peer.manifest(repository, digest_of(content)) is None
            for repository, tagged in expected.items():
                text = f"{repository} {number}"
                if number:
                    # That which the other pushed before: deleted with its tags, and one tag moved.
                    doomed = tagged.pop(f"doomed{number - 1}")
                    peer.delete_manifest(repository, doomed)
                    deleted.append((repository, doomed))
                tagged["latest"] = peer.push(repository, "latest", f"v{number}", text=text)
                tagged[f"v{number}"] = tagged["latest"]
                tagged[f"doomed{number}"] = peer.push(repository, f"doomed{number}", text=f"{text} doomed")
            _check(peer, expected)


def test_same_tree(cargohold: Serve, distribution: Turn, root: Path, tmp_path: Path) -> None:
    """The same pushes leave the same folders and files, byte for byte, whoever serves."""
    trees = []
    for serve in (cargohold, distribution):
        with serve() as peer:
            for repository in REPOSITORIES:
                first = peer.push(repository, "latest", "v1", text=f"{repository} first")
                peer.push(repository, "latest", text=f"{repository} second")
                peer.push(repository, text="untagged", subject=first)
        trees.append(snapshot(root))
        root.rename(tmp_path / f"tree{len(trees)}")
    assert len(trees[0]) > 100
    assert trees[0] == trees[1]
