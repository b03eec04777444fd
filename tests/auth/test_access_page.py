"""The page about rules says what is so: its commands print what it shows, its tables are what the code does."""

from __future__ import annotations

import base64
import re
import shlex
from pathlib import Path
from typing import TYPE_CHECKING

import bcrypt
import pytest
from click.testing import CliRunner

from cargohold.app.logins import rules_of
from cargohold.auth.identity import Identity, Kind
from cargohold.cli.main import main
from cargohold.config import load
from cargohold.http.router import route
from cargohold.types.names import RepositoryName
from cargohold.types.operations import Permission
from cargohold.types.patterns import compile_pattern
from tests.registry.documents import ABSENT
from tests.routes.caller import Registry

if TYPE_CHECKING:
    from collections.abc import Iterator

PAGE = (Path(__file__).parents[2] / "docs/access.md").read_text()

UPLOAD = "/v2/team/app/blobs/uploads/0a1b2c3d-0000-4000-8000-0123456789ab"


def sessions() -> Iterator[tuple[str, str, str]]:
    """Each command of the page with the settings that stand last before it, and with what it prints."""
    settings = ""
    for language, text in re.findall(r"^```(yaml|console)\n(.*?)^```$", PAGE, re.MULTILINE | re.DOTALL):
        if language == "yaml":
            settings = text
        else:
            command, _, output = text.partition("\n")
            yield settings, command.removeprefix("$ "), output


def section(title: str) -> str:
    (found,) = (part for part in re.split(r"^## ", PAGE, flags=re.MULTILINE) if part.startswith(f"{title}\n"))
    return found


def rows(title: str) -> list[list[str]]:
    """The cells of the one table under a title."""
    table = [line for line in section(title).splitlines() if line.startswith("|")]
    return [[cell.strip() for cell in line.strip("|").split("|")] for line in table[2:]]


def quoted(cell: str) -> list[str]:
    return re.findall(r"`([^`]*)`", cell)


@pytest.mark.parametrize(("settings", "command", "output"), list(sessions()))
def test_command(settings: str, command: str, output: str, tmp_path: Path) -> None:
    """Each command of the page prints what stands below it, and its exit code is that of its answer."""
    file = tmp_path / "registry.yaml"
    file.write_text(settings)
    program, *arguments = shlex.split(command)
    assert program == "cargohold"
    result = CliRunner(env={"REGISTRY_CONFIG": str(file)}).invoke(main, arguments)
    assert (result.stdout, result.stderr) == (output, "")
    assert result.exit_code == (0 if output.startswith("allowed: ") else 1)


def test_there_are_commands() -> None:
    """The page shows what is allowed and what is denied, several times each."""
    outputs = [output for _, _, output in sessions()]
    assert sum(output.startswith("allowed: ") for output in outputs) > 4
    assert sum(output.startswith("denied: ") for output in outputs) > 4


def test_patterns() -> None:
    """Each pattern of the table matches the names of its second column, and none of its third."""
    table = rows("Patterns of repositories")
    assert len(table) > 5
    for pattern, matching, others in table:
        matches = compile_pattern(*quoted(pattern))
        names = quoted(matching) + quoted(others)
        assert [name for name in names if matches(name)] == quoted(matching)


@pytest.mark.parametrize(
    ("method", "target", "action"),
    [
        *((method, "/v2/team/app/manifests/latest", "pull") for method in ("GET", "HEAD")),
        *((method, f"/v2/team/app/blobs/{ABSENT}", "pull") for method in ("GET", "HEAD")),
        ("GET", "/v2/team/app/tags/list", "pull"),
        ("GET", f"/v2/team/app/referrers/{ABSENT}", "pull"),
        ("PUT", "/v2/team/app/manifests/latest", "push"),
        ("POST", "/v2/team/app/blobs/uploads/", "push"),
        ("POST", f"/v2/team/app/blobs/uploads/?mount={ABSENT}&from=other", "push"),
        ("PUT", f"{UPLOAD}?digest={ABSENT}", "push"),
        *((method, UPLOAD, "push") for method in ("PATCH", "GET", "DELETE")),
        *(("DELETE", f"/v2/team/app/manifests/{reference}", "delete") for reference in ("latest", ABSENT)),
        ("DELETE", f"/v2/team/app/blobs/{ABSENT}", "delete"),
        ("GET", "/v2/_catalog", "catalog"),
    ],
)
def test_actions(method: str, target: str, action: str) -> None:
    """The table of actions has all that rules can give, and each request needs the one whose row has it."""
    allowed = {quoted(name)[0]: what for name, what in rows("Actions")}
    assert set(allowed) == {each.value for each in Permission} - {"enter", "metrics"}
    assert method in allowed[action]
    path, _, query = target.partition("?")
    (need,) = route(method, path, query).needs()
    assert need == (Permission(action), None if action == "catalog" else "team/app")


def test_a_catalog_shows_what_may_be_pulled(tmp_path: Path) -> None:
    """A rule for the catalog alone leaves the repositories to the others: their user sees in it what they let pull."""
    (settings,) = re.findall(r"^```yaml\n(.*?)^```$", section("The catalog"), re.MULTILINE | re.DOTALL)
    file = tmp_path / "registry.yaml"
    file.write_text(settings)
    rules = rules_of(load({"config": str(file)}, {}))
    bob, ann = (Identity(Kind.PASSWORD, name, rules.of(name)) for name in ("bob", "ann"))
    assert (bob.may(Permission.CATALOG), ann.may(Permission.CATALOG)) == (True, False)
    shown = bob.catalog_view()
    assert shown is not None
    assert shown(RepositoryName("team/app"))


def test_explanations_are_what_the_registry_answers(tmp_path: Path) -> None:
    """With the page's first example, each user is let through where the explanation allows, and nowhere else."""
    users = ["ann", "bob", "olga", "root", "eve"]
    passwords = tmp_path / "htpasswd"
    hashes = {user: bcrypt.hashpw(user.encode(), bcrypt.gensalt(4)).decode() for user in users}
    passwords.write_text("".join(f"{user}:{text}\n" for user, text in hashes.items()))
    file = tmp_path / "registry.yaml"
    file.write_text(next(sessions())[0])
    options = ["--config", str(file), "--set", f"auth.htpasswd={passwords}"]
    registry = Registry(
        load(
            {"config": str(file), "auth.htpasswd": str(passwords), "storage.path": str(tmp_path / "data")}, {}
        )
    )
    questions = [
        ((action, repository), method, f"/v2/{repository}/{rest}")
        for repository in ("secret/key", "team-a/app", "public/app", "public", "else")
        for action, method, rest in (
            ("pull", "GET", "tags/list"),
            ("push", "POST", "blobs/uploads/"),
            ("delete", "DELETE", f"manifests/{ABSENT}"),
        )
    ]
    wrong = []
    for user in [*users, "anonymous"]:
        login = {} if user == "anonymous" else {"authorization": basic(user)}
        for question, method, target in [*questions, (("catalog",), "GET", "/v2/_catalog")]:
            explained = CliRunner().invoke(main, ["access", "explain", user, *question, *options])
            refused = registry.ask(method, target, login).status in (401, 403)
            if explained.exit_code != int(refused):
                wrong.append((user, *question))
    assert wrong == []


def basic(user: str) -> str:
    """Who logs in by this name, which is the password too."""
    return "Basic " + base64.b64encode(f"{user}:{user}".encode()).decode()
