"""`cargohold access explain`: what it prints, and how it ends."""

from __future__ import annotations

import json
import subprocess
import sys
from typing import TYPE_CHECKING

import pytest
from click.testing import CliRunner

from cargohold.cli.main import main
from tests.cli.test_command import SCRIPT, run

if TYPE_CHECKING:
    from pathlib import Path

    from click.testing import Result

SETTINGS = """
auth:
  htpasswd: /etc/cargohold/htpasswd
  groups:
    developers: [ann, bob]
    testers: [ann]
  administrators: [root]
  rules:
    - {repository: team/**, groups: [developers], actions: [pull, push]}
    - {repository: public/**, users: [anonymous, "*"], actions: [pull]}
    - {users: [anonymous], actions: []}
    - {users: [bob], actions: [catalog]}
"""


@pytest.fixture
def file(tmp_path: Path) -> str:
    path = tmp_path / "registry.yaml"
    path.write_text(SETTINGS)
    return str(path)


def explain(*arguments: str) -> Result:
    return CliRunner(env={"REGISTRY_CONFIG": None}).invoke(main, ["access", "explain", *arguments])


@pytest.mark.parametrize(
    ("question", "code", "lines"),
    [
        (
            "ann push team/app",
            0,
            [
                "allowed: ann may push team/app",
                "why: rule 1 is the first that matches, and it allows pull, push",
                'rule 1: {"actions":["pull","push"],"repository":"team/**","groups":["developers"]}',
                "groups of ann: developers, testers",
            ],
        ),
        (
            "bob delete team/app",
            1,
            [
                "denied: bob may not delete team/app",
                "why: rule 1 is the first that matches, and it allows pull, push",
                'rule 1: {"actions":["pull","push"],"repository":"team/**","groups":["developers"]}',
                "groups of bob: developers",
            ],
        ),
        (
            "anonymous pull secret",
            1,
            [
                "denied: anonymous may not pull secret",
                "why: rule 3 is the first that matches, and it allows nothing",
                'rule 3: {"actions":[],"repository":"**","users":["anonymous"]}',
            ],
        ),
        (
            "bob catalog",
            0,
            [
                "allowed: bob may list the catalog",
                "why: rule 4 is the first that matches, and it allows catalog",
                'rule 4: {"actions":["catalog"],"repository":"**","users":["bob"]}',
                "groups of bob: developers",
            ],
        ),
        (
            "eve pull team/app",
            1,
            [
                "denied: eve may not pull team/app",
                "why: no rule matches, and where there are rules and no default nothing else is allowed",
                "groups of eve: none",
            ],
        ),
        (
            "root delete team/app",
            0,
            [
                "allowed: root may delete team/app",
                "why: administrators may do everything",
                "groups of root: none",
            ],
        ),
    ],
)
def test_explanation(question: str, code: int, lines: list[str], file: str) -> None:
    """It says whether, why, by which rule of the file, and in which groups the user is; 0 is allowed, 1 is denied."""
    result = explain(*question.split(), "--config", file)
    assert (result.exit_code, result.stdout.splitlines(), result.stderr) == (code, lines, "")


def test_json(file: str) -> None:
    """--json prints all of it as one object."""
    result = explain("ann", "delete", "team/app", "--json", "--config", file, "--set", "deletion=false")
    assert result.exit_code == 1
    assert json.loads(result.stdout) == {
        "user": "ann",
        "action": "delete",
        "repository": "team/app",
        "allowed": False,
        "reason": "rule 1 is the first that matches, and it allows pull, push",
        "rule": {
            "number": 1,
            "repository": "team/**",
            "users": [],
            "groups": ["developers"],
            "actions": ["pull", "push"],
        },
        "groups": ["developers", "testers"],
        "notes": ["deletion is false: nobody may delete"],
    }


def test_json_where_no_rule_decides(file: str) -> None:
    """What there is none of is null."""
    result = explain("root", "catalog", "--json", "--config", file)
    assert result.exit_code == 0
    explanation = json.loads(result.stdout)
    assert (explanation["repository"], explanation["rule"]) == (None, None)


@pytest.mark.parametrize("user", ["ann", "anonymous"])
@pytest.mark.parametrize("action", ["pull", "push", "delete", "catalog"])
def test_no_login(user: str, action: str) -> None:
    """Where no login is configured everyone may do everything, and it says that this is why."""
    result = explain(user, action, *([] if action == "catalog" else ["team/app"]))
    assert (result.exit_code, result.stdout.splitlines()[1]) == (
        0,
        "why: no login is configured: everyone may do everything",
    )


@pytest.mark.parametrize(
    ("action", "notes"),
    [
        ("pull", []),
        ("push", ["note: read_only is true: nobody may change the content"]),
        (
            "delete",
            [
                "note: read_only is true: nobody may change the content",
                "note: deletion is false: nobody may delete",
            ],
        ),
    ],
)
def test_what_else_stands_in_the_way(action: str, notes: list[str], file: str) -> None:
    """Settings that stop everybody are told of, beside what the rules decide."""
    result = explain(
        "root", action, "a", "--config", file, "--set", "read_only=true", "--set", "deletion=false"
    )
    assert result.exit_code == 0
    assert [line for line in result.stdout.splitlines() if line.startswith("note")] == notes


USERS = "ann:$2y$04$abcdefghijklmnopqrstuOJi2w5yMkG4T6U9EGWnkgrSKQmEvGyLy\nbob:{SHA}x\n"


def notes(user: str, file: str, users: Path) -> list[str]:
    """What is noted where the users are those of another file; a note changes nothing of the answer."""
    result = explain(user, "catalog", "--json", "--config", file, "--set", f"auth.htpasswd={users}")
    assert result.exit_code == (0 if user == "bob" else 1)
    found: list[str] = json.loads(result.stdout)["notes"]
    return found


def test_who_cannot_log_in(file: str, tmp_path: Path) -> None:
    """A name that the file of users lets nobody log in by is told of, though the rules decide as they do."""
    users = tmp_path / "users"
    users.write_text(USERS)
    for user in ("ann", "anonymous"):
        assert notes(user, file, users) == []
    for user in ("bob", "zoe"):
        assert notes(user, file, users) == [f"auth.htpasswd: nobody can log in as {user} by {users}"]


def test_file_of_users_that_says_nothing(file: str, tmp_path: Path) -> None:
    """One that is on another machine is passed over; one that cannot be used is told of, as it was not asked."""
    users = tmp_path / "users"
    assert notes("ann", file, users) == []
    users.write_text("ann\n")
    told = f"auth.htpasswd: {users} was not asked whether ann is a user: line 1: it has no colon"
    assert [note.startswith(told) for note in notes("ann", file, users)] == [True]
    assert notes("ann", file, tmp_path) == [
        f"auth.htpasswd: {tmp_path} was not asked whether ann is a user: Is a directory"
    ]


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["ann", "pull"], "write the repository that pull is asked for"),
        (["ann", "catalog", "a"], "the catalog is of the whole registry: leave out the repository"),
        (["ann", "read", "a"], "'read' is not one of 'pull', 'push', 'delete', 'catalog'"),
        (["ann", "pull", "Team/app"], "a repository name is made of components of lower-case letters"),
        (["ann", "pull", "app:latest"], "write it without host, tag and digest"),
        (["ann", "pull", "a" * 256], "a repository name has at most 255 characters"),
        (["", "pull", "a"], "no user can have this name: the name is empty"),
        (["a:b", "pull", "a"], "no user can have this name: a name holds no colon"),
        (["#ann", "pull", "a"], "no user can have this name: a name begins with no #"),
        (["*", "pull", "a"], "* stands for everyone who is logged in; write the name of one of them"),
        (["ann"], "Missing argument"),
        (["ann", "pull", "a", "--set", "auth"], "write SETTING=VALUE"),
        (["ann", "pull", "a", "--set", "auth.rulez=[]"], "command line: auth.rulez: is not a setting"),
        (["ann", "pull", "a", "--config", "absent.yaml"], "absent.yaml"),
        (
            ["ann", "pull", "a", "--set", 'auth.rules=[{"groups": ["teem"], "actions": ["pull"]}]'],
            "auth.rules: entry 1: auth.groups has no group 'teem'",
        ),
        (
            ["ann", "pull", "a", "--set", 'auth.administrators=["*"]'],
            "auth.administrators: * is no user's name",
        ),
    ],
)
def test_misuse(arguments: list[str], message: str) -> None:
    """A question or settings that cannot be understood end it with 2, and nothing is answered."""
    result = explain(*arguments)
    assert (result.exit_code, result.stdout) == (2, "")
    assert message in " ".join(result.stderr.split())


def test_the_installed_command(file: str) -> None:
    """The script answers as it does here, by the file that the environment names; the help says what codes mean."""
    ran = run(SCRIPT, "access", "explain", "eve", "push", "team/app", environ={"REGISTRY_CONFIG": file})
    assert (ran.returncode, ran.stderr) == (1, "")
    assert ran.stdout.startswith("denied: eve may not push team/app\n")
    words = " ".join(run(SCRIPT, "access", "explain", "--help").stdout.split())
    assert "Exit code: 0 where it is allowed, 1 where it is denied, 2 where" in words


def test_help_brings_in_little() -> None:
    """The help of the command starts neither the server's parts nor those of logins."""
    script = (
        "import sys; from cargohold.cli.main import main; main(['access', 'explain', '--help'], standalone_mode=False);"
        "print(sorted({'granian', 'joserfc', 'cargohold.app'} & set(sys.modules)))"
    )
    ran = subprocess.run(
        [sys.executable, "-c", script], capture_output=True, text=True, timeout=30, check=True
    )
    assert ran.stdout.splitlines()[-1] == "[]"
