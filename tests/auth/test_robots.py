"""Robots: a secret proves one and gives what it was made with, until it is revoked or has expired, everywhere."""

from __future__ import annotations

import asyncio
import contextlib
import logging
import re
import sqlite3
import time
from typing import TYPE_CHECKING, TypeVar

import pytest

from cargohold.auth.grants import Grant, Grants
from cargohold.auth.protocols import Subject, Unproved
from cargohold.auth.robots import Robots
from cargohold.storage.protocols import Conflict
from cargohold.storage.state import State
from cargohold.types.names import RepositoryName
from cargohold.types.operations import Permission

if TYPE_CHECKING:
    from collections.abc import Coroutine, Iterator
    from pathlib import Path

    from cargohold.auth.protocols import Proved

T = TypeVar("T")

GRANTS = Grants((Grant("org/*", frozenset({Permission.PULL, Permission.PUSH})),))
APP = RepositoryName("org/app")


def do(work: Coroutine[object, object, T]) -> T:
    return asyncio.run(work)


@pytest.fixture
def one(tmp_path: Path) -> Iterator[Robots]:
    with contextlib.closing(State(str(tmp_path))) as state:
        yield Robots(state)


@pytest.fixture
def other(tmp_path: Path) -> Iterator[Robots]:
    """As another process has them."""
    with contextlib.closing(State(str(tmp_path))) as state:
        yield Robots(state)


def prove(robots: Robots, secret: str, name: str = "robot") -> Proved | None:
    """None where the secret does not hold."""
    try:
        return do(robots.prove(name, secret))
    except Unproved:
        return None


def test_a_secret_that_does_not_hold_is_no_other_password(one: Robots) -> None:
    """What has the form of a secret is refused for good; what has not may be the password of somebody else."""
    with pytest.raises(Unproved):
        do(one.prove("ann", f"chd_{'x' * 43}"))
    for password in (f"chd_{'x' * 42}", f"chd_{'x' * 44}", f"chd_{'!' * 43}", "chd_", "x" * 47):
        assert do(one.prove("ann", password)) is None


def test_proved_by_its_secret(one: Robots, other: Robots) -> None:
    """The secret tells whose it is, in every process, with any user name; it gives the grants and the end."""
    expires = time.time() + 100
    secret = do(one.create("ci", GRANTS, expires))
    for name in ("ci", "x", "someone else"):
        proved = prove(other, secret, name)
        assert proved is not None
        assert (proved.subject.kind, proved.subject.name) == ("robot", "ci")
        assert proved.until == expires
        assert proved.authority == other.authority(proved.subject) == GRANTS
        assert other.known(proved.subject) == proved
        assert proved.authority.allows(Permission.PUSH, APP)
        assert not proved.authority.allows(Permission.DELETE, APP)


def test_form_of_secrets(one: Robots) -> None:
    """A secret is `chd_` and 256 random bits in Base64 of URLs; no two are alike."""
    secrets = {do(one.create(f"ci{number}", GRANTS)) for number in range(20)}
    assert len(secrets) == 20
    assert all(re.fullmatch(r"chd_[A-Za-z0-9_-]{43}", secret) for secret in secrets)


def test_wrong_secrets(one: Robots) -> None:
    """Nothing but the very secret proves a robot; whatever else it looks like is no password of a robot."""
    secret = do(one.create("ci", GRANTS))
    cut = [secret[:length] for length in range(len(secret))]
    longer = [secret + more for more in ("A", "\n", "\0", "=", secret, secret * 100_000)]
    other = [secret[:-1] + last for last in "AB01-_" if last != secret[-1]]
    forms = [secret.swapcase(), secret[4:], f"chrt_{secret[4:]}", f" {secret}"]
    strange = [f"chd_{'A' * 43}", f"chd_{'é' * 43}", "chd_' OR '1'='1' --".ljust(47, "-"), "\udcff" * 47]
    for wrong in (*cut, *longer, *other, *forms, *strange):
        assert prove(one, wrong) is None
    assert prove(one, secret) is not None


def test_empty_user_name(one: Robots) -> None:
    """A secret without any user name is no login."""
    assert prove(one, do(one.create("ci", GRANTS)), "") is None


def test_hash_is_no_secret(one: Robots, tmp_path: Path) -> None:
    """What is kept does not log in: no file has the secret, and its hash is not taken for it."""
    secret = do(one.create("ci", GRANTS))
    kept = b"".join(file.read_bytes() for file in tmp_path.iterdir() if file.is_file())
    assert b"ci" in kept
    assert secret.encode() not in kept
    assert secret[4:].encode() not in kept
    with contextlib.closing(sqlite3.connect(tmp_path / "state.db")) as connection:
        ((hashed,),) = connection.execute("SELECT hash FROM robots").fetchall()
    assert len(hashed) == 32
    assert prove(one, f"chd_{hashed.hex()}"[:47]) is None


def test_secret_is_told_to_nobody(one: Robots, caplog: pytest.LogCaptureFixture) -> None:
    """Neither a list, nor a log, nor an error holds a secret."""
    caplog.set_level(logging.DEBUG)
    secret = do(one.create("ci", GRANTS))
    with pytest.raises(Conflict) as caught:
        do(one.create("ci", GRANTS))
    prove(one, secret)
    do(one.revoke("ci"))
    assert secret not in f"{one.list()} {caught.value} {caplog.text}"


def test_revoked(one: Robots, other: Robots) -> None:
    """A robot that is revoked is unknown to every process at once: its secret, and whatever was issued to it."""
    secret = do(one.create("ci", GRANTS))
    proved = prove(other, secret)
    assert proved is not None
    before = other.version()
    assert do(one.revoke("ci"))
    assert other.version() != before
    assert prove(other, secret) is None
    assert other.authority(proved.subject) is None
    assert other.list() == []
    assert not do(other.revoke("ci"))


def test_name_made_anew(one: Robots, other: Robots) -> None:
    """A revoked robot's name may be given again: what was issued to the old one stays dead."""
    old_secret = do(one.create("ci", GRANTS))
    old = prove(other, old_secret)
    do(one.revoke("ci"))
    new = prove(other, do(one.create("ci", GRANTS)))
    assert old is not None
    assert new is not None
    assert old.subject.name == new.subject.name
    assert prove(other, old_secret) is None
    assert other.authority(old.subject) is None
    assert other.authority(new.subject) == GRANTS


def test_expired(one: Robots, monkeypatch: pytest.MonkeyPatch) -> None:
    """A robot whose end has come is known no longer, though it is listed; its name may be given again."""
    now = time.time()
    secret = do(one.create("ci", GRANTS, now + 50))
    proved = prove(one, secret)
    assert proved is not None
    monkeypatch.setattr(time, "time", lambda: now + 49.9)
    assert prove(one, secret) is not None
    monkeypatch.setattr(time, "time", lambda: now + 50)
    assert prove(one, secret) is None
    assert one.authority(proved.subject) is None
    assert [robot.name for robot, _ in one.list()] == ["ci"]
    again = prove(one, do(one.create("ci", GRANTS)))
    assert again is not None
    assert again.until == float("inf")
    assert one.authority(proved.subject) is None


@pytest.mark.parametrize("kind", ["user", "anonymous", "workload", ""])
def test_subjects_of_others(one: Robots, kind: str) -> None:
    """A subject of another sort is none of theirs, whatever its name and key."""
    proved = prove(one, do(one.create("ci", GRANTS)))
    assert proved is not None
    assert one.authority(Subject(kind, "ci", proved.subject.key)) is None
    assert one.authority(Subject("robot", "ci", "ci")) is None
    assert one.authority(Subject("robot", "ci", "")) is None


@pytest.mark.parametrize("name", ["ci", "a", "A.b_c-d@e+f/g", "0" * 128, "github/org/app"])
def test_names(one: Robots, name: str) -> None:
    """A name is letters, digits and a few signs."""
    proved = prove(one, do(one.create(name, GRANTS)))
    assert proved is not None
    assert proved.subject.name == name


@pytest.mark.parametrize(
    "name", ["", "a" * 129, "a:b", "a b", "a\n", "\ta", "-a", ".a", "/a", "é", "a\0", "a,b"]
)
def test_bad_names(one: Robots, name: str) -> None:
    """Others are refused, with what to write instead."""
    with pytest.raises(ValueError, match="is no name for a robot: write up to 128 letters, digits"):
        do(one.create(name, GRANTS))
    assert one.list() == []


def test_list(one: Robots) -> None:
    """The list has each robot by name, with its grants and times."""
    before = time.time()
    do(one.create("b", GRANTS, 2e9))
    do(one.create("a", Grants(())))
    (first, none), (second, grants) = one.list()
    assert (first.name, first.expires, none) == ("a", float("inf"), Grants(()))
    assert (second.name, second.expires, grants) == ("b", 2e9, GRANTS)
    assert before <= second.created <= first.created <= time.time()


def test_ten_thousand(one: Robots, other: Robots, tmp_path: Path) -> None:
    """Among 10,000 robots each is found by its own secret, and one that is revoked is the only one that is gone."""
    secrets = {number: do(one.create(f"ci{number}", GRANTS)) for number in (0, 4999)}
    with contextlib.closing(sqlite3.connect(tmp_path / "state.db", isolation_level=None)) as connection:
        rows = [
            (f"id{n}", f"many{n}", n.to_bytes(32, "big"), GRANTS.as_text(), 1e9, 2e12) for n in range(10_000)
        ]
        connection.execute("BEGIN")
        connection.executemany("INSERT INTO robots VALUES (?, ?, ?, ?, ?, ?)", rows)
        connection.execute("COMMIT")
    secrets[9999] = do(one.create("ci9999", GRANTS))
    assert len(other.list()) == 10_003
    for number, secret in secrets.items():
        proved = prove(other, secret)
        assert proved is not None
        assert proved.subject.name == f"ci{number}"
    do(one.revoke("ci4999"))
    assert [prove(other, secret) is None for secret in secrets.values()] == [False, True, False]
    assert len(other.list()) == 10_002
