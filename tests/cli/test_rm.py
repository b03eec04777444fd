"""`cargohold rm`: images out of a running registry, told before and afterwards."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from tests.cli.asking import ask, done, refused
from tests.cli.hostile import Reply
from tests.cli.terminal import on_terminal
from tests.cli.test_command import CLEAN, SCRIPT, run
from tests.e2e.pushing import digest_of
from tests.interop.peer import Peer

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from tests.cli.conftest import Play
    from tests.e2e.conftest import Start
    from tests.e2e.server import Server

REPOSITORY = "team/app"


@pytest.fixture(scope="module")
def peer(scratch_registry: Server) -> Iterator[Peer]:
    with Peer(scratch_registry.url) as peer:
        yield peer


def digest_of_tags(peer: Peer, repository: str, *tags: str) -> str:
    """Push an image with the tags; its digest."""
    return digest_of(peer.push(repository, *tags, text=tags[0] if tags else "untagged"))


def test_digest(peer: Peer, scratch_registry: Server, tmp_path: Path) -> None:
    """A digest goes with the tags that point to it, and with no others; they are named before and afterwards."""
    repository = "removed/digest"
    digest = digest_of_tags(peer, repository, "1.0", "1", "latest")
    digest_of_tags(peer, repository, "2.0")
    result = ask(tmp_path, "rm", "--yes", f"{scratch_registry.host}/{repository}@{digest}")
    assert result.exit_code == 0
    what = f"manifest {scratch_registry.host}/{repository}@{digest}, with its tags 1, 1.0, latest"
    assert (result.stderr, result.stdout) == (f"to be removed: {what}\n", f"removed {what}\n")
    assert peer.tags(repository) == ["2.0"]


def test_other_digest(play: Play, tmp_path: Path) -> None:
    """A digest that was typed is the only one that goes: a registry that names another is left alone."""
    asked, other = digest_of(b"asked"), digest_of(b"other")
    registry = play(lambda _: Reply(200, {"Docker-Content-Digest": other}, b'{"tags":["1"]}'))
    where = f"{registry.host}/app@{asked}"
    words = refused(tmp_path, "rm", "--yes", where)
    assert words == f"{where}: the registry has {other} there, which was not asked for"
    assert [each.method for each in registry.asked] == ["GET", "HEAD"]


@pytest.mark.parametrize("named", [{}, {"Docker-Content-Digest": f"sha512:{'a' * 128}"}])
def test_digest_by_another_algorithm(play: Play, tmp_path: Path, named: dict[str, str]) -> None:
    """A registry may name a manifest by another algorithm, or not at all: what was typed is what goes."""
    digest = digest_of(b"asked")
    registry = play(lambda _: Reply(200, named, b'{"tags":[]}'))
    done(tmp_path, "rm", "--yes", f"{registry.host}/app@{digest}")
    assert [each.target for each in registry.asked if each.method == "DELETE"] == [
        f"/v2/app/manifests/{digest}"
    ]


def test_unprinted(play: Play, tmp_path: Path) -> None:
    """Where it cannot be printed what has gone, all that was confirmed goes, and that is said on stderr."""
    registry = play(
        lambda asked: Reply(200, {"Docker-Content-Digest": digest_of(asked.target.encode())}, b'{"tags":[]}')
    )
    script = f"{SCRIPT} rm --yes {registry.host}/app:1 {registry.host}/app:2 >&-"
    ran = run("sh", "-c", script, environ={"HOME": str(tmp_path)})
    assert (ran.returncode, ran.stdout) == (1, "")
    closed = "cargohold: standard output is closed"
    told = [f"removed tag {registry.host}/app:1", closed, f"removed tag {registry.host}/app:2", closed]
    assert ran.stderr.splitlines()[2:] == told
    assert [each.target for each in registry.asked if each.method == "DELETE"] == [
        "/v2/app/manifests/1",
        "/v2/app/manifests/2",
    ]


def test_manifest(peer: Peer, scratch_registry: Server, tmp_path: Path) -> None:
    """With --manifest a tag stands for what it points to; each manifest is removed once."""
    repository = "removed/manifest"
    one, two = (digest_of_tags(peer, repository, *tags) for tags in (("1.0", "1"), ("2.0",)))
    where = f"{scratch_registry.host}/{repository}"
    told = done(
        tmp_path, "rm", "--yes", "--manifest", f"{where}:1.0", f"{where}:2.0", f"{where}:1", f"{where}@{two}"
    )
    assert told.splitlines() == [
        f"removed manifest {where}@{one}, with its tags 1, 1.0",
        f"removed manifest {where}@{two}, with its tags 2.0",
    ]
    assert peer.tags(repository) is None


def test_untagged(peer: Peer, scratch_registry: Server, tmp_path: Path) -> None:
    """A manifest without tags is removed as well, and it is said that it has none."""
    digest = digest_of_tags(peer, "removed/untagged")
    told = done(tmp_path, "rm", "--yes", f"{scratch_registry.host}/removed/untagged@{digest}")
    assert told.endswith(f"@{digest}, which has no tag\n")


def test_tag_where_tags_cannot_go(peer: Peer, scratch_registry: Server, tmp_path: Path) -> None:
    """Where the registry removes no tag alone nothing goes; it is said what can be done, and what would go then."""
    digest = digest_of_tags(peer, "removed/tag", "1.0", "latest")
    where = f"{scratch_registry.host}/removed/tag"
    result = ask(tmp_path, "rm", "--yes", f"{where}:1.0")
    assert (result.exit_code, result.stdout) == (1, "")
    told = result.stderr.splitlines()[1]
    assert "answers 400 UNSUPPORTED" in told
    assert (
        f"its manifest, with its tags 1.0, latest, by --manifest or by the address {where}@{digest}" in told
    )
    assert "manifests.allow_tag_deletion" in told
    assert peer.tags("removed/tag") == ["1.0", "latest"]


def test_tag(start: Start, tmp_path: Path) -> None:
    """Where it does, the tag alone goes; a tag whose manifest goes too is not told apart."""
    server = start({"manifests.allow_tag_deletion": "true", "workers": 1})
    with Peer(server.url) as peer:
        digest = digest_of_tags(peer, REPOSITORY, "1.0", "1", "latest")
        where = f"{server.host}/{REPOSITORY}"
        assert done(tmp_path, "rm", "--yes", f"{where}:1.0") == f"removed tag {where}:1.0\n"
        assert peer.tags(REPOSITORY) == ["1", "latest"]
        told = done(tmp_path, "rm", "--yes", f"{where}:1", f"{where}@{digest}")
        assert told == f"removed manifest {where}@{digest}, with its tags 1, latest\n"


def test_what_is_not_there(peer: Peer, scratch_registry: Server, tmp_path: Path) -> None:
    """Where one of the images is not there nothing is removed at all."""
    digest = digest_of_tags(peer, "removed/none", "1.0")
    where = f"{scratch_registry.host}/removed/none"
    words = refused(tmp_path, "rm", "--yes", f"{where}@{digest}", f"{where}:2.0")
    assert words == f"{where}:2.0: 127.0.0.1 answers 404 Not Found"
    assert peer.tags("removed/none") == ["1.0"]


def test_one_of_several(start: Start, tmp_path: Path) -> None:
    """What the registry refuses does not keep the rest from being removed; the exit code is 1."""
    closed, server = start({"deletion": "false", "workers": 1}), start({"workers": 1})
    places = []
    for each in (closed, server):
        with Peer(each.url) as peer:
            places.append(f"{each.host}/{REPOSITORY}@{digest_of_tags(peer, REPOSITORY, '1.0')}")
    result = ask(tmp_path, "rm", "--yes", *places)
    assert result.exit_code == 1
    assert "answers 405 UNSUPPORTED" in result.stderr
    assert result.stdout == f"removed manifest {places[1]}, with its tags 1.0\n"


@pytest.mark.parametrize(
    ("image", "words"),
    [
        ("localhost:5000/team/app", "end it with a tag, or with a digest"),
        (f"localhost:5000/team/app:1@sha256:{'a' * 64}", "end it with a tag, or with a digest"),
        ("localhost:5000/team/app:1", "use --yes"),
    ],
)
def test_misuse(tmp_path: Path, image: str, words: str) -> None:
    """What is meant must be said, and confirmed; otherwise the registry is not even asked."""
    result = ask(tmp_path, "rm", image)
    assert (result.exit_code, result.stdout) == (2, "")
    assert words in result.stderr


@pytest.mark.parametrize(("answer", "left"), [("y", None), ("n", ["1.0"])])
def test_confirmation(
    peer: Peer, scratch_registry: Server, tmp_path: Path, answer: str, left: list[str] | None
) -> None:
    """On a terminal it is asked whether what will go is meant, and only a yes removes it."""
    repository = f"removed/asked-{answer}"
    digest = digest_of_tags(peer, repository, "1.0")
    command = f"{SCRIPT} rm {scratch_registry.host}/{repository}@{digest} || test $? = 1"
    shown = on_terminal(command, tmp_path, {"Remove this? [y/N]: ": answer}, CLEAN | {"HOME": str(tmp_path)})
    assert shown.startswith(
        f"to be removed: manifest {scratch_registry.host}/{repository}@{digest}, with its tags 1.0\n"
    )
    assert ("\nremoved manifest " in shown) is (left is None)
    assert peer.tags(repository) == left
