"""Refresh tokens: each says whose it is, lives by being used, and is kept as a hash alone."""

from __future__ import annotations

import asyncio
import contextlib
import re
import time
from typing import TYPE_CHECKING, TypeVar

import pytest

from cargohold.auth.grants import Grants
from cargohold.auth.protocols import Subject
from cargohold.auth.refresh import RefreshTokens
from cargohold.auth.robots import Robots
from cargohold.storage.state import State
from tests.storage.places import read_only_view

if TYPE_CHECKING:
    from collections.abc import Coroutine, Iterator
    from pathlib import Path

T = TypeVar("T")

DAY = 86400.0
ANN = Subject("user", "ann", "ann", "stamp")


class Clock:
    """The time of the tests, in seconds of the epoch."""

    def __init__(self) -> None:
        self.now = 1e9

    def __call__(self) -> float:
        return self.now


@pytest.fixture
def clock(monkeypatch: pytest.MonkeyPatch) -> Clock:
    clock = Clock()
    monkeypatch.setattr(time, "time", clock)
    return clock


@pytest.fixture
def state(tmp_path: Path) -> Iterator[State]:
    with contextlib.closing(State(str(tmp_path))) as state:
        yield state


@pytest.fixture
def tokens(state: State) -> RefreshTokens:
    return RefreshTokens(state)


@pytest.fixture
def others(tmp_path: Path) -> Iterator[RefreshTokens]:
    """As another process has them."""
    with contextlib.closing(State(str(tmp_path))) as state:
        yield RefreshTokens(state)


def do(work: Coroutine[object, object, T]) -> T:
    return asyncio.run(work)


def whose(tokens: RefreshTokens, token: str) -> Subject | None:
    found = do(tokens.prove(token))
    return None if found is None else found[0]


def test_says_whose(tokens: RefreshTokens, others: RefreshTokens) -> None:
    """A token gives back the whole subject that it was made for, in every process, as often as it is used."""
    subjects = [
        ANN,
        Subject("robot", "ci", "id"),
        Subject("workload", "repo:org/app", '[["**",["pull"]]]', "iss"),
    ]
    made = [do(tokens.create(subject, DAY)) for subject in subjects]
    for _ in range(2):
        assert [whose(others, token) for token in made] == subjects


def test_form(tokens: RefreshTokens) -> None:
    """A token is `chrt_` and 256 random bits in Base64 of URLs; no two are alike."""
    made = {do(tokens.create(ANN, DAY)) for _ in range(20)}
    assert len(made) == 20
    assert all(re.fullmatch(r"chrt_[A-Za-z0-9_-]{43}", token) for token in made)


def test_wrong_tokens(tokens: RefreshTokens) -> None:
    """Nothing but the very token is one."""
    token = do(tokens.create(ANN, DAY))
    for wrong in (
        "",
        token[:-1],
        token + "A",
        token + "\n",
        token[5:],
        "chd_" + token[5:],
        "chrt_" + "A" * 43,
    ):
        assert whose(tokens, wrong) is None
    assert whose(tokens, token) == ANN


def test_kept_as_a_hash(tokens: RefreshTokens, tmp_path: Path) -> None:
    """No file has the token."""
    token = do(tokens.create(ANN, DAY))
    kept = b"".join(file.read_bytes() for file in tmp_path.iterdir() if file.is_file())
    assert b"stamp" in kept
    assert token[5:].encode() not in kept


def test_ends_without_use(tokens: RefreshTokens, clock: Clock) -> None:
    """A token that is not used for its lifetime ends."""
    token = do(tokens.create(ANN, 30 * DAY))
    clock.now += 30 * DAY
    assert whose(tokens, token) is None


@pytest.mark.parametrize("lifetime", [60.0, DAY, 30 * DAY, 365 * DAY])
def test_lives_by_use(tokens: RefreshTokens, others: RefreshTokens, clock: Clock, lifetime: float) -> None:
    """Each use lets it live anew for nearly its lifetime: all but a day, or a tenth where that is less."""
    token = do(tokens.create(ANN, lifetime))
    step = lifetime - min(DAY, lifetime / 10) - 1
    for _ in range(5):
        clock.now += step
        assert whose(tokens, token) == ANN
    clock.now += lifetime + 1
    assert whose(others, token) is None


def test_until_when(tokens: RefreshTokens, clock: Clock) -> None:
    """What is given for a token that uses do not extend ends with it; one that is extended says of no end."""
    brief, lasting = do(tokens.create(ANN, 60, extended=False)), do(tokens.create(ANN, 60))
    end = clock.now + 60
    for _ in range(3):
        assert do(tokens.prove(brief)) == (ANN, end)
        assert do(tokens.prove(lasting)) == (ANN, float("inf"))
        clock.now += 19
    clock.now = end
    assert do(tokens.prove(brief)) is None
    assert whose(tokens, lasting) == ANN


def test_not_every_use_is_written(state: State, tokens: RefreshTokens, clock: Clock, tmp_path: Path) -> None:
    """Uses one soon after the other cost no write."""
    token = do(tokens.create(ANN, 30 * DAY))
    state.close()
    before = (tmp_path / "state.db").stat().st_mtime_ns
    for _ in range(10):
        clock.now += DAY / 11
        assert whose(tokens, token) == ANN
    state.close()
    assert (tmp_path / "state.db").stat().st_mtime_ns == before
    clock.now += DAY
    assert whose(tokens, token) == ANN
    state.close()
    assert (tmp_path / "state.db").stat().st_mtime_ns != before


def test_revoked(tokens: RefreshTokens, others: RefreshTokens) -> None:
    """A revoked token is none, in every process at once; the subject's others stay."""
    gone, stays = do(tokens.create(ANN, DAY)), do(tokens.create(ANN, DAY))
    do(others.revoke(gone))
    do(others.revoke(gone))
    assert whose(tokens, gone) is None
    assert whose(tokens, stays) == ANN


def test_revoked_with_its_robot(tokens: RefreshTokens, state: State) -> None:
    """What a robot was given goes with it."""
    robots = Robots(state)
    proved = do(robots.prove("x", do(robots.create("ci", Grants(())))))
    assert proved is not None
    token = do(tokens.create(proved.subject, DAY))
    assert whose(tokens, token) == proved.subject
    do(robots.revoke("ci"))
    assert whose(tokens, token) is None


def test_a_thousand_at_most(tokens: RefreshTokens, clock: Clock) -> None:
    """A subject has 1,000 tokens at most: the one that would end first makes room; nobody else's does."""
    bob = do(tokens.create(Subject("user", "bob", "bob"), DAY))
    made = []

    async def make() -> None:
        for _ in range(1001):
            clock.now += 1
            made.append(await tokens.create(ANN, DAY))

    do(make())
    assert whose(tokens, made[0]) is None
    assert whose(tokens, made[1]) == ANN
    assert whose(tokens, made[-1]) == ANN
    assert whose(tokens, bob) is not None


def test_where_nothing_can_be_written(
    tokens: RefreshTokens, state: State, clock: Clock, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    """A token holds also where its use cannot be written down, until its end; the log says so without the token."""
    token = do(tokens.create(ANN, 30 * DAY))
    state.close()
    with (
        read_only_view(tmp_path, tmp_path.with_name("view")) as view,
        contextlib.closing(State(str(view))) as read_only,
    ):
        clock.now += 29 * DAY
        assert whose(RefreshTokens(read_only), token) == ANN
        assert "cannot be written down" in caplog.text
        assert token not in caplog.text
        clock.now += DAY
        assert whose(RefreshTokens(read_only), token) is None
