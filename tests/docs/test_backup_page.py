"""A copy by the page's script, made while a registry is at work, and served after that."""

from __future__ import annotations

import json
import os
import resource
import subprocess
import threading
import time
from contextlib import contextmanager
from itertools import count
from typing import TYPE_CHECKING
from urllib.parse import quote

import httpx2
import pytest

from tests.cli.test_command import CLEAN, SCRIPT
from tests.docs.blocks import blocks_of
from tests.docs.session import Session
from tests.e2e.clients.absence import require, require_root
from tests.e2e.clients.guarded import PASSWORDS, make_htpasswd
from tests.e2e.dangling import faults
from tests.e2e.pushing import EMPTY, digest_of
from tests.http.serving import until
from tests.interop.peer import Peer

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from pathlib import Path

    from tests.e2e.conftest import Start
    from tests.e2e.server import Server

COPY, CHECK, RESTORE, LOOK = blocks_of("backup.md", "sh")
BEFORE = 20
SLOW_RSYNC = '#!/bin/sh\nsleep 1\nexec {rsync} "$@"\n'
COLLECTING = {
    "gc.schedule": "1s",
    "gc.grace": "5s",
    "gc.untagged": "true",
    "trash.keep": "0s",
    "gc.share": "1",
}
OTHER = 65532  # a user that is not root
TREE = "docker/registry/v2"
LAYER = 3 << 20


@pytest.fixture
def login(tmp_path: Path) -> dict[str, object]:
    """The settings by which a registry asks for a login."""
    file = tmp_path / "htpasswd"
    make_htpasswd(file, PASSWORDS)
    return {"auth.htpasswd": file, "auth.challenge": "bearer"}


@pytest.fixture
def session(tmp_path: Path) -> Iterator[Session]:
    """Somebody whose registry is in one folder and whose copies are in another."""
    for program in ("rsync", "sqlite3"):
        require(program)
    (tmp_path / "backup").mkdir()
    places = {"/srv": str(tmp_path), "/backup": f"{tmp_path}/backup"}
    with Session(tmp_path, replaced=places) as typist:
        yield typist


def ann(server: Server) -> Peer:
    """A user who may do everything."""
    return Peer(f"http://ann:{quote(PASSWORDS['ann'])}@{server.host}")


@contextmanager
def at_work(server: Server, doomed: list[bytes]) -> Iterator[None]:
    """Meanwhile images are pushed, a tag of each repository is moved to the newest, and others are deleted."""
    ended, pushed = threading.Event(), 0

    def push() -> None:
        nonlocal pushed
        with ann(server) as peer:
            for number in count():
                if ended.is_set():
                    return
                repository = ("before", "during")[number % 2]
                peer.push(repository, f"w{number}", "latest", text=f"{repository} {number}")
                peer.push(repository, "moving", text=f"{repository} moving {number}")
                if doomed:
                    peer.delete_manifest("deleted", doomed.pop())
                pushed += 1

    pusher = threading.Thread(target=push)
    pusher.start()
    try:
        yield
    finally:
        ended.set()
        pusher.join(60)
    assert pushed > 0


def robot(server: Server, name: str) -> str:
    """Makes a robot where a server keeps its data; its secret."""
    command = [SCRIPT, "token", "create", name, "--repository", "**", "--storage-path", str(server.storage)]
    made = subprocess.run(command, capture_output=True, text=True, check=True, timeout=60, env=CLEAN)
    return made.stdout.strip()


def check_whole(server: Server) -> None:
    """What was pushed before the copy is served, and so is what any tag leads to, but where images were deleted."""
    with ann(server) as peer:
        assert {"before"} <= set(peer.catalog()) <= {"before", "during", "deleted"}
        assert {"latest", *(f"v{number}" for number in range(BEFORE))} <= set(peer.tags("before") or [])
        for repository in {"before", "during"} & {*peer.catalog()}:
            for tag in peer.tags(repository) or []:
                content = peer.manifest(repository, tag)
                assert content is not None
                assert peer.blob(repository, digest_of(EMPTY)) == EMPTY
                for layer in json.loads(content)["layers"]:
                    assert peer.blob(repository, layer["digest"]) is not None


def test_restored_from_a_copy_under_load(
    start: Start, session: Session, login: dict[str, object], tmp_path: Path
) -> None:
    """A copy made during pushes, deletions and collections holds every image from before, and logins."""
    collecting = {**COLLECTING, "gc.grace": "10s"}
    server = start(login | collecting, storage=tmp_path / "registry")
    with ann(server) as peer:
        doomed = [peer.push("deleted", f"d{number}", text=f"deleted {number}") for number in range(50)]
        for number in range(BEFORE):
            peer.push("before", f"v{number}", "latest", text=f"before {number}")
    kept = robot(server, "kept")
    keys = httpx2.get(f"{server.url}/auth/keys", timeout=30).json()
    with at_work(server, doomed):
        session.type(COPY)
        time.sleep(1)  # copies are named by the second
        session.type(COPY)
        session.type(CHECK)
    assert len(list((tmp_path / "backup").glob("20*"))) == 2
    lost = robot(server, "lost")
    assert server.stop() == 0
    session.type(RESTORE)
    assert [fault for fault in faults(tmp_path / "registry") if "/deleted/" not in fault] == []
    restored = start(login, storage=tmp_path / "registry")
    check_whole(restored)
    assert httpx2.get(f"{restored.url}/auth/keys", timeout=30).json() == keys
    asked = f"{restored.url}/v2/before/tags/list"
    assert httpx2.get(asked, auth=("robot", kept), timeout=30).status_code == 200
    assert httpx2.get(asked, auth=("robot", lost), timeout=30).status_code == 401


def test_the_collector_waits_for_a_copy(start: Start, session: Session, tmp_path: Path) -> None:
    """What a tag led to when it was copied is in the copy, though the collector would take it as the tag moves."""
    (tmp_path / "slow").mkdir()
    (tmp_path / "slow/rsync").write_text(SLOW_RSYNC.format(rsync=require("rsync")))
    (tmp_path / "slow/rsync").chmod(0o755)
    session.environment["PATH"] = f"{tmp_path}/slow:{session.environment['PATH']}"
    copies = tmp_path / "backup"
    tag = "docker/registry/v2/repositories/app/_manifests/tags/latest/current/link"
    with Peer(start(COLLECTING, storage=tmp_path / "registry").url) as peer:
        old = peer.push("app", "latest", text="old")
        time.sleep(8)  # until nobody has asked for it in a while, and the collector would take it
        copying = threading.Thread(target=session.type, args=(COPY,))
        copying.start()
        until(lambda: bool(list(copies.glob(f"*/{tag}"))), seconds=60)
        peer.push("app", "latest", text="new")
        copying.join(120)
        assert not copying.is_alive()
        until(lambda: peer.manifest("app", digest_of(old)) is None, seconds=60)
    assert faults(copies / "last") == []
    assert (copies / "last" / tag).read_text() == digest_of(old)


def test_a_copy_that_is_looked_into(start: Start, session: Session, tmp_path: Path) -> None:
    """A copy is served beside the registry, as it was, and takes nothing."""
    with Peer(start(storage=tmp_path / "registry").url) as peer:
        content = peer.push("before", "latest", text="before")
        session.type(COPY)
        peer.push("before", "latest", text="after")
        session.replaced["5001"] = "0"
        session.type(LOOK)
        with Peer(f"http://127.0.0.1:{session.port}") as copy:
            assert copy.manifest("before", "latest") == content
            assert copy.http.post("/v2/before/blobs/uploads/").status_code == 405


def test_owners(start: Start, session: Session, login: dict[str, object], tmp_path: Path) -> None:
    """A copy that root makes, and what is restored from it, is its server's user's, whoever that is."""
    require_root()
    registry = tmp_path / "registry"
    server = start(login, storage=registry)
    with ann(server) as peer:
        peer.push("before", "latest", text="before")
    robot(server, "one")
    assert server.stop() == 0
    for path in (registry, *registry.rglob("*")):
        os.chown(path, OTHER, OTHER)
    session.type(COPY)
    session.type(RESTORE)
    assert (registry / "cargohold/state.db").stat().st_mode & 0o777 == 0o600
    assert {path.stat().st_uid for path in (registry, *registry.rglob("*"))} == {OTHER}


def ended(session: Session, *, largest: int = resource.RLIM_INFINITY) -> subprocess.CompletedProcess[str]:
    """The script as cron runs it, in a shell with no options of its own, that may write files of so many bytes."""
    text = COPY.text
    for old, new in session.replaced.items():
        text = text.replace(old, new)
    return subprocess.run(
        ["prlimit", f"--fsize={largest}", "sh", "-c", text],
        env=session.environment,
        capture_output=True,
        text=True,
        check=False,
        timeout=120,
    )


def held(root: Path) -> dict[str, bytes]:
    """All links and all content of a tree, also behind symbolic links, by their paths."""
    return {
        os.path.relpath(f"{folder}/{name}", root): (root / folder / name).read_bytes()
        for folder, _, names in os.walk(root / "docker", followlinks=True)
        for name in names
        if name in ("link", "data")
    }


def too_large(registry: Path) -> None:
    content = os.urandom(LAYER)
    digest = digest_of(content).partition(":")[2]
    data = registry / TREE / "blobs/sha256" / digest[:2] / digest / "data"
    data.parent.mkdir(parents=True)
    data.write_bytes(content)


def led_nowhere(registry: Path) -> None:
    (registry / TREE / "repositories/gone").symlink_to("/nowhere/at/all")


def led_in_a_circle(registry: Path) -> None:
    (registry / TREE / "repositories/circle").symlink_to(registry / "docker")


def damaged_logins(registry: Path) -> None:
    (registry / "cargohold/state.db").write_bytes(b"no database" * 1000)


@pytest.mark.parametrize(
    ("damage", "told"),
    [
        (too_large, "rsync"),
        (led_nowhere, "symbolic links that lead nowhere:\ndocker/registry/v2/repositories/gone\n"),
        (led_in_a_circle, "File system loop detected"),
        (damaged_logins, "not a database"),
    ],
)
def test_a_copy_that_fails(
    start: Start, session: Session, tmp_path: Path, damage: Callable[[Path], None], told: str
) -> None:
    """Whatever fails is told, the script ends with another code than 0, and `last` stays the copy before."""
    registry = tmp_path / "registry"
    with Peer(start(storage=registry).url) as peer:
        peer.push("app", "latest", text="app")
    first = ended(session)
    assert (first.returncode, first.stdout, first.stderr) == (0, "", "")
    last = (tmp_path / "backup/last").resolve(strict=True)
    damage(registry)
    time.sleep(1)  # copies are named by the second
    failed = ended(session, largest=LAYER - 1)
    assert failed.returncode != 0
    assert told in failed.stderr
    assert (tmp_path / "backup/last").resolve(strict=True) == last
    others = {path.suffix for path in (tmp_path / "backup").iterdir()} - {""}
    assert others == {".part"}
    assert faults(last) == []


@pytest.mark.parametrize("place", ["docker", f"{TREE}/blobs", f"{TREE}/repositories/team/app", "cargohold"])
def test_symbolic_links(start: Start, session: Session, tmp_path: Path, place: str) -> None:
    """What lies behind a symbolic link is in the copy as if it lay in the tree."""
    registry = tmp_path / "registry"
    server = start(storage=registry)
    with Peer(server.url) as peer:
        peer.push("team/app", "latest", text="app")
        peer.push("team/web", "latest", text="web")
    assert server.stop() == 0
    (registry / place).rename(tmp_path / "elsewhere")
    (registry / place).symlink_to(tmp_path / "elsewhere")
    assert ended(session).returncode == 0
    copy = tmp_path / "backup/last"
    assert held(copy) == held(registry)
    assert len(held(copy)) > 10
    assert not [path for path in copy.resolve().rglob("*") if path.is_symlink()]
    assert faults(copy) == []
