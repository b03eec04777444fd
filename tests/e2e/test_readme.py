"""What the README says to type does what it says.

Its lines are read out of it and given to a shell, unchanged but for those of "Install it", whose port and path are
replaced: 5001 by 0, for which the kernel picks a port, and /srv/registry by a folder of the test's own. Those of "Ask
for a login" are typed on a terminal, with such a port, too.

The images come from a server of ours that stands in for Docker's registry.
"""

from __future__ import annotations

import json
import os
import re
import signal
import socket
import subprocess
import sys
import time
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import TYPE_CHECKING

import httpx2
import pytest

from tests.cli.terminal import PROMPTS, on_terminal
from tests.cli.test_users_page import LOGIN
from tests.config.test_pages import README, blocks
from tests.docs.blocks import blocks_of
from tests.e2e.clients.absence import require, require_root, unavailable
from tests.e2e.clients.engine import clear, docker_engine
from tests.e2e.clients.mirror import mirrored, stock
from tests.e2e.clients.repository import Repository

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Mapping

    from tests.e2e.clients.images import Layout
    from tests.e2e.server import Server

pytestmark = [pytest.mark.clients, pytest.mark.slow]

SET_UP_SECONDS = 250
START_SECONDS = 20
PUSH_SECONDS = 120
STOP_SECONDS = 60
ADDRESS = ("127.0.0.1", 5000)


def line(pattern: str) -> str:
    """The one line of the README that begins so."""
    (found,) = re.findall(rf"^{pattern}.*$", README.read_text(), re.MULTILINE)
    assert isinstance(found, str)
    return found


def block(client: str) -> str:
    """The one block of lines that begins with a client's name."""
    (found,) = (each for each in blocks(README.read_text(), "sh") if each.startswith(f"{client} "))
    return found


def environment(**more: str) -> dict[str, str]:
    """This process's, without what would be taken for settings, or leads to the environment that the tests run in."""
    ours = ("REGISTRY_", "MAKE", "PYTHON", "VIRTUAL_ENV")
    return {name: value for name, value in os.environ.items() if not name.startswith(ours)} | more


def typed(lines: str, folder: Path, seconds: int, **more: str) -> str:
    """Runs lines in a shell that ends at the first that fails; returns their standard output."""
    ended = subprocess.run(
        ["sh", "-eu", "-c", lines],
        cwd=folder,
        env=environment(**more),
        capture_output=True,
        text=True,
        timeout=seconds,
        check=False,
    )
    assert ended.returncode == 0, f"{lines}\n{ended.stdout}\n{ended.stderr}"
    return ended.stdout


@contextmanager
def serving(command: str, folder: Path, seconds: int, **more: str) -> Iterator[str]:
    """Types a command that serves, and Control-C at the end; gives the URL that it says it serves on."""
    log = folder / "log"
    with log.open("wb") as output:
        shell = subprocess.Popen(
            ["sh", "-c", command],
            cwd=folder,
            env=environment(**more),
            stdin=subprocess.DEVNULL,
            stdout=output,
            stderr=subprocess.STDOUT,
            start_new_session=True,
        )
    try:
        yield _announced(shell, log, seconds)
    finally:
        _interrupt(shell)
    assert "Traceback" not in log.read_text()


def _announced(shell: subprocess.Popen[bytes], log: Path, seconds: int) -> str:
    deadline = time.monotonic() + seconds
    while time.monotonic() < deadline and shell.poll() is None:
        found = re.search(r"serving on (http://127\.0\.0\.1:\d+)", log.read_text())
        if found:
            return found[1]
        time.sleep(0.1)
    raise AssertionError(f"not served within {seconds} s: {log.read_text()}")


def _interrupt(shell: subprocess.Popen[bytes]) -> None:
    with suppress(ProcessLookupError):
        os.killpg(shell.pid, signal.SIGINT)
    try:
        shell.wait(STOP_SECONDS)
    finally:
        # What is still there of what it started is in its session; nothing else is.
        with suppress(ProcessLookupError):
            os.killpg(shell.pid, signal.SIGKILL)


@pytest.fixture(scope="module")
def archive(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """What is committed, as an archive."""
    file = tmp_path_factory.mktemp("archive") / "cargohold.tar"
    # Git refuses a checkout of another user's, such as a mounted one, unless it is told that it is safe.
    git = (require("git"), "-c", "safe.directory=*", "-C", str(README.parent))
    subprocess.run([*git, "archive", f"--output={file}", "HEAD"], check=True, timeout=60)
    return file


def unpacked(archive: Path, folder: Path) -> Path:
    folder.mkdir()
    subprocess.run(["tar", "--extract", f"--file={archive}", f"--directory={folder}"], check=True, timeout=60)
    return folder


@pytest.fixture(scope="module")
def made(archive: Path, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Path]:
    """`make serve` in a fresh checkout, whose folder this is."""
    with socket.socket() as probe:
        probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            probe.bind(ADDRESS)
        except OSError as error:
            unavailable(f"the README's port is taken: {error}")
    require("make")
    folder = unpacked(archive, tmp_path_factory.mktemp("made") / "cargohold")
    with serving(line("make serve"), folder, SET_UP_SECONDS) as url:
        assert url == "http://{}:{}".format(*ADDRESS)
        yield folder


@pytest.fixture(scope="module")
def outside(registry: Server, tmp_path_factory: pytest.TempPathFactory) -> tuple[Server, Layout]:
    """What stands for Docker's registry, and the image that is its busybox."""
    return registry, stock(registry.url, tmp_path_factory.mktemp("busybox"))


@pytest.fixture
def beside(
    outside: tuple[Server, Layout], tmp_path_factory: pytest.TempPathFactory
) -> Iterator[dict[str, str]]:
    """The environment in which podman and skopeo keep to a folder, and find Docker's registry with us."""
    home = tmp_path_factory.mktemp("home")  # its name must be short, for podman
    yield mirrored(home, outside[0].host)
    clear(home)


def check_pushed(made: Path, image: Layout) -> None:
    """The README's way to look shows busybox and nothing else, and its one layer is the image's; then removes it."""
    require("curl")
    shown = typed(block("curl"), made, 60)
    assert "".join(shown.split()) == '{"repositories":["busybox"]}{"name":"busybox","tags":["latest"]}'
    assert (made / "data/docker/registry/v2/repositories/busybox/_manifests/tags/latest").is_dir()
    with httpx2.Client(base_url="http://{}:{}".format(*ADDRESS)) as session:
        busybox = Repository(session, "busybox")
        assert busybox.is_whole("latest")
        stored = busybox.manifest("latest")
        config = json.loads(busybox.blob(stored.document["config"]["digest"]))
        original = json.loads(image.blob(json.loads(image.content)["config"]["digest"]))
        assert config["rootfs"]["diff_ids"] == original["rootfs"]["diff_ids"]
        assert session.delete(f"/v2/busybox/manifests/{stored.digest}").status_code == 202


def test_docker(made: Path, outside: tuple[Server, Layout], tmp_path_factory: pytest.TempPathFactory) -> None:
    """Docker's lines push an image."""
    server, image = outside
    with docker_engine(tmp_path_factory.mktemp("docker"), f"--registry-mirror={server.url}") as docker:
        typed(block("docker"), made, PUSH_SECONDS, **docker.environment)
        check_pushed(made, image)


def test_podman(made: Path, outside: tuple[Server, Layout], beside: Mapping[str, str]) -> None:
    """Podman's lines push an image."""
    require("podman")
    require_root()
    typed(block("podman"), made, PUSH_SECONDS, **beside)
    check_pushed(made, outside[1])


def test_skopeo(made: Path, outside: tuple[Server, Layout], beside: Mapping[str, str]) -> None:
    """Skopeo's line copies an image from another registry."""
    require("skopeo")
    typed(block("skopeo"), made, PUSH_SECONDS, **beside)
    check_pushed(made, outside[1])


def with_debian_python(folder: Path) -> dict[str, str]:
    """The environment of a user of Debian's own Python, with a home of the test's; what pip has loaded is kept."""
    python = require("/usr/bin/python3")
    able = "import ensurepip, sys; sys.exit(sys.version_info < (3, 11))"
    if subprocess.run([python, "-c", able], capture_output=True, check=False, timeout=60).returncode != 0:
        unavailable(f"{python} is older than 3.11, or has no venv")
    home = Path.home()
    return {
        "PATH": "/usr/sbin:/usr/bin:/sbin:/bin",
        "HOME": str(folder),
        "XDG_CACHE_HOME": os.environ.get("XDG_CACHE_HOME", f"{home}/.cache"),
        "XDG_CONFIG_HOME": os.environ.get("XDG_CONFIG_HOME", f"{home}/.config"),
    }


def with_uv(folder: Path) -> dict[str, str]:
    """The environment of a user of uv, whose folders are the test's."""
    subprocess.run([sys.executable, "-m", "venv", folder / "venv"], check=True, timeout=60)
    typed(f"{folder}/venv/bin/python -m pip install --quiet uv", folder, SET_UP_SECONDS)
    return {
        "PATH": f"{folder}/venv/bin:{folder}/tools/bin:{os.environ['PATH']}",
        "UV_TOOL_DIR": f"{folder}/tools",
        "UV_TOOL_BIN_DIR": f"{folder}/tools/bin",
        "UV_CACHE_DIR": f"{folder}/cache",
        "UV_PYTHON": sys.executable,
    }


ALONE, FOR_ALL = (each.text for each in blocks_of("install.md", "sh") if each.first.startswith("python3"))


@pytest.mark.parametrize(
    ("installer", "places"),
    [(ALONE, with_debian_python), (FOR_ALL, with_debian_python), ("uv tool install .", with_uv)],
    ids=["alone", "for all", "uv"],
)
def test_installed(
    archive: Path, tmp_path: Path, installer: str, places: Callable[[Path], dict[str, str]]
) -> None:
    """Each way to install gives the command, which serves as the README's three ways to set the same tell it."""
    assert installer in README.read_text() or installer == FOR_ALL
    source = unpacked(archive, tmp_path / "source")
    given = places(tmp_path)
    (tmp_path / "bin").mkdir()
    for folder in ("/opt/cargohold", "/usr/local/bin"):
        installer = installer.replace(folder, f"{tmp_path}/{Path(folder).name}")
    shown = typed(f'{installer}\necho "$PATH"', source, SET_UP_SECONDS, **given)
    given["PATH"] = f"{shown.splitlines()[-1]}:{tmp_path}/bin"
    assert typed("command -v cargohold", source, 10, **given).startswith(str(tmp_path))
    (example,) = blocks(README.read_text(), "yaml")
    (tmp_path / "registry.yaml").write_text(changed(example, tmp_path))
    by_file = re.findall(r"`(cargohold serve --config registry\.yaml)`", README.read_text())
    for command in (line("cargohold serve --host"), line("REGISTRY_HOST=.*cargohold serve"), *by_file):
        with serving(changed(command, tmp_path), tmp_path, START_SECONDS, **given) as url:
            answer = httpx2.get(f"{url}/v2/")
            assert (answer.status_code, answer.json()) == (200, {})
        assert (tmp_path / "registry/docker").is_dir()
        (tmp_path / "registry").rename(tmp_path / f"registry-{time.monotonic_ns()}")


def changed(example: str, folder: Path) -> str:
    """An example with a port of the kernel's choice and a storage of the test's own."""
    return example.replace("5001", "0").replace("/srv/registry", f"{folder}/registry")


def test_login(tmp_path_factory: pytest.TempPathFactory) -> None:
    """The lines that ask for a login make a user, serve to nobody else, and log docker in."""
    folder = tmp_path_factory.mktemp("login")
    create, serve, login = block("cargohold htpasswd").splitlines()
    path = f"{Path(sys.executable).parent}:{os.environ['PATH']}"
    on_terminal(create, folder, PROMPTS, environment(PATH=path))
    with serving(serve, folder, START_SECONDS, PATH=path, REGISTRY_PORT="0") as url:
        assert httpx2.get(f"{url}/v2/").status_code == 401
        assert httpx2.get(f"{url}/v2/", auth=LOGIN).status_code == 200
        typed_login = login.replace("localhost:5000", url.replace("http://127.0.0.1", "localhost"))
        answers = {"Username: ": LOGIN[0], **PROMPTS}
        with docker_engine(tmp_path_factory.mktemp("docker")) as docker:
            shown = on_terminal(typed_login, folder, answers, environment(**docker.environment))
            assert "Login Succeeded" in shown
            kept = Path(docker.environment["HOME"], ".docker/config.json").read_text()
            assert list(json.loads(kept)["auths"]) == [url.replace("http://127.0.0.1", "localhost")]


def test_open_to_everyone(tmp_path: Path) -> None:
    """What others can reach is not served without a login, and the README names the way to have it so."""
    command = [str(Path(sys.executable).parent / "cargohold"), "serve", "--host", "192.0.2.1", "--port", "0"]
    ended = subprocess.run(
        command,
        cwd=tmp_path,
        env=environment(),
        capture_output=True,
        text=True,
        timeout=START_SECONDS,
        check=False,
    )
    assert (ended.returncode, list(tmp_path.iterdir())) == (2, [])
    assert "auth.open_to_everyone to true" in ended.stderr
    assert "`auth.open_to_everyone=true`" in README.read_text()
