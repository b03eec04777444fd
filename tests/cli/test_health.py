"""`cargohold health`: what containers and supervisors ask whether a server takes requests."""

from __future__ import annotations

import socket
from typing import TYPE_CHECKING

import pytest

from tests.certificates import CLIENT, Authority
from tests.cli.asking import ask, done, refused
from tests.cli.hostile import Reply
from tests.cli.test_command import serving

if TYPE_CHECKING:
    from pathlib import Path

    from tests.cli.conftest import Play
    from tests.e2e.conftest import Start
    from tests.e2e.server import Server


def port(server: Server) -> str:
    return server.host.rpartition(":")[2]


def test_ready(open_registry: Server, tmp_path: Path) -> None:
    """A server that takes requests is ready: asked by its URL, or by the settings that it has."""
    assert done(tmp_path, "health", open_registry.url) == "ready\n"
    assert done(tmp_path, "health", f"{open_registry.url}/") == "ready\n"
    assert done(tmp_path, "health", "--port", port(open_registry)) == "ready\n"
    assert done(tmp_path, "health", REGISTRY_PORT=port(open_registry)) == "ready\n"
    file = tmp_path / "registry.yaml"
    file.write_text(f"port: {port(open_registry)}\n")
    assert done(tmp_path, "health", "--config", file) == "ready\n"


@pytest.mark.parametrize("host", ["0.0.0.0", "127.0.0.1"])
def test_every_address(open_registry: Server, tmp_path: Path, host: str) -> None:
    """A server that listens on every address is asked on this machine's own."""
    everyone = ("--set", "auth.open_to_everyone=true")
    assert done(tmp_path, "health", "--host", host, "--port", port(open_registry), *everyone) == "ready\n"


def test_ipv6(tmp_path: Path) -> None:
    """An IPv6 address is one, too."""
    with serving(tmp_path, "--host", "::1", "--port", "0") as line:
        found = line.partition("http://[::1]:")[2].partition(",")[0]
        for host in ("::1", "::"):
            words = ("--host", host, "--port", found, "--set", "auth.open_to_everyone=true")
            assert done(tmp_path, "health", *words) == "ready\n"


def test_socket(tmp_path: Path) -> None:
    """A server on a Unix socket is asked there, below its prefix."""
    with serving(tmp_path, "--socket", "registry.sock", "--set", "prefix=/hold"):
        words = ("--socket", tmp_path / "registry.sock")
        assert done(tmp_path, "health", *words, "--set", "prefix=/hold") == "ready\n"
        assert refused(tmp_path, "health", *words).endswith('no such endpoint"}]}')
    assert "registry.sock: [Errno " in refused(tmp_path, "health", *words)


def test_tls(start: Start, tmp_path: Path) -> None:
    """A server with TLS is asked by TLS, whoever signed its certificate, and shown one where it asks for it."""
    authority = Authority().write(tmp_path / "ca")
    authority.issue().write(tmp_path / "certificate", tmp_path / "key")
    authority.issue("ann", usage=CLIENT).write(tmp_path / "client", tmp_path / "client-key")
    settings = {f"tls.{name}": tmp_path / name for name in ("certificate", "key")}
    server = start({**settings, "tls.client_ca": tmp_path / "ca", "prefix": "/hold", "workers": 1})
    options = [word for name, value in settings.items() for word in ("--set", f"{name}={value}")]
    known = ("--certificate", tmp_path / "client", "--key", tmp_path / "client-key")
    assert done(tmp_path, "health", server.url, *known) == "ready\n"
    by_settings = ("health", "--port", port(server), "--set", "prefix=/hold", *options)
    assert done(tmp_path, *by_settings, *known) == "ready\n"
    refused(tmp_path, *by_settings)
    assert "cannot be used as a client certificate" in refused(
        tmp_path, *by_settings, "--certificate", tmp_path / "no"
    )


@pytest.mark.parametrize(
    ("body", "words"),
    [
        (
            b'{"status":"unavailable","reason":"the server is stopping"}',
            "unavailable: the server is stopping",
        ),
        (b'{"errors":[{"code":"X","message":"y"}]}', '{"errors":[{"code":"X","message":"y"}]}'),
        (b"<h1>\x1b[2J\xff", "<h1>\\x1b[2J\ufffd"),
        (b"", "nothing more"),
        (b'{"reason":"\xff"}', '{"reason":"\ufffd"}'),
    ],
)
def test_not_ready(play: Play, tmp_path: Path, body: bytes, words: str) -> None:
    """What is not 200 ends the command with 1, and the server's reason."""
    server = play(lambda _: Reply(503, {}, body))
    url = f"http://{server.host}"
    assert refused(tmp_path, "health", url) == f"{url} answers 503: {words}"
    assert [each.target for each in server.asked] == ["/health/ready"]


def test_no_server(tmp_path: Path) -> None:
    """What does not answer, or not in time, or not by HTTP, is not ready."""
    with socket.create_server(("127.0.0.1", 0)) as silent:
        url = f"http://127.0.0.1:{silent.getsockname()[1]}"
        assert refused(tmp_path, "health", url, "--timeout", "0.1") == f"{url}: timed out"
        assert refused(tmp_path, "health", url.replace("http", "https"), "--timeout", "0.1").endswith(
            "timed out"
        )
    assert "Connection refused" in refused(tmp_path, "health", url)


def test_slow_server(play: Play, tmp_path: Path) -> None:
    """What sends a line of its answer now and then, but not all of it in time, is not ready."""
    server = play(lambda _: Reply(200, dict.fromkeys(map(str, range(99)), "x"), pause=0.1))
    url = f"http://{server.host}"
    assert refused(tmp_path, "health", url, "--timeout", "0.5") == f"{url}: timed out"


@pytest.mark.parametrize("host", ["a" * 64, "a..b"])
def test_no_host(tmp_path: Path, host: str) -> None:
    """What can be no host's name is said to be none."""
    assert refused(tmp_path, "health", f"http://{host}") == f"http://{host}: this can be no URL"


@pytest.mark.parametrize(
    ("words", "message"),
    [
        (["127.0.0.1:5000"], "write the URL of a server, such as http://127.0.0.1:5000"),
        (["ftp://127.0.0.1"], "write the URL of a server"),
        (["http://127.0.0.1:x"], "write the URL of a server"),
        (["http://ann:s3cret@127.0.0.1"], "the URL of a server holds no login"),
        (["--port", "0"], "the settings let the system pick the port: write the URL of the server"),
        (["--port", "x"], "command line: port: must be a whole number"),
        (["https://127.0.0.1:1", "--key", "x"], "--key is the key of a --certificate"),
    ],
)
def test_misuse(tmp_path: Path, words: list[str], message: str) -> None:
    """What cannot be asked ends the command with 2, and no secret is repeated."""
    result = ask(tmp_path, "health", *words)
    assert (result.exit_code, result.stdout) == (2, "")
    assert message in result.stderr
    assert "s3cret" not in result.output
