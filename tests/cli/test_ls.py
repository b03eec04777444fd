"""`cargohold ls` and `cargohold tags`: lists of what a running registry has."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING

import pytest

from tests.cli.asking import ask, done, refused
from tests.cli.hostile import Reply
from tests.cli.test_command import SCRIPT, run

if TYPE_CHECKING:
    from pathlib import Path

    from tests.cli.conftest import Play
    from tests.cli.hostile import Asked
    from tests.e2e.server import Server

NAMES = ["a", "b", "c/d", "team/app"]


def test_ls(open_registry: Server, tmp_path: Path) -> None:
    """Repositories are printed one a line, over as many pages as they come in; with --json as one list."""
    assert done(tmp_path, "ls", open_registry.host) == "a\nb\nc/d\nteam/app\n"
    assert json.loads(done(tmp_path, "ls", "--json", open_registry.url)) == NAMES


def test_tags(open_registry: Server, tmp_path: Path) -> None:
    """The same for the tags of a repository."""
    assert done(tmp_path, "tags", f"{open_registry.host}/team/app") == "1.0\nlatest\n"
    assert json.loads(done(tmp_path, "tags", "--json", f"{open_registry.url}/team/app")) == ["1.0", "latest"]


def test_nothing(play: Play, tmp_path: Path) -> None:
    """An empty list prints nothing, and as JSON an empty list; `null`, which Distribution writes, is one."""
    registry = play(lambda _: Reply(200, {}, b'{"repositories":null}'))
    assert done(tmp_path, "ls", registry.host) == ""
    assert json.loads(done(tmp_path, "ls", "--json", registry.host)) == []


def test_refused(open_registry: Server, tmp_path: Path) -> None:
    """What the registry refuses ends the command with 1 and its words; what nobody answers does, too."""
    words = refused(tmp_path, "tags", f"{open_registry.host}/none")
    assert words.endswith("answers 404 NAME_UNKNOWN: repository name not known to registry")
    assert words.startswith(f"{open_registry.host}/none: ")
    assert refused(tmp_path, "tags", "127.0.0.1:1/none").startswith("127.0.0.1:1: ")
    assert "it may speak plain HTTP" in refused(tmp_path, "ls", f"https://{open_registry.host}")


@pytest.mark.parametrize("reference", [":1.0", f"@sha256:{'a' * 64}"])
def test_tags_of_an_image(tmp_path: Path, reference: str) -> None:
    """An image has no tags: to ask for them is a misuse."""
    result = ask(tmp_path, "tags", f"localhost:5000/team/app{reference}")
    assert (result.exit_code, result.stdout) == (2, "")
    assert f"names an image: leave out its {'tag' if reference[0] == ':' else 'digest'}" in result.stderr


def test_pages_are_printed_as_they_come(play: Play, tmp_path: Path) -> None:
    """A list that breaks off is printed until there; as JSON it is not closed, so that nobody takes it for whole."""

    def answers(asked: Asked) -> Reply:
        if "last=" in asked.target:
            return Reply(500, {})
        return Reply(200, {"Link": '</v2/_catalog?last=b>; rel="next"'}, b'{"repositories":["a","b"]}')

    registry = play(answers)
    plain = ask(tmp_path, "ls", registry.host)
    assert (plain.exit_code, plain.stdout) == (1, "a\nb\n")
    assert "answers 500" in plain.stderr
    as_json = ask(tmp_path, "ls", "--json", registry.host)
    assert (as_json.exit_code, as_json.stdout) == (1, '[\n"a",\n"b"\n')
    assert "answers 500" in as_json.stderr


def test_refused_as_json(play: Play, tmp_path: Path) -> None:
    """Where nothing of a list has come, nothing is printed; where it has nothing in it, that is a list."""
    registry = play(
        lambda asked: Reply(200 if asked.target in ("/v2/", "/v2/a/tags/list") else 403, {}, b"{}")
    )
    assert "answers 403" in refused(tmp_path, "ls", "--json", registry.host)
    assert json.loads(done(tmp_path, "tags", "--json", f"{registry.host}/a")) == []


def test_proxies(open_registry: Server, play: Play, tmp_path: Path) -> None:
    """A proxy of the environment is asked for others, and not for this machine."""
    proxy = play(lambda _: Reply(404, {}))
    environ = {"http_proxy": f"http://{proxy.host}"}
    assert done(tmp_path, "ls", open_registry.host, **environ).splitlines() == NAMES
    assert proxy.asked == []
    refused(tmp_path, "ls", "http://registry.example.com", **environ)
    assert [each.target for each in proxy.asked] == ["http://registry.example.com/v2/"]


def test_script(open_registry: Server, tmp_path: Path) -> None:
    """The installed command does the same."""
    ran = run(SCRIPT, "ls", open_registry.host, environ={"HOME": str(tmp_path)})
    assert (ran.returncode, ran.stdout.splitlines(), ran.stderr) == (0, NAMES, "")
