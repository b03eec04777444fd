"""The command as its user types it: the installed script, in a process of its own."""

from __future__ import annotations

import importlib.metadata
import json
import os
import platform
import re
import ssl
import subprocess
import sys
from contextlib import contextmanager
from typing import TYPE_CHECKING

import pytest
from click.testing import CliRunner

from cargohold import __version__
from cargohold.cli.main import main
from tests.http.serving import WAIT_SECONDS, until
from tests.http.wire import Wire

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

SCRIPT = os.path.join(os.path.dirname(sys.executable), "cargohold")
CLEAN = {name: value for name, value in os.environ.items() if not name.startswith("REGISTRY_")}


def run(*command: str, environ: dict[str, str] | None = None) -> subprocess.CompletedProcess[str]:
    env = CLEAN | (environ or {})
    return subprocess.run(command, capture_output=True, text=True, timeout=WAIT_SECONDS, check=False, env=env)


@contextmanager
def serving(directory: Path, *arguments: str, **environ: str) -> Iterator[str]:
    """A server that works in the directory, by the first message of its log; a SIGTERM must end it with 0."""
    errors = directory / "stderr"
    with errors.open("wb") as stderr:
        command = [SCRIPT, "serve", *arguments]
        process = subprocess.Popen(command, stderr=stderr, cwd=directory, env=CLEAN | environ)
    try:
        until(lambda: errors.read_text().endswith("\n") or process.poll() is not None)
        yield json.loads(errors.read_text().splitlines()[0])["message"]
        process.terminate()
        assert process.wait(WAIT_SECONDS) == 0
    finally:
        process.kill()
        process.wait(WAIT_SECONDS)


def status(address: str, target: str) -> int:
    with Wire(address) as wire:
        return wire.ask("GET", target).status


@pytest.mark.parametrize("arguments", [[], ["--help"], ["-h"]])
def test_help(arguments: list[str]) -> None:
    """With no command, as with --help, the command lists what it can do, on stdout, and succeeds."""
    ran = run(SCRIPT, *arguments)
    assert (ran.returncode, ran.stderr) == (0, "")
    assert re.search(r"^  serve +\S", ran.stdout, re.MULTILINE)
    assert re.search(r"^  version +\S", ran.stdout, re.MULTILINE)


def test_help_of_serve() -> None:
    """The help of serve has its options, each with what it means and its default."""
    ran = run(SCRIPT, "serve", "--help")
    assert (ran.returncode, ran.stderr) == (0, "")
    words = " ".join(ran.stdout.split())
    for option, default in [
        ("--host HOST", "127.0.0.1"),
        ("--port PORT", "5000"),
        ("--workers WORKERS", "2, or 1 on a single core"),
        ("--storage-path PATH", "./data"),
        ("--config FILE", "$REGISTRY_CONFIG"),
    ]:
        assert re.search(rf"{option} [A-Z][^\[]+\[default: {re.escape(default)}\]", words), option
    assert "--socket SOCKET Listen" in words
    assert "--set SETTING=VALUE Any" in words
    assert "`" not in words


@pytest.mark.parametrize(
    "command", [[SCRIPT, "version"], [SCRIPT, "--version"], [sys.executable, "-m", "cargohold", "version"]]
)
def test_version(command: list[str]) -> None:
    """The version is that of the installed package, however it is asked for."""
    ran = run(*command)
    assert (ran.returncode, ran.stdout, ran.stderr) == (0, f"cargohold {__version__}\n", "")
    assert importlib.metadata.version("cargohold") == __version__


def test_all_versions() -> None:
    """With --json the version comes with that of Python, of the platform and of the libraries that matter."""
    ran = run(SCRIPT, "version", "--json")
    assert (ran.returncode, ran.stderr) == (0, "")
    told = json.loads(ran.stdout)
    assert told["version"] == __version__
    assert told["python"].split() == [platform.python_implementation(), platform.python_version()]
    assert told["platform"] == platform.platform()
    assert told["libraries"].pop("openssl") == ssl.OPENSSL_VERSION
    assert {"granian", "cryptography", "msgspec"} <= told["libraries"].keys()
    assert told["libraries"] == {name: importlib.metadata.version(name) for name in told["libraries"]}


def test_module_names_the_command() -> None:
    """`python -m cargohold` speaks of itself as the command."""
    assert run(sys.executable, "-m", "cargohold").stdout.startswith("Usage: cargohold [OPTIONS]")


def test_refused_settings(tmp_path: Path) -> None:
    """Settings that cannot be used end the command with 2, and a line for each problem."""
    file = tmp_path / "registry.toml"
    file.write_text("port = 'x'")
    data = tmp_path / "data"
    arguments = [
        "--config",
        str(file),
        "--port",
        "70000",
        "--storage-path",
        str(data),
        "--set",
        "lists.page=1",
    ]
    ran = run(SCRIPT, "serve", *arguments, environ={"REGISTRY_WORKERS": "0"})
    assert (ran.returncode, ran.stdout) == (2, "")
    assert ran.stderr.splitlines() == [
        f"{file}:1:1: port: must be a whole number from 0 to 65535, not 'x'",
        "REGISTRY_WORKERS: must be a whole number from 1 to 64, not '0'",
        "command line: lists.page: is not a setting; did you mean lists.max_page?",
        "command line: port: must be a whole number from 0 to 65535, not '70000'",
    ]
    assert not data.exists()


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["serve", "--set", "port"], "write SETTING=VALUE, such as manifests.allow_sparse=true, not 'port'"),
        (["serve", "--prot", "1"], "No such option '--prot'. (Did you mean"),
        (["serve", "--port", "x"], "command line: port: must be a whole number from 0 to 65535, not 'x'"),
        (["serve", "--config", "x.ini"], "x.ini: must end in .yaml, .yml, .toml, .json"),
        (["serve", "extra"], "Got unexpected extra argument (extra)"),
        (["server"], "No such command 'server'"),
    ],
)
def test_misuse(arguments: list[str], message: str) -> None:
    """What the command does not understand ends it with 2 and says what it was."""
    result = CliRunner().invoke(main, arguments)
    assert result.exit_code == 2
    assert message in result.stderr


def test_storage_that_cannot_be_used(tmp_path: Path) -> None:
    """The exit code is the server's: 1 where it cannot start."""
    file = tmp_path / "file"
    file.write_text("")
    result = CliRunner(env=dict.fromkeys(os.environ.keys() - CLEAN.keys())).invoke(
        main,
        ["serve", "--port", "0", "--storage-path", str(file)],
    )
    assert result.exit_code == 1
    assert file.read_text() == ""


def test_what_others_can_reach_needs_a_login(tmp_path: Path) -> None:
    """Beyond loopback, without a login, nothing is served, and nothing is made on the disk; the message says why."""
    data = tmp_path / "data"
    ran = run(SCRIPT, "serve", "--host", "192.0.2.1", "--storage-path", str(data))
    assert (ran.returncode, ran.stdout) == (2, "")
    assert ran.stderr.startswith(
        "command line: host: 192.0.2.1 can be reached from other machines, and no login is configured"
    )
    assert "auth.open_to_everyone" in ran.stderr
    assert not data.exists()


def test_a_login_without_tls_is_warned_of(tmp_path: Path) -> None:
    """The log says so at the start, for an address that is not known to be this machine's alone."""
    loopback = "0x7f000001"  # which the system takes for 127.0.0.1, and the settings for a name
    arguments = ["--host", loopback, "--port", "0", "--set", "auth.required=true"]
    with serving(tmp_path, *arguments) as first:
        assert first.startswith("passwords and tokens cross the network in the clear")
        assert '"level":"WARNING"' in (tmp_path / "stderr").read_text()
        until(lambda: " serving on http://127.0.0.1:" in (tmp_path / "stderr").read_text())


def test_serve_by_options(tmp_path: Path) -> None:
    """The options of the command set the server, and win over variables and the file; the others stand."""
    (tmp_path / "registry.yaml").write_text("workers: 3\nport: 1\nprefix: /file\ndeletion: false\n")
    (tmp_path / "store").mkdir()
    options = ["--host", "127.0.0.1", "--port", "0", "--workers", "1", "--storage-path", "store"]
    arguments = [*options, "--config", "registry.yaml", "--set", "prefix=/a", "--set", "prefix=/b"]
    with serving(
        tmp_path, *arguments, REGISTRY_WORKERS="2", REGISTRY_PREFIX="/c", REGISTRY_READ_ONLY="true"
    ) as line:
        match = re.fullmatch(
            r"cargohold \S+ serving on (http://127\.0\.0\.1:\d+)/b, storage store, 1 worker", line
        )
        assert match is not None, line
        assert (status(match[1], "/b/v2/"), status(match[1], "/v2/")) == (200, 404)
        with Wire(match[1]) as wire:
            assert wire.ask("POST", "/b/v2/a/blobs/uploads/", "Content-Length: 0").status == 405
        assert (tmp_path / "store/docker/registry/v2").is_dir()


def test_serve_by_environment(tmp_path: Path) -> None:
    """The same by variables alone, with the file that one of them names."""
    (tmp_path / "registry.json").write_text('{"host": "::1", "workers": 1, "storage": {"path": "elsewhere"}}')
    environ = {"REGISTRY_PORT": "0", "REGISTRY_STORAGE_PATH": "store", "REGISTRY_WORKERS": "2"}
    with serving(tmp_path, REGISTRY_CONFIG="registry.json", **environ) as line:
        match = re.fullmatch(r"cargohold \S+ serving on (http://\[::1\]:\d+), storage store, 2 workers", line)
        assert match is not None, line
        assert status(match[1], "/v2/") == 200
        assert not (tmp_path / "elsewhere").exists()


def test_serve_on_a_socket(tmp_path: Path) -> None:
    """--socket listens on a Unix socket."""
    with serving(tmp_path, "--socket", "registry.sock") as line:
        assert "registry.sock, storage ./data, " in line
        assert status(f"unix:{tmp_path}/registry.sock", "/v2/") == 200
        assert (tmp_path / "data").is_dir()
