"""`cargohold keys`: what it prints, what it leaves on disk, and how it ends."""

from __future__ import annotations

import calendar
import json
import os
import re
import tempfile
import time
from itertools import pairwise
from pathlib import Path
from typing import TYPE_CHECKING

import pytest
from click.testing import CliRunner

from cargohold.auth.keys import LONGEST_TOKEN_SECONDS, PUBLISH_SECONDS, SigningKeys
from cargohold.cli.main import main
from tests.cli.test_command import SCRIPT, run

if TYPE_CHECKING:
    from click.testing import Result

TIME = r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\dZ"
KID = r"[A-Za-z0-9_-]{43}"


@pytest.fixture
def root(tmp_path: Path) -> Path:
    (tmp_path / "data" / "cargohold").mkdir(parents=True)
    return tmp_path / "data"


def folder(root: Path) -> Path:
    return root / "cargohold" / "keys"


def started(root: Path) -> SigningKeys:
    """The keys as they are once a server has started."""
    keys = SigningKeys(str(folder(root)))
    keys.prepare(time.time())
    return keys


def keys(root: Path, *arguments: str) -> Result:
    return CliRunner().invoke(main, ["keys", *arguments, "--storage-path", str(root)])


def listed(root: Path) -> list[dict[str, str]]:
    result = keys(root, "list", "--json")
    assert (result.exit_code, result.stderr) == (0, "")
    records: list[dict[str, str]] = json.loads(result.stdout)
    return records


def seconds(written: str) -> float:
    return calendar.timegm(time.strptime(written, "%Y-%m-%dT%H:%M:%SZ"))


def test_rotate(root: Path) -> None:
    """A rotation prints the new key's id alone on stdout, and on stderr what becomes of it and of the others."""
    old = started(root).signing(time.time()).kid
    result = keys(root, "rotate")
    assert result.exit_code == 0
    new = result.stdout.strip()
    assert re.fullmatch(KID, new)
    assert re.fullmatch(
        rf"it signs from {TIME} on; what was signed before is accepted until it expires\n", result.stderr
    )
    assert [(each["kid"], each["state"]) for each in listed(root)] == [(old, "signing"), (new, "next")]


def test_rotate_now(root: Path) -> None:
    """A rotation at once leaves the new key alone."""
    started(root)
    assert keys(root, "rotate").exit_code == 0
    result = keys(root, "rotate", "--now")
    assert result.exit_code == 0
    assert "refused" in result.stderr
    assert [(each["kid"], each["state"]) for each in listed(root)] == [(result.stdout.strip(), "signing")]


def test_states(root: Path) -> None:
    """Keys that signed are listed as long as they are accepted, with both times."""
    now = time.time()
    signing_keys = SigningKeys(str(folder(root)))
    signing_keys.prepare(now - 1000)
    old = signing_keys.signing(now).kid
    new = signing_keys.rotate(now - 2 * PUBLISH_SECONDS).kid
    newest = signing_keys.rotate(now).kid
    records = listed(root)
    assert [(each["kid"], each["state"]) for each in records] == [
        (old, "accepted"),
        (new, "signing"),
        (newest, "next"),
    ]
    for each, following in pairwise(records):
        assert seconds(each["until"]) - seconds(following["since"]) == LONGEST_TOKEN_SECONDS
    assert "until" not in records[-1]


def test_table(root: Path) -> None:
    """The list is a table for people, a line for each key under a heading."""
    kid = started(root).signing(time.time()).kid
    new = keys(root, "rotate").stdout.strip()
    result = keys(root, "list")
    assert (result.exit_code, result.stderr) == (0, "")
    heading, *rows = result.stdout.splitlines()
    assert heading.split() == ["KEY", "STATE", "SINCE", "UNTIL"]
    assert re.fullmatch(rf"{kid}  signing  {TIME}  {TIME}", rows[0])
    assert re.fullmatch(rf"{new}  next     {TIME}", rows[1])
    assert len(rows) == 2


def test_nothing_yet(root: Path) -> None:
    """Before the first start there is nothing to list, and listing makes nothing."""
    assert listed(root) == []
    assert keys(root, "list").stdout == "KEY  STATE  SINCE  UNTIL\n"
    assert list((root / "cargohold").iterdir()) == []


@pytest.mark.parametrize("command", [["list"], ["rotate"], ["rotate", "--now"]])
def test_no_such_storage(tmp_path: Path, command: list[str]) -> None:
    """A directory that is not there, or is no registry's, is named, and nothing is made."""
    (tmp_path / "empty").mkdir()
    for name in ("absent", "empty"):
        result = keys(tmp_path / name, *command)
        assert (result.exit_code, result.stdout) == (1, "")
        assert result.stderr == (
            f"cargohold: no registry has its data in {tmp_path}/{name}: name the directory with --storage-path, or"
            " start the server there once\n"
        )
    assert sorted(tmp_path.rglob("*")) == [tmp_path / "empty"]


@pytest.mark.parametrize("command", [["list"], ["rotate"]])
def test_key_that_others_may_read(root: Path, command: list[str]) -> None:
    """Such a key is refused with what to do about it, which then works."""
    started(root)
    (path,) = folder(root).glob("*.jwk")
    path.chmod(0o644)
    result = keys(root, *command)
    assert (result.exit_code, result.stdout) == (1, "")
    assert result.stderr.startswith(f"cargohold: {path} is a private key that others may read (mode 0644)")
    assert keys(root, "rotate", "--now").exit_code == 0
    assert keys(root, *command).exit_code == 0
    assert not path.exists()


def test_nothing_secret_is_printed(root: Path) -> None:
    """What makes a key private is in no output."""
    started(root)
    (path,) = folder(root).glob("*.jwk")
    secret = json.loads(path.read_text())["d"]
    for command in (["list"], ["list", "--json"], ["rotate"], ["rotate", "--now"]):
        assert secret not in keys(root, *command).output


def test_as_typed(root: Path) -> None:
    """The installed command takes the storage from the environment too."""
    started(root)
    ran = run(SCRIPT, "keys", "rotate", environ={"REGISTRY_STORAGE_PATH": str(root)})
    assert ran.returncode == 0
    assert re.fullmatch(KID, ran.stdout.strip())
    assert len(listed(root)) == 2
    assert run(SCRIPT, "keys", "turn").returncode == 2
    assert run(SCRIPT, "keys", "list", "--set", "storage=").returncode == 2


def test_typed_by_root() -> None:
    """What root makes belongs to whom the storage belongs: a server of that user can use it."""
    owner = os.geteuid(), os.getegid()
    with tempfile.TemporaryDirectory() as name:
        root = Path(name)
        (root / "cargohold").mkdir()
        if owner[0] == 0:
            owner = 1234, 1235
            os.chown(root / "cargohold", *owner)
            root.chmod(0o755)
        assert keys(root, "rotate").exit_code == 0
        assert keys(root, "rotate", "--now").exit_code == 0
        found = [folder(root), *folder(root).iterdir()]
        assert len(found) == 3
        assert {(path.stat().st_uid, path.stat().st_gid) for path in found} == {owner}
        assert keys(root, "list").exit_code == 0
