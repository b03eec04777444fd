"""The page about users and keys says what is so: its commands, typed on a terminal, print what it shows."""

from __future__ import annotations

import re
import shlex
import subprocess
from contextlib import ExitStack, contextmanager
from pathlib import Path
from typing import TYPE_CHECKING

import httpx2
import pytest

from tests.cli.terminal import PASSWORD, PROMPTS, on_terminal
from tests.cli.test_command import CLEAN, SCRIPT, run, serving
from tests.config.test_pages import blocks
from tests.http.serving import WAIT_SECONDS, until

if TYPE_CHECKING:
    from collections.abc import Iterator

PAGE = (Path(__file__).parents[2] / "docs/users.md").read_text()
SERVE = ("--port", "0", "--set", "auth.htpasswd=users")
LOGIN = ("ann", PASSWORD)
SCOPE = "registry:catalog:*"


def alike(text: str) -> str:
    """A text with the keys' ids numbered in the order in which they come, and without times."""
    text = re.sub(r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\dZ", "TIME", text)
    ids = re.findall(r"^[A-Za-z0-9_-]{43}\b", text, re.MULTILINE)
    for number, kid in enumerate(dict.fromkeys(ids)):
        text = text.replace(kid, f"KEY-{number}")
    return "\n".join(line.rstrip() for line in text.splitlines())


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """What the page takes for granted: a password, and a file of users from elsewhere."""
    (tmp_path / "password").write_text(f"{PASSWORD}\n")
    (example,) = blocks(PAGE, "htpasswd")
    (tmp_path / "old").write_text(example)
    return tmp_path


@contextmanager
def served(folder: Path, *options: str) -> Iterator[httpx2.Client]:
    """The page's server, and somebody who asks it."""
    with serving(folder, *SERVE, *options) as line:
        (url,) = re.findall(r"serving on (http://[^,]+)", line)
        with httpx2.Client(base_url=url, timeout=WAIT_SECONDS) as client:
            yield client


def htpasswd(folder: Path, command: str) -> None:
    """A command of the page, with a hash that is soon made."""
    cost = "" if command.startswith("delete ") else " --cost 4"
    given = subprocess.run(
        [SCRIPT, "htpasswd", *shlex.split(command + cost)],
        cwd=folder,
        env=CLEAN,
        input=PASSWORD,
        capture_output=True,
        text=True,
        timeout=WAIT_SECONDS,
        check=False,
    )
    assert given.returncode == 0, given.stderr


class Given:
    """What ann's password is given: a token and a refresh token."""

    def __init__(self, client: httpx2.Client) -> None:
        self._client = client
        asked = {"scope": SCOPE, "offline_token": "true"}
        answer = client.get("/auth/token", params=asked, auth=LOGIN)
        assert answer.status_code == 200
        self._token, self._refresh = answer.json()["token"], answer.json()["refresh_token"]

    def statuses(self) -> tuple[int, int]:
        """What the token and the refresh token are answered."""
        headers = {"authorization": f"Bearer {self._token}"}
        form = {"grant_type": "refresh_token", "refresh_token": self._refresh, "scope": SCOPE}
        shown = self._client.get("/v2/_catalog", headers=headers).status_code
        return shown, self._client.post("/auth/token", data=form).status_code


def test_commands(folder: Path) -> None:
    """The page's commands, typed one after the other beside its server, print what it shows, but for ids and times."""
    environ = CLEAN | {"PATH": f"{Path(SCRIPT).parent}:{CLEAN['PATH']}"}
    expected, shown, serves = "", "", 0
    with ExitStack() as stack:
        for session in blocks(PAGE, "console"):
            command, _, output = session.removeprefix("$ ").partition("\n")
            if command.startswith("cargohold serve "):
                arguments = shlex.split(command)[2:]
                stack.enter_context(serving(folder, *arguments, REGISTRY_PORT="0"))
                serves += 1
            else:
                expected += f"$ {command}\n{output}"
                shown += f"$ {command}\n{on_terminal(command, folder, PROMPTS, environ)}"
    assert alike(shown) == alike(expected)
    assert (serves, shown.count("$ cargohold htpasswd "), shown.count("$ cargohold keys ")) == (1, 6, 4)


def test_every_command_is_on_the_page() -> None:
    """None of the commands that keep users and keys is left out."""
    for group in ("htpasswd", "keys"):
        listed = run(SCRIPT, group, "--help").stdout.partition("Commands:\n")[2]
        names = re.findall(r"^  (\w+) ", listed, re.MULTILINE)
        assert len(names) > 1
        assert [name for name in names if f"\n$ cargohold {group} {name}" not in PAGE] == []


def test_what_a_password_was_given_ends_with_it(folder: Path) -> None:
    """A new hash ends tokens and refresh tokens, and so does removal; the line that was there brings them back."""
    htpasswd(folder, "create users ann --stdin")
    with served(folder, "--workers", "1") as client:
        first = Given(client)
        assert first.statuses() == (200, 200)
        htpasswd(folder, "add users ann --stdin")
        until(lambda: first.statuses() == (401, 401))
        assert client.get("/v2/", auth=LOGIN).status_code == 200
        second, line = Given(client), (folder / "users").read_bytes()
        htpasswd(folder, "delete users ann")
        until(lambda: second.statuses() == (401, 401))
        assert client.get("/v2/", auth=LOGIN).status_code == 401
        assert (folder / "users").read_bytes() == b""
        assert client.get("/v2/").status_code == 401
        (folder / "users").write_bytes(line)
        until(lambda: second.statuses() == (200, 200))
        assert first.statuses() == (401, 401)


def test_refresh_tokens_outlive_rotation(folder: Path) -> None:
    """After a rotation at once a token from before is refused, and a refresh token still gives another."""
    htpasswd(folder, "create users ann --stdin")
    with served(folder) as client:
        given = Given(client)
        assert run(SCRIPT, "keys", "rotate", "--now", "--storage-path", f"{folder}/data").returncode == 0
        until(lambda: given.statuses() == (401, 200))


def test_a_damaged_key_is_replaced(folder: Path) -> None:
    """A rotation at once is the way out where a key is damaged, which the other commands refuse."""
    htpasswd(folder, "create users ann --stdin")
    with served(folder):
        (key,) = (folder / "data/cargohold/keys").glob("*.jwk")
    key.write_bytes(b"{")

    def ended(*command: str) -> int:
        return run(SCRIPT, "keys", *command, "--storage-path", f"{folder}/data").returncode

    assert (ended("list"), ended("rotate")) == (1, 1)
    assert (ended("rotate", "--now"), ended("list")) == (0, 0)
    with served(folder) as client:
        assert client.get("/v2/", auth=LOGIN).status_code == 200


@pytest.mark.parametrize("challenge", ["basic", "bearer"])
def test_both_are_taken(folder: Path, challenge: str) -> None:
    """Whichever is asked for, a password is taken and so is a token, and the token service answers."""
    htpasswd(folder, "create users ann --stdin")
    with served(folder, "--set", f"auth.challenge={challenge}") as client:
        asked = client.get("/v2/").headers["www-authenticate"]
        assert asked.lower().startswith(f"{challenge} ")
        assert client.get("/v2/", auth=LOGIN).status_code == 200
        assert Given(client).statuses() == (200, 200)


def test_lifetimes_are_those_of_the_page() -> None:
    """The defaults that the page tells are those of the settings."""
    settings = (Path(__file__).parents[2] / "docs/settings.md").read_text()
    for name, default, told in (
        ("auth.remember", "5m", "`auth.remember` (5 minutes;"),
        ("auth.token.lifetime", "5m", "| `auth.token.lifetime` | how long a token is valid: 5 minutes,"),
        ("auth.token.refresh_lifetime", "30d", "it has not been used for so long: 30 days,"),
    ):
        assert f"| `{name}`<br>" in settings
        assert re.search(rf"`{name}`<br>`\w+` \| `{default}` \|", settings)
        assert told in PAGE


def opened_to_the_group(root: Path) -> None:
    """Does to a volume what Kubernetes does for an `fsGroup`."""
    for path in [root, *root.rglob("*")]:
        path.chmod(path.stat().st_mode | (0o2770 if path.is_dir() else 0o660))


def test_a_volume_that_was_opened_to_a_group(folder: Path) -> None:
    """The server does not start with keys that were opened to a group, until the page's lines have been typed."""
    htpasswd(folder, "create users ann --stdin")
    with served(folder) as client:
        given = client.get("/auth/keys").json()
    opened_to_the_group(folder / "data")
    refused = subprocess.run(
        [SCRIPT, "serve", *SERVE],
        cwd=folder,
        env=CLEAN,
        capture_output=True,
        text=True,
        timeout=WAIT_SECONDS,
        check=False,
    )
    assert (refused.returncode, refused.stdout) == (1, "")
    assert "cargohold/keys may be written by others (mode 2770): run chmod 700 " in refused.stderr
    (lines,) = blocks(PAGE, "sh")
    on_terminal(lines, folder, {}, CLEAN)
    with served(folder) as client:
        assert client.get("/auth/keys").json() == given


def test_a_volume_that_was_opened_while_it_was_empty(folder: Path) -> None:
    """What a server makes in such a volume is not opened to the group, and leaves the volume's own mode as it is."""
    htpasswd(folder, "create users ann --stdin")
    root = folder / "data"
    root.mkdir()
    opened_to_the_group(root)
    mode = root.stat().st_mode
    for _ in range(2):
        with served(folder) as client:
            assert client.get("/v2/", auth=LOGIN).status_code == 200
    assert root.stat().st_mode == mode
    (key,) = (root / "cargohold/keys").glob("*.jwk")
    assert (key.stat().st_mode & 0o777, key.parent.stat().st_mode & 0o777) == (0o600, 0o700)
