"""The program as one file, in a folder that is the whole file system to it and holds nothing else."""

from __future__ import annotations

import os
import re
import shutil
import signal
import ssl
import subprocess
import threading
from contextlib import AbstractContextManager, contextmanager
from pathlib import Path
from typing import TYPE_CHECKING

import httpx2
import pytest

from cargohold import __version__
from tests.certificates import Authority
from tests.docs.blocks import ROOT, blocks_of
from tests.docs.test_troubleshooting_page import is_told
from tests.e2e.clients.absence import require, require_root
from tests.e2e.clients.engine import clear
from tests.e2e.clients.images import make_image
from tests.e2e.clients.repository import Repository
from tests.e2e.test_tracing import Collector
from tests.http.serving import until

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

pytestmark = [pytest.mark.clients, pytest.mark.slow, pytest.mark.timeout(600)]

BUILD_SECONDS = 280
SECONDS = 60
MEGABYTE = 1_000_000
USER = 65532
LOGIN = ("ann", "correct horse battery")


class Room:
    """A folder that holds the program, the /proc that Linux gives to all, and one folder to write in."""

    def __init__(self, folder: Path, program: Path) -> None:
        self.root = folder
        self.data = folder / "data"
        shutil.copy(program, folder / "cargohold")
        self.data.mkdir()
        (folder / "proc").mkdir()
        os.chown(self.data, USER, USER)
        subprocess.run(["mount", "-t", "proc", "proc", folder / "proc"], check=True, timeout=SECONDS)

    def command(self, *arguments: str) -> list[str]:
        """The words that run the program there, as a user without rights."""
        return [require("chroot"), f"--userspec={USER}:{USER}", str(self.root), "/cargohold", *arguments]

    def run(self, *arguments: str, given: str = "") -> str:
        """Runs it to its end, which must be a good one; returns what it prints."""
        ended = subprocess.run(
            self.command(*arguments),
            env={"TMPDIR": "/data"},
            input=given,
            capture_output=True,
            text=True,
            timeout=SECONDS,
            check=False,
        )
        assert ended.returncode == 0, ended.stderr
        return ended.stdout

    def serving(self, *options: str) -> AbstractContextManager[Serving]:
        """It serves in there for the time of the block, as `serving` has it."""
        command = self.command("serve", "--port=0", "--storage-path=/data/registry", *options)
        return serving(command, self.root, {"TMPDIR": "/data"})


@contextmanager
def serving(command: list[str], folder: Path, environment: dict[str, str]) -> Iterator[Serving]:
    """A command serves for the time of the block; at SIGTERM to the process that it becomes it ends in peace."""
    with subprocess.Popen(
        command, cwd=folder, env=environment, stderr=subprocess.PIPE, stdin=subprocess.DEVNULL, text=True
    ) as process:
        found = Serving(process)
        try:
            yield found
            process.send_signal(signal.SIGTERM)
            code = process.wait(SECONDS)
        finally:
            found.end()
        assert code == 0, found.log
        assert "Traceback" not in found.log


class Serving:
    """A program that serves. Attributes: `url`; `log`, what it has written so far."""

    def __init__(self, process: subprocess.Popen[str]) -> None:
        self.process = process
        self.log = ""
        self._reader = threading.Thread(target=self._read)
        self._reader.start()
        found = until(lambda: re.search(r"serving on (\S+?),?\s", self.log) or process.poll() is not None)
        assert isinstance(found, re.Match), self.log
        self.url = found[1]

    def _read(self) -> None:
        assert self.process.stderr is not None
        for line in self.process.stderr:
            self.log += line

    def processes(self) -> list[int]:
        """All that it consists of, each before its children."""
        return list(descendants(self.process.pid))

    def end(self) -> None:
        """Kill what is left of it."""
        if self.process.poll() is None:
            for pid in self.processes():
                os.kill(pid, signal.SIGKILL)
            self.process.wait(SECONDS)
        self._reader.join(SECONDS)


def descendants(pid: int) -> Iterator[int]:
    yield pid
    for child in Path(f"/proc/{pid}/task/{pid}/children").read_text().split():
        yield from descendants(int(child))


@pytest.fixture(scope="module")
def program() -> Path:
    """What `make binary` makes."""
    require_root()
    ended = subprocess.run(
        ["make", "binary"], cwd=ROOT, capture_output=True, text=True, timeout=BUILD_SECONDS, check=False
    )
    assert ended.returncode == 0, ended.stdout + ended.stderr
    return ROOT / "dist/cargohold"


@pytest.fixture
def room(program: Path, tmp_path: Path) -> Iterator[Room]:
    folder = tmp_path / "room"
    folder.mkdir()
    tmp_path.chmod(0o755)
    yield Room(folder, program)
    clear(folder)


def test_it_is_small(program: Path, record_property: Callable[[str, object], None]) -> None:
    """It is less than 50 MB, and linked with nothing."""
    record_property("bytes", program.stat().st_size)
    assert program.stat().st_size < 50 * MEGABYTE
    headers = subprocess.run(
        [require("readelf"), "--program-headers", program],
        capture_output=True,
        text=True,
        check=True,
        timeout=SECONDS,
    )
    assert "INTERP" not in headers.stdout


def test_the_page(program: Path, tmp_path: Path) -> None:
    """What the page types makes the program and serves with all defaults."""
    make, serve = (
        block.text
        for block in blocks_of("install.md", "sh")
        if "binary" in block.text or "dist/" in block.text
    )
    assert make == "make binary\n"
    (tmp_path / "dist").symlink_to(program.parent)
    command = ["sh", "-c", f"exec {serve}"]
    with serving(command, tmp_path, {"PATH": os.environ["PATH"], "REGISTRY_PORT": "0"}) as found:
        assert httpx2.get(f"{found.url}/v2/").json() == {}
    assert (tmp_path / "data/docker").is_dir()


def test_commands(room: Room) -> None:
    """Commands do their work and leave nothing behind: users with bcrypt, keys, the versions of what is inside."""
    assert room.run("--version") == f"cargohold {__version__}\n"
    assert re.search(r'"granian":"\d', room.run("version", "--json"))
    room.run("htpasswd", "create", "--stdin", "/data/users", LOGIN[0], given=f"{LOGIN[1]}\n")
    room.run("htpasswd", "verify", "--stdin", "/data/users", LOGIN[0], given=f"{LOGIN[1]}\n")
    assert [path.name for path in room.data.iterdir()] == ["users"]


def test_it_serves_with_tls_and_a_login(room: Room, tmp_path: Path) -> None:
    """Images are pushed and pulled over TLS by who is logged in; the tokens of the registry are signed."""
    authority = Authority().write(tmp_path / "authority.pem")
    authority.issue().write(room.data / "certificate.pem", room.data / "key.pem")
    os.chown(room.data / "key.pem", USER, USER)
    room.run("htpasswd", "create", "--stdin", "/data/users", LOGIN[0], given=f"{LOGIN[1]}\n")
    layout = make_image(tmp_path / "layout", [{"file": b"content"}])
    settings = {
        "auth.htpasswd": "/data/users",
        "auth.challenge": "bearer",
        "tls.certificate": "/data/certificate.pem",
        "tls.key": "/data/key.pem",
    }
    with room.serving(*(f"--set={name}={value}" for name, value in settings.items())) as found:
        context = ssl.create_default_context(cafile=tmp_path / "authority.pem")
        with httpx2.Client(base_url=found.url, verify=context) as session:
            assert session.get("/v2/").status_code == 401
            asked = {"scope": "repository:team/app:pull,push"}
            token = session.get("/auth/token", params=asked, auth=LOGIN).json()["token"]
            session.headers["Authorization"] = f"Bearer {token}"
            repository = Repository(session, "team/app")
            repository.push(layout, "v1")
            assert repository.is_whole("v1")


def test_traces(room: Room) -> None:
    """What traces need is in the file, too."""
    with Collector() as collector:
        settings = {"tracing.endpoint": collector.url, "tracing.sample": 1}
        with room.serving(*(f"--set={name}={value}" for name, value in settings.items())) as found:
            assert httpx2.get(f"{found.url}/v2/").status_code == 200
    assert [span.name for span in collector.spans] == ["GET /v2/"]


def test_a_killed_worker_is_replaced(room: Room) -> None:
    """Of two workers that share the port a killed one is replaced, and the stop ends all that were ever started."""
    with room.serving("--workers=2") as found:
        *above, first, second = found.processes()
        os.kill(first, signal.SIGKILL)
        until(lambda: len(found.processes()) == len(above) + 2 and first not in found.processes())
        assert httpx2.get(f"{found.url}/v2/").status_code == 200
        everyone = {*found.processes(), second}
    assert not [pid for pid in everyone if Path(f"/proc/{pid}").exists()]
    assert [path.name for path in room.data.iterdir()] == ["registry"]


@pytest.mark.parametrize(
    ("options", "name"), [("size=20m", "."), ("size=50m", "."), ("noexec", "."), ("size=1m", "missing")]
)
def test_where_it_cannot_unpack(program: Path, tmp_path: Path, options: str, name: str) -> None:
    """Where there is no room, or nothing may be run, it says so in words that the page explains, and what it leaves."""
    folder = tmp_path / "room"
    folder.mkdir()
    subprocess.run(["mount", "-t", "tmpfs", "-o", options, "tmpfs", folder], check=True, timeout=SECONDS)
    try:
        ended = subprocess.run(
            [program, "--version"],
            env={"TMPDIR": str(folder / name)},
            capture_output=True,
            text=True,
            timeout=SECONDS,
            check=False,
        )
        left = [path.name for path in folder.iterdir()]
    finally:
        clear(folder)
    assert ended.returncode != 0
    assert is_told("When it does not start", ended.stderr), ended.stderr
    assert all(re.match(r"staticx-|_MEI", name) for name in left)


def test_nothing_is_written_elsewhere(room: Room) -> None:
    """Where nothing but its folder can be written, that is enough: it unpacks itself where TMPDIR says."""
    with room.serving() as found:
        unpacked = {path.name for path in room.data.iterdir()} - {"registry"}
        assert httpx2.get(f"{found.url}/v2/").status_code == 200
    assert unpacked
    assert {path.name for path in room.root.iterdir()} == {"cargohold", "data", "proc"}
    assert [path.name for path in room.data.iterdir()] == ["registry"]
