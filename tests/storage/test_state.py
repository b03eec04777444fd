"""What the processes of a registry share: acknowledged when it is kept, seen by all, and gone for all at once."""

from __future__ import annotations

import asyncio
import contextlib
import os
import random
import re
import signal
import sqlite3
import subprocess
import sys
import time
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from cargohold.storage import state as state_module
from cargohold.storage.database import DatabaseUnusable
from cargohold.storage.protocols import Conflict, Unavailable
from cargohold.storage.state import RefreshToken, Robot, State
from tests.http.serving import until

if TYPE_CHECKING:
    from collections.abc import Iterator

pytestmark = pytest.mark.usefixtures("loop")

_RIVAL = """
import asyncio, sys
from cargohold.storage.protocols import Conflict
from cargohold.storage.state import Robot, State

async def work(folder, me):
    state, won = State(folder), []
    for number in range(40):
        try:
            await state.add_robot(robot(f"same{number}", f"{me}-same{number}"))
            won.append(f"same{number}")
        except Conflict:
            pass
        await state.add_robot(robot(f"{me}-own{number}", f"{me}-own{number}"))
        if number % 2:
            assert await state.remove_robot(f"{me}-own{number}")
    state.close()
    print(" ".join(won))

def robot(name, identifier):
    return Robot(identifier, name, identifier.encode(), "[]", 1.0, 2e12)

sys.stdin.readline()
asyncio.run(work(*sys.argv[1:]))
"""

_VICTIM = """
import asyncio, itertools, sys
from cargohold.storage.state import Robot, State

async def work(folder, start):
    state = State(folder)
    for number in itertools.count(int(start)):
        name = f"robot{number}"
        await state.add_robot(Robot(name, name, name.encode(), "[]", 1.0, 2e12))
        print("made", name, flush=True)
        if number % 3 == 0:
            await state.remove_robot(name)
            print("gone", name, flush=True)

asyncio.run(work(*sys.argv[1:]))
"""


def robot(name: str, *, number: int = 0, expires: float = 2e12) -> Robot:
    identifier = f"{name}-{number}"
    return Robot(identifier, name, identifier.encode(), '[["**",["pull"]]]', 1e9, expires)


def refresh_token(number: int, *, key: str = "ann", expires: float = 2e12) -> RefreshToken:
    return RefreshToken(f"token{number}".encode(), "user", "ann", key, "stamp", 100.0, expires)


@pytest.fixture
def one(tmp_path: Path) -> Iterator[State]:
    state = State(str(tmp_path))
    yield state
    state.close()


@pytest.fixture
def other(tmp_path: Path) -> Iterator[State]:
    """As another process has it."""
    state = State(str(tmp_path))
    yield state
    state.close()


def remove_files(folder: Path, pattern: str) -> None:
    for file in folder.glob(pattern):
        file.unlink()


def names(state: State) -> list[str]:
    return [each.name for each in state.list_robots()]


async def test_nothing_yet(one: State, tmp_path: Path) -> None:
    """Before anything is written nothing is there: no robot, no token, no database."""
    one.open()
    assert one.list_robots() == []
    assert one.find_robot("a") is None
    assert one.find_robot_by_hash(b"a") is None
    assert one.find_refresh_token(b"a") is None
    assert not await one.remove_robot("a")
    assert os.listdir(tmp_path) == ["generation"]


async def test_robots_are_shared(one: State, other: State) -> None:
    """What one process adds others find, by each way; what one removes is gone for all."""
    ann, bob = robot("ann"), robot("bob", expires=float("inf"))
    await one.add_robot(bob)
    await other.add_robot(ann)
    for state in (one, other):
        assert state.list_robots() == [ann, bob]
        assert state.find_robot("bob-0") == state.find_robot_by_hash(b"bob-0") == bob
    assert await other.remove_robot("bob")
    assert not await one.remove_robot("bob")
    for state in (one, other):
        assert state.list_robots() == [ann]
        assert state.find_robot("bob-0") is None
        assert state.find_robot_by_hash(b"bob-0") is None


async def test_names_are_unique(one: State, other: State) -> None:
    """A name is one robot's until that is removed or has expired; the next one is another."""
    await one.add_robot(robot("ann", expires=1e9 + 1))
    with pytest.raises(Conflict, match="there is a robot ann already"):
        await other.add_robot(robot("ann", number=1))
    await other.remove_robot("ann")
    await other.add_robot(robot("ann", number=2, expires=1e9))
    await one.add_robot(robot("ann", number=3))
    assert [each.id for each in other.list_robots()] == ["ann-3"]


async def test_version(one: State, other: State) -> None:
    """The version is another after each change of a robot, in every process at once, and after nothing else."""
    seen = {other.version()}
    for number in range(20):
        await one.add_robot(robot("ann", number=number))
        seen.add(other.version())
        await one.remove_robot("ann")
        seen.add(other.version())
        assert one.version() == other.version()
    assert len(seen) == 41
    await one.add_robot(robot("ann"))
    before = other.version()
    await one.add_refresh_token(refresh_token(1), now=1.0, most=9)
    await one.extend_refresh_token(b"token1", 3e12)
    await one.remove_refresh_token(b"token1")
    assert not await one.remove_robot("bob")
    with pytest.raises(Conflict):
        await one.add_robot(robot("ann", number=1000))
    assert (one.version(), other.version()) == (before, before)


async def test_change_that_was_not_told(
    one: State, other: State, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A change by a process that was killed before it could tell is seen after a while."""
    monkeypatch.setattr(state_module, "_LOOK_SECONDS", 0.05)
    await one.add_robot(robot("ann"))
    before = other.version()
    with contextlib.closing(sqlite3.connect(tmp_path / "state.db", isolation_level=None)) as connection:
        connection.executescript("BEGIN; DELETE FROM robots; UPDATE revision SET number = random(); COMMIT")
    until(lambda: other.version() != before)
    assert other.list_robots() == []


async def test_database_made_anew(
    one: State, other: State, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """That everything was removed and made anew is seen too, whoever holds the old files open."""
    monkeypatch.setattr(state_module, "_LOOK_SECONDS", 0.05)
    await one.add_robot(robot("ann"))
    before = other.version()
    remove_files(tmp_path, "[gs]*")
    assert other.find_robot("ann-0") is None
    until(lambda: other.version() != before)
    await one.add_robot(robot("bob"))
    assert names(other) == ["bob"]
    until(lambda: other.version() == one.version())
    before = other.version()
    await one.add_robot(robot("cid"))
    assert other.version() != before


async def test_version_without_a_database(
    one: State, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    """Where the database cannot be read, the version stays and the log says so: other logins go on."""
    monkeypatch.setattr(state_module, "_LOOK_SECONDS", 0.0)
    await one.add_robot(robot("ann"))
    before = one.version()
    one.close()
    remove_files(tmp_path, "state.db*")
    (tmp_path / "state.db").write_bytes(b"x" * 9000)
    assert one.version() == before
    assert "state.db is damaged" in caplog.text
    with pytest.raises(DatabaseUnusable):
        one.find_robot("ann-0")
    with pytest.raises(Conflict, match=r"state\.db is damaged"):
        one.open()


async def test_change_that_cannot_be_told(
    one: State,
    other: State,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    caplog: pytest.LogCaptureFixture,
) -> None:
    """What is kept is kept, though no process can be told of it; they see it after a while."""
    monkeypatch.setattr(state_module, "_LOOK_SECONDS", 0.05)
    (tmp_path / "generation").mkdir()
    before = other.version()
    await one.add_robot(robot("ann"))
    assert "servers that run learn of this within" in caplog.text
    until(lambda: other.version() != before)
    assert names(other) == ["ann"]


async def test_refresh_tokens(one: State, other: State) -> None:
    """A refresh token is found by every process, ends later when it is extended, and is gone when removed."""
    await one.add_refresh_token(refresh_token(1, expires=50.0), now=1.0, most=9)
    assert other.find_refresh_token(b"token1") == refresh_token(1, expires=50.0)
    await other.extend_refresh_token(b"token1", 70.0)
    await other.extend_refresh_token(b"token1", 60.0)
    assert one.find_refresh_token(b"token1") == refresh_token(1, expires=70.0)
    await one.remove_refresh_token(b"token1")
    await one.extend_refresh_token(b"token1", 80.0)
    await one.remove_refresh_token(b"token1")
    assert other.find_refresh_token(b"token1") is None


async def test_refresh_tokens_are_bounded(one: State) -> None:
    """With each new one those that have expired go, and those of its subject that end first, but nobody else's."""
    await one.add_refresh_token(refresh_token(1, key="bob", expires=10.0), now=1.0, most=2)
    for number in range(2, 7):
        await one.add_refresh_token(refresh_token(number, expires=100.0 - number), now=5.0, most=2)
    left = [number for number in range(1, 7) if one.find_refresh_token(f"token{number}".encode())]
    assert left == [1, 2, 3]
    await one.add_refresh_token(refresh_token(7), now=10.0, most=9)
    assert one.find_refresh_token(b"token1") is None


async def test_refresh_tokens_go_with_their_robot(one: State) -> None:
    """A removed robot's refresh tokens are removed with it, and only its."""
    await one.add_robot(robot("ann"))
    for number, (kind, key) in enumerate([("robot", "ann-0"), ("robot", "bob-0"), ("user", "ann-0")]):
        token = RefreshToken(f"token{number}".encode(), kind, "ann", key, "", 100.0, 2e12)
        await one.add_refresh_token(token, now=1.0, most=9)
    await one.remove_robot("ann")
    assert [one.find_refresh_token(f"token{number}".encode()) is None for number in range(3)] == [
        True,
        False,
        False,
    ]


async def test_close(one: State) -> None:
    """What was closed is opened again by the next call, with all that was in it."""
    await one.add_robot(robot("ann"))
    version = one.version()
    one.close()
    assert names(one) == ["ann"]
    assert one.version() == version
    await one.add_robot(robot("bob"))
    assert names(one) == ["ann", "bob"]


async def test_cancelled(one: State) -> None:
    """A change whose caller is cancelled is made wholly or not at all, and told before the caller goes on."""
    for number in range(20):
        before = one.version()
        adding = asyncio.ensure_future(one.add_robot(robot("ann", number=number)))
        await asyncio.sleep(random.random() / 1000)
        adding.cancel()
        with contextlib.suppress(asyncio.CancelledError):
            await adding
        assert (one.version() != before) == (one.find_robot(f"ann-{number}") is not None)
        await one.remove_robot("ann")


async def test_backup(one: State, tmp_path: Path) -> None:
    """The copy that the documentation describes has all that was acknowledged, while servers are at work."""
    page = (Path(__file__).parents[2] / "docs/backup.md").read_text()
    (statement,) = re.findall(r"^ *sqlite3 cargohold/state\.db \"(.+)\"$", page, re.MULTILINE)
    await one.add_robot(robot("ann"))
    await one.add_refresh_token(refresh_token(1), now=1.0, most=9)
    backup = tmp_path / "backup"
    backup.mkdir()
    with contextlib.closing(sqlite3.connect(tmp_path / "state.db")) as connection:
        connection.execute(statement.replace("$to/cargohold", str(backup)))
    with contextlib.closing(State(str(backup))) as restored:
        restored.open()
        assert restored.list_robots() == [robot("ann")]
        assert restored.find_refresh_token(b"token1") == refresh_token(1)
        await restored.add_robot(robot("bob"))
        assert names(restored) == ["ann", "bob"]
    assert names(one) == ["ann"]


def test_without_folder(tmp_path: Path) -> None:
    """A folder that is missing is told at the opening."""
    state = State(str(tmp_path / "missing"))
    with pytest.raises(Unavailable, match="No such file"):
        state.open()


def test_processes_at_once(tmp_path: Path) -> None:
    """Of several who add one name at once one alone succeeds, and nothing of what each did is lost."""
    rivals = [
        subprocess.Popen(
            [sys.executable, "-c", _RIVAL, str(tmp_path), f"p{number}"],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            text=True,
        )
        for number in range(4)
    ]
    for rival in rivals:
        assert rival.stdin is not None
        rival.stdin.write("\n")
        rival.stdin.flush()
    won = [rival.communicate(timeout=120)[0].split() for rival in rivals]
    assert [rival.returncode for rival in rivals] == [0] * 4
    assert sorted(name for names in won for name in names) == sorted(f"same{number}" for number in range(40))
    state = State(str(tmp_path))
    owners = {each.name: each.id.partition("-")[0] for each in state.list_robots()}
    for number, names in enumerate(won):
        assert {owners.pop(name) for name in names} <= {f"p{number}"}
    assert sorted(owners) == sorted(f"p{who}-own{number}" for who in range(4) for number in range(0, 40, 2))
    state.close()


def test_killed(tmp_path: Path) -> None:
    """Whatever a process had acknowledged when it was killed is there, whole, and the next process goes on."""
    made: set[str] = set()
    gone: set[str] = set()
    for round_ in range(8):
        command = [sys.executable, "-c", _VICTIM, str(tmp_path), str(round_ * 100_000)]
        with subprocess.Popen(command, stdout=subprocess.PIPE, text=True) as victim:
            assert victim.stdout is not None
            victim.stdout.readline()
            made.add(f"robot{round_ * 100_000}")
            time.sleep(random.random() / 10)
            victim.send_signal(signal.SIGKILL)
            for line in victim.stdout:
                if line.endswith("\n"):
                    word, name = line.split()
                    (made if word == "made" else gone).add(name)
        state = State(str(tmp_path))
        found = {each.name for each in state.list_robots()}
        state.close()
        assert gone & found == set()
        # The last removal may have been done and not yet said.
        assert len((made - gone) - found) <= round_ + 1
        assert all(int(name.removeprefix("robot")) % 3 == 0 for name in (made - gone) - found)
    assert len(made) > 20
