"""`cargohold completion`: shells complete the words of the command, by the scripts that it prints."""

from __future__ import annotations

import subprocess
from pathlib import Path

import pytest
from click.testing import CliRunner

from cargohold.cli.main import main
from tests.cli.test_command import CLEAN, SCRIPT
from tests.e2e.clients.absence import require

SECONDS = 60
# What each shell runs to complete the line in $1, as if it had been typed.
BASH = """
eval "$(cargohold completion bash)"
words="$1"; COMP_WORDS=($words); [[ "$words" == *" " ]] && COMP_WORDS+=("")
COMP_CWORD=$((${#COMP_WORDS[@]} - 1))
$(complete -p cargohold | sed 's/.*-F \\([^ ]*\\) .*/\\1/') cargohold
printf '%s\\n' "${COMPREPLY[@]}"
"""
FISH = """
cargohold completion fish | source
complete --do-complete $argv[1] | string split --fields 1 (printf '\\t')
"""
# zsh completes for nobody but a terminal: the answers of the functions that its script calls are printed instead.
ZSH = """
compdef() { handler=$1 }
compadd() { print -l -- $completions }
_describe() { print -l -- ${completions_with_descriptions%%:*} }
eval "$(cargohold completion zsh)"
words=(${(s: :)1}); [[ $1 == *" " ]] && words+=("")
CURRENT=$#words
$handler
"""
SHELLS = {
    "bash": ["bash", "--norc", "-c", BASH, "bash"],
    "fish": ["fish", "--no-config", "-c", FISH],
    "zsh": ["zsh", "-f", "-c", ZSH, "zsh"],
}


@pytest.fixture(params=list(SHELLS))
def shell(request: pytest.FixtureRequest) -> list[str]:
    name: str = request.param
    require(name)
    return SHELLS[name]


def completed(shell: list[str], line: str, home: Path) -> set[str]:
    environ = CLEAN | {"PATH": f"{Path(SCRIPT).parent}:{CLEAN['PATH']}", "HOME": str(home)}
    ran = subprocess.run(
        [*shell, line], capture_output=True, text=True, timeout=SECONDS, check=False, env=environ, cwd=home
    )
    assert ran.stderr == ""
    return set(ran.stdout.split())


@pytest.mark.parametrize(
    ("line", "words"),
    [
        ("cargohold ht", {"htpasswd"}),
        ("cargohold token ", {"create", "list", "revoke"}),
        ("cargohold completion ", {"bash", "fish", "zsh"}),
        ("cargohold rm --ma", {"--manifest"}),
        ("cargohold serve --set auth.htp", {"auth.htpasswd="}),
    ],
)
def test_completed(shell: list[str], tmp_path: Path, line: str, words: set[str]) -> None:
    """Commands, the commands of groups, choices, options and settings are completed in the shell itself."""
    assert completed(shell, line, tmp_path) == words


def test_without_the_shell(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    """The scripts are printed where the shells are not, such as in an image that has none."""
    monkeypatch.setenv("PATH", str(tmp_path))
    for name in SHELLS:
        result = CliRunner().invoke(main, ["completion", name])
        assert (result.exit_code, result.stderr) == (0, "")
        assert f"{name}_complete" in result.stdout


def test_other_shells() -> None:
    """A shell that is not known is a misuse, and those that are, are named."""
    result = CliRunner().invoke(main, ["completion", "csh"])
    assert (result.exit_code, result.stdout) == (2, "")
    assert "'bash', 'zsh', 'fish'" in result.stderr
