"""The page about access tokens says what is so: its commands print what it shows."""

from __future__ import annotations

import re
import subprocess
from pathlib import Path

from tests.cli.test_command import CLEAN, SCRIPT, serving

PAGE = (Path(__file__).parents[2] / "docs/tokens.md").read_text()
COMMANDS = re.findall(r"^\$ (.+)\n((?:(?!\$ |```).*\n)*)", PAGE, re.MULTILINE)
CHANGING = [
    (r"chd_[A-Za-z0-9_-]{43}", "SECRET"),
    (r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\dZ", "TIME"),
]


def alike(text: str) -> str:
    for pattern, word in CHANGING:
        text = re.sub(pattern, word, text)
    return text


def test_commands(tmp_path: Path) -> None:
    """The commands of the page, typed where a server has run, print what it shows, but for secrets and times."""
    with serving(tmp_path, "--port", "0"):
        assert (tmp_path / "data").is_dir()
    environ = CLEAN | {"PATH": f"{Path(SCRIPT).parent}:{CLEAN['PATH']}"}
    typed = [(command, output) for command, output in COMMANDS if command.startswith("cargohold ")]
    assert len(typed) == 4
    for command, output in typed:
        ran = subprocess.run(
            ["sh", "-c", command],
            cwd=tmp_path,
            env=environ,
            capture_output=True,
            text=True,
            timeout=60,
            check=False,
        )
        assert (ran.returncode, alike(ran.stdout)) == (0, alike(output)), ran.stderr
    assert re.fullmatch(r"chd_[A-Za-z0-9_-]{43}\n", (tmp_path / "password").read_text())


def test_logins_are_those_of_the_login_page() -> None:
    """What else is typed there is docker's login, by the line of the page about logins but for the name."""
    (login,) = (command for command, _ in COMMANDS if not command.startswith("cargohold "))
    page = (Path(__file__).parents[2] / "docs/login.md").read_text()
    assert login.replace("--username robot", "--username ann") in page
