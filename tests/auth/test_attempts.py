"""Failed logins: what they cost whoever guesses, and what they cannot do to anybody else."""

from __future__ import annotations

import time
from typing import TYPE_CHECKING

import pytest

from cargohold.auth.attempts import ALLOWANCE, NAME_TIMES, FailedLogins
from cargohold.storage.counters import Counters
from cargohold.types.errors import TooManyRequests

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from cargohold.auth.protocols import Attempts

NOON = 1_800_000_000.25 - 1_800_000_000 % 86400 + 43200
GUESSER, VICTIM = "192.0.2.1", "198.51.100.1"


class Clock:
    """The time of day, as far as this process knows."""

    def __init__(self) -> None:
        self.now = NOON

    def __call__(self) -> float:
        return self.now


@pytest.fixture
def clock(monkeypatch: pytest.MonkeyPatch) -> Clock:
    stopped = Clock()
    monkeypatch.setattr(time, "time", stopped)
    return stopped


@pytest.fixture
def counters(tmp_path: Path, clock: Clock) -> Iterator[Counters]:  # noqa: ARG001 - time stands still
    table = Counters(str(tmp_path / "counters"))
    yield table
    table.close()


@pytest.fixture
def attempts(counters: Counters) -> FailedLogins:
    return FailedLogins("3/minute", counters, allow=["10.0.0.0/8"])


def fail(attempts: Attempts, times: int, client: str, name: str) -> int:
    """Try so often, with a password that is wrong; how many were not refused at once."""
    tried = 0
    for _ in range(times):
        try:
            attempts.check(client, name)
        except TooManyRequests:
            continue
        attempts.failed(client, name)
        tried += 1
    return tried


def test_an_address_has_so_many_guesses(attempts: FailedLogins) -> None:
    """As many as the rate says, whatever names it tries; then it is refused every login, and told until when."""
    assert [fail(attempts, 2, GUESSER, name) for name in ("ann", "bob", "cid")] == [2, 1, 0]
    with pytest.raises(TooManyRequests, match="too many logins have failed; try again in 60 seconds") as told:
        attempts.check(GUESSER, "dan")
    assert told.value.headers == [("retry-after", "60")]


def test_time_gives_guesses_back(attempts: FailedLogins, clock: Clock) -> None:
    """Whoever waits has some again, at the rate and no faster."""
    assert fail(attempts, 9, GUESSER, "ann") == 3
    clock.now += 60
    assert fail(attempts, 9, GUESSER, "ann") == 1
    clock.now += 120
    assert fail(attempts, 9, GUESSER, "ann") == 3


def test_logins_that_hold_cost_nothing(attempts: FailedLogins) -> None:
    """A check alone is no attempt: a user may sign in as often as they like."""
    for _ in range(100):
        attempts.check(VICTIM, "ann")


def test_refused_logins_do_not_count(attempts: FailedLogins, clock: Clock) -> None:
    """Going on in vain does not make the wait longer."""
    fail(attempts, 1000, GUESSER, "ann")
    clock.now += 61
    attempts.check(GUESSER, "ann")


def test_another_address_is_not_held_up(attempts: FailedLogins) -> None:
    """One that guesses is refused alone."""
    fail(attempts, 9, GUESSER, "ann")
    attempts.check(VICTIM, "ann")


@pytest.fixture
def crowded(counters: Counters) -> FailedLogins:
    """A hundred addresses have guessed at ann as often as they were let."""
    attempts = FailedLogins("8/minute", counters)
    tried = [fail(attempts, 20, f"203.0.113.{number}", "ann") for number in range(1, 101)]
    assert tried == [8] * NAME_TIMES + [ALLOWANCE] * (100 - NAME_TIMES)
    return attempts


def test_a_name_cannot_be_guessed_from_everywhere(crowded: FailedLogins) -> None:
    """When a name has been failed for ten times as often, each address has few guesses left for it instead of all."""
    assert fail(crowded, 20, GUESSER, "ann") == ALLOWANCE
    assert fail(crowded, 20, GUESSER, "bob") == 8 - ALLOWANCE


def test_nobody_can_lock_a_user_out(crowded: FailedLogins) -> None:
    """While all the world guesses at a name, its owner signs in from an address of their own.

    So it is when they have mistyped, and when a program behind the same address keeps failing in another name.
    """
    crowded.check(VICTIM, "ann")
    for _ in range(ALLOWANCE - 1):
        crowded.failed(VICTIM, "ann")
        crowded.check(VICTIM, "ann")
    for _ in range(3):
        crowded.failed(VICTIM, "bob")
        crowded.check(VICTIM, "ann")


def test_who_keeps_failing_under_attack_waits_for_that_name_alone(
    crowded: FailedLogins, clock: Clock
) -> None:
    """Failures of one's own for a name that is guessed at cost the rest of the window, for that name."""
    assert fail(crowded, 20, VICTIM, "ann") == ALLOWANCE
    with pytest.raises(TooManyRequests) as told:
        crowded.check(VICTIM, "ann")
    assert 0 < int(told.value.headers[0][1]) <= 120
    crowded.check(VICTIM, "bob")
    clock.now += 120
    crowded.check(VICTIM, "ann")


def test_ipv6_addresses_are_counted_by_their_network(attempts: FailedLogins) -> None:
    """Nobody has more guesses for having a network of addresses."""
    assert [fail(attempts, 1, f"2001:db8::{number}", "ann") for number in range(1, 6)] == [1, 1, 1, 0, 0]


def test_who_is_allowed_is_never_refused(attempts: FailedLogins) -> None:
    """Addresses of the list may fail as often as they like, and count for no name."""
    assert fail(attempts, 100, "10.1.2.3", "ann") == 100
    assert fail(attempts, 9, GUESSER, "ann") == 3


def test_workers_count_together(counters: Counters, tmp_path: Path) -> None:
    """What fails in one worker counts in each."""
    others = Counters(str(tmp_path / "counters"))
    here, there = FailedLogins("3/minute", counters), FailedLogins("3/minute", others)
    assert [fail(attempts, 1, GUESSER, "ann") for attempts in (here, there, here, there)] == [1, 1, 1, 0]
    others.close()


def test_no_name_reveals_another(attempts: FailedLogins) -> None:
    """Names that exist and names that do not are counted alike, so that a refusal tells nothing of a user."""
    for name in ("ann", "", "no such user", "\udcff", "x" * 100_000):
        assert fail(attempts, 1, f"203.0.113.{len(name) % 200 + 1}", name) == 1
