"""The command that makes, lists and revokes access tokens, as its user types it."""

from __future__ import annotations

import asyncio
import calendar
import contextlib
import json
import os
import re
import subprocess
import tempfile
import time
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest
from click.testing import CliRunner

from cargohold.auth.protocols import Unproved
from cargohold.auth.robots import Robots
from cargohold.cli.main import main
from cargohold.storage.state import State
from cargohold.types.names import RepositoryName
from cargohold.types.operations import Permission
from tests.cli.test_command import CLEAN, SCRIPT, run

if TYPE_CHECKING:
    from click.testing import Result

    from cargohold.auth.protocols import Proved

SECRET = r"chd_[A-Za-z0-9_-]{43}\n"


def token(storage: Path, *words: str) -> Result:
    runner = CliRunner(env=dict.fromkeys(os.environ.keys() - CLEAN.keys()))
    return runner.invoke(main, ["token", *words, "--storage-path", str(storage)])


def create(storage: Path, name: str, *words: str) -> str:
    """The secret of a new robot."""
    made = token(storage, "create", name, *words)
    assert (made.exit_code, bool(re.fullmatch(SECRET, made.stdout))) == (0, True), made.output
    return made.stdout.strip()


def prove(storage: Path, secret: str) -> Proved | None:
    """None where the secret does not hold."""
    with contextlib.closing(State(f"{storage}/cargohold")) as state, contextlib.suppress(Unproved):
        return asyncio.run(Robots(state).prove("x", secret))
    return None


def listed(storage: Path) -> list[Any]:
    found = token(storage, "list", "--json")
    assert (found.exit_code, found.stderr) == (0, "")
    records: list[Any] = json.loads(found.stdout)
    return records


@pytest.fixture
def storage(tmp_path: Path) -> Path:
    """As it is once a server has been started there."""
    (tmp_path / "cargohold").mkdir()
    return tmp_path


def test_create(storage: Path) -> None:
    """The secret alone is on stdout; what it may do and until when is on stderr, and holds."""
    made = token(
        storage, "create", "ci", "--repository", "org/*", "--permission", "pull,push", "--expires", "12h"
    )
    assert (made.exit_code, bool(re.fullmatch(SECRET, made.stdout))) == (0, True)
    assert re.fullmatch(r"ci: pull,push in org/\*; expires: \d{4}-\d\d-\d\dT\d\d:\d\d:\d\dZ\n", made.stderr)
    proved = prove(storage, made.stdout.strip())
    assert proved is not None
    assert 0 < time.time() + 12 * 3600 - proved.until < 60
    may = {
        (permission.value, name)
        for permission in Permission
        for name in ("org/app", "org/app/deep", "app")
        if proved.authority.allows(permission, RepositoryName(name))
    }
    assert may == {("pull", "org/app"), ("push", "org/app")}


def test_several_of_each(storage: Path) -> None:
    """Patterns and permissions may be repeated, and permissions joined by commas, in any letter case."""
    words = ["--repository", "a", "--repository", "b/**", "--repository", "a"]
    create(
        storage,
        "ci",
        *words,
        "--permission",
        "PULL, delete",
        "--permission",
        "catalog",
        "--expires",
        "never",
    )
    (record,) = listed(storage)
    assert record["grants"] == [
        {"repository": "a", "permissions": ["pull", "delete", "catalog"]},
        {"repository": "b/**", "permissions": ["pull", "delete", "catalog"]},
    ]
    assert record["expires"] is None


def test_defaults(storage: Path) -> None:
    """Without more words a robot may pull, for 90 days."""
    create(storage, "ci", "--repository", "a")
    (record,) = listed(storage)
    assert record["grants"] == [{"repository": "a", "permissions": ["pull"]}]
    created, expires = (
        calendar.timegm(time.strptime(record[name], "%Y-%m-%dT%H:%M:%SZ")) for name in ("created", "expires")
    )
    assert abs(expires - created - 90 * 86400) <= 1


def test_list(storage: Path) -> None:
    """The list has a line for each robot, by name, and never a secret."""
    assert token(storage, "list").stdout == "NAME  CREATED  EXPIRES  MAY\n"
    assert listed(storage) == []
    secrets = [
        create(storage, "deploy", "--repository", "org/**", "--expires", "never"),
        create(storage, "a", "--repository", "b", "--repository", "c", "--permission", "push,pull"),
    ]
    found = token(storage, "list")
    moment = r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\dZ"
    head, first, second = found.stdout.splitlines()
    assert head.split() == ["NAME", "CREATED", "EXPIRES", "MAY"]
    assert re.fullmatch(rf"a       {moment}  {moment}  pull,push in b; pull,push in c", first)
    assert re.fullmatch(rf"deploy  {moment}  never +  pull in org/\*\*", second)
    for secret in secrets:
        assert secret not in found.output + token(storage, "list", "--json").output


def test_expired_is_listed(storage: Path) -> None:
    """A robot that has expired is listed as such, and gives its name to a new one."""
    create(storage, "ci", "--repository", "a", "--expires", "1s")
    time.sleep(1.1)
    assert [(each["name"], each["expired"]) for each in listed(storage)] == [("ci", True)]
    create(storage, "ci", "--repository", "a")
    assert [(each["name"], each["expired"]) for each in listed(storage)] == [("ci", False)]


def test_revoke(storage: Path) -> None:
    """A revoked robot is gone, and can be made anew; one that is not there ends the command with 1."""
    secret = create(storage, "ci", "--repository", "a")
    revoked = token(storage, "revoke", "ci")
    assert (revoked.exit_code, revoked.stdout, revoked.stderr) == (0, "", "ci is revoked\n")
    assert prove(storage, secret) is None
    again = token(storage, "revoke", "ci")
    assert (again.exit_code, again.stdout, again.stderr) == (1, "", "cargohold: there is no robot ci\n")
    assert create(storage, "ci", "--repository", "a") != secret


def test_name_that_is_taken(storage: Path) -> None:
    """A second robot of a name ends the command with 1, and prints no secret."""
    secret = create(storage, "ci", "--repository", "a")
    again = token(storage, "create", "ci", "--repository", "b")
    assert (again.exit_code, again.stdout, again.stderr) == (
        1,
        "",
        "cargohold: there is a robot ci already\n",
    )
    assert prove(storage, secret) is not None


@pytest.mark.parametrize(
    ("words", "message"),
    [
        (["create", "ci"], "Missing option '--repository'"),
        (["create", "a b", "--repository", "a"], "'a b' is no name for a robot: write up to 128 letters"),
        (["create", "ci", "--repository", "A/*"], "'A/*' is no pattern of repositories: write segments"),
        (["create", "ci", "--repository", ""], "is no pattern of repositories"),
        (["create", "ci", "--repository", "a", "--permission", "pull,enter"], "with commas, not 'enter'"),
        (["create", "ci", "--repository", "a", "--permission", ""], "with commas, not ''"),
        (
            ["create", "ci", "--repository", "a", "--expires", "soon"],
            "must be never, or a number of seconds or a",
        ),
        (["create", "ci", "--repository", "a", "--expires", "0"], "from 1s to 36500d, not '0'"),
        (["create", "ci", "--repository", "a", "--expires", "-1d"], "from 1s to 36500d, not '-1d'"),
        (["revoke"], "Missing argument 'NAME'"),
        (["remove", "ci"], "No such command 'remove'"),
        (["list", "--set", "port=x"], "command line: port: must be a whole number"),
    ],
)
def test_misuse(tmp_path: Path, words: list[str], message: str) -> None:
    """What the command does not understand ends it with 2, says what to write, and makes nothing."""
    result = token(tmp_path, *words)
    assert (result.exit_code, result.stdout) == (2, "")
    assert message in " ".join(result.stderr.split())
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize("words", [["create", "ci", "--repository", "a"], ["list"], ["revoke", "ci"]])
def test_no_such_storage(tmp_path: Path, words: list[str]) -> None:
    """A directory that is not there, or where no server was ever started, is a slip of the hand: nothing is made."""
    (tmp_path / "empty").mkdir()
    for name in ("absent", "empty"):
        result = token(tmp_path / name, *words)
        assert (result.exit_code, result.stdout) == (1, "")
        assert result.stderr == (
            f"cargohold: no registry has its data in {tmp_path}/{name}: name the directory with --storage-path, or"
            " start the server there once\n"
        )
    assert sorted(tmp_path.rglob("*")) == [tmp_path / "empty"]


@pytest.mark.parametrize("words", [["create", "ci", "--repository", "a"], ["list"], ["revoke", "ci"]])
def test_damaged(tmp_path: Path, words: list[str]) -> None:
    """A damaged database ends the command with 1 and is left as it is."""
    (tmp_path / "cargohold").mkdir()
    database = tmp_path / "cargohold/state.db"
    database.write_bytes(b"x" * 9000)
    result = token(tmp_path, *words)
    assert (result.exit_code, result.stdout) == (1, "")
    assert re.match(
        r"cargohold: .*state\.db is damaged \(.+\): put a copy of it back, or stop", result.stderr
    )
    assert database.read_bytes() == b"x" * 9000


def test_root_acts_for_the_owner(storage: Path) -> None:
    """What root types makes files that the owner of the storage can use, and root is root again."""
    if os.geteuid() != 0:
        pytest.skip("only root can act for another user")
    owner = (65534, 65534)
    os.chown(storage / "cargohold", *owner)
    shared = Path(tempfile.gettempdir())
    for folder in (storage, *storage.parents):
        if shared in folder.parents:
            folder.chmod(0o755)
    create(storage, "ci", "--repository", "a")
    assert token(storage, "revoke", "ci").exit_code == 0
    made = list((storage / "cargohold").rglob("*"))
    assert storage / "cargohold/state.db" in made
    assert {(each.stat().st_uid, each.stat().st_gid) for each in made} == {owner}
    assert (os.geteuid(), os.getegid()) == (0, 0)


def test_installed_command(storage: Path) -> None:
    """The installed script, in two processes at once, with the storage that a variable names."""
    environ = {"REGISTRY_STORAGE_PATH": str(storage)}
    words = [SCRIPT, "token", "create"]
    processes = [
        subprocess.Popen(
            [*words, f"ci{number}", "--repository", "a"],
            env=CLEAN | environ,
            stdout=subprocess.PIPE,
            text=True,
        )
        for number in range(2)
    ]
    secrets = [process.communicate(timeout=60)[0] for process in processes]
    assert [bool(re.fullmatch(SECRET, secret)) for secret in secrets] == [True, True]
    assert [each["name"] for each in listed(storage)] == ["ci0", "ci1"]
    ran = run(SCRIPT, "token", "revoke", "ci1", environ=environ)
    assert (ran.returncode, ran.stdout, ran.stderr) == (0, "", "ci1 is revoked\n")
    assert run(SCRIPT, "token", "list", environ=environ).stdout.count("\n") == 2


def test_help() -> None:
    """The help names the three commands, and the options of each."""
    words = run(SCRIPT, "token", "--help").stdout
    for name in ("create", "list", "revoke"):
        assert re.search(rf"^  {name} +\S", words, re.MULTILINE)
    words = run(SCRIPT, "token", "create", "--help").stdout
    for option in (
        "--repository PATTERN",
        "--permission WORDS",
        "--expires TIME",
        "--storage-path PATH",
        "--config FILE",
    ):
        assert option in words
