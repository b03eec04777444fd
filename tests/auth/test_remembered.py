"""What is kept of secrets: nothing that could be read, not for long, and not much."""

from __future__ import annotations

import time
from typing import TYPE_CHECKING, Any

from cargohold.auth import remembered
from cargohold.auth.remembered import Entry, Remembered

if TYPE_CHECKING:
    import pytest

FOREVER = float("inf")


class Clocks:
    """Both clocks, to be set."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch) -> None:
        self.monotonic, self.epoch = 1000.0, 2_000_000_000.0
        monkeypatch.setattr(time, "monotonic", lambda: self.monotonic)
        monkeypatch.setattr(time, "time", lambda: self.epoch)


def test_by_its_secret_alone() -> None:
    """What was kept is found by the same secret, and by no other."""
    kept: Remembered[str] = Remembered()
    kept.keep(b"secret", "ann", seconds=60, until=FOREVER)
    assert kept.get(b"secret") == "ann"
    for other in (b"", b"secre", b"secret\0", b"Secret"):
        assert kept.get(other) is None


def test_no_secret_is_kept() -> None:
    """Nothing that is kept holds a secret; and what is kept in its place is another in each process."""
    first, second = Remembered[str](), Remembered[str]()
    for kept in (first, second):
        kept.keep(b"secret", "ann", seconds=60, until=FOREVER)
    names: list[Any] = [next(iter(kept._entries)) for kept in (first, second)]
    assert names[0] != names[1]
    assert b"secret" not in names[0]
    assert len(names[0]) == 32


def test_for_so_many_seconds(monkeypatch: pytest.MonkeyPatch) -> None:
    """It ends after the seconds that were given, whatever is done to the clock on the wall."""
    clocks, kept = Clocks(monkeypatch), Remembered[str]()
    kept.keep(b"x", "ann", seconds=60, until=FOREVER)
    clocks.epoch -= 3600
    clocks.monotonic += 59.9
    assert kept.get(b"x") == "ann"
    clocks.monotonic += 0.1
    assert kept.get(b"x") is None
    assert len(kept) == 0


def test_not_beyond_an_end(monkeypatch: pytest.MonkeyPatch) -> None:
    """It ends at the time of the epoch that was given, though a machine was asleep till then."""
    clocks, kept = Clocks(monkeypatch), Remembered[str]()
    kept.keep(b"x", "ann", seconds=FOREVER, until=clocks.epoch + 60)
    clocks.epoch += 59.9
    assert kept.get(b"x") == "ann"
    clocks.epoch += 0.1
    assert kept.get(b"x") is None


def test_no_seconds(monkeypatch: pytest.MonkeyPatch) -> None:
    """Kept for no time, it is not kept."""
    Clocks(monkeypatch)
    kept: Remembered[str] = Remembered()
    kept.keep(b"x", "ann", seconds=0, until=FOREVER)
    assert kept.get(b"x") is None


def test_the_oldest_goes(monkeypatch: pytest.MonkeyPatch) -> None:
    """Of more than there is room for the one that was kept first goes; keeping one again makes it the youngest."""
    monkeypatch.setattr(remembered, "MOST", 3)
    kept: Remembered[int] = Remembered()
    for number in (1, 2, 3, 1, 4):
        kept.keep(b"%d" % number, number, seconds=60, until=FOREVER)
    assert [kept.get(b"%d" % number) for number in (1, 2, 3, 4)] == [1, None, 3, 4]
    assert len(kept) == 3


def test_the_room_is_4096() -> None:
    """Memory does not grow with those who come."""
    kept: Remembered[int] = Remembered()
    for number in range(5000):
        kept.keep(b"%d" % number, number, seconds=60, until=FOREVER)
    assert len(kept) == 4096
    assert kept.get(b"903") is None
    assert kept.get(b"904") == 904


def test_long_secrets_take_more_room(monkeypatch: pytest.MonkeyPatch) -> None:
    """Of more bytes of secrets than there is room for the oldest go; what goes, or is kept anew, takes none."""
    monkeypatch.setattr(remembered, "ROOM", 100)
    kept: Remembered[int] = Remembered()
    secrets = [bytes([number]) * 30 for number in range(5)]
    for secret in [*secrets[:3], secrets[0]]:
        kept.keep(secret, 1, seconds=60, until=FOREVER)
    assert [kept.get(secret) for secret in secrets] == [1, 1, 1, None, None]
    forget(kept, secrets[2])
    kept.keep(secrets[3], 1, seconds=60, until=FOREVER)
    assert [kept.get(secret) for secret in secrets] == [1, 1, None, 1, None]
    kept.keep(secrets[4] * 3, 1, seconds=60, until=FOREVER)
    assert [kept.get(secret) for secret in secrets] == [None] * 5
    assert kept.get(secrets[4] * 3) == 1
    kept.keep(b"x" * 101, 1, seconds=60, until=FOREVER)
    assert len(kept) == 0


def test_what_is_over_takes_no_room(monkeypatch: pytest.MonkeyPatch) -> None:
    """Entries that have ended go when another comes, though nobody asks for them again."""
    clocks, kept = Clocks(monkeypatch), Remembered[int]()
    for number in range(50):
        kept.keep(b"s%d" % number, number, seconds=60, until=FOREVER)
        kept.keep(b"t%d" % number, number, seconds=FOREVER, until=clocks.epoch + 60)
    clocks.monotonic += 60
    clocks.epoch += 60
    kept.keep(b"x", 1, seconds=60, until=FOREVER)
    assert len(kept) == 1


def test_another_thing_for_the_same_time(monkeypatch: pytest.MonkeyPatch) -> None:
    """What is replaced ends when the first would have."""
    clocks, kept = Clocks(monkeypatch), Remembered[str]()
    kept.keep(b"x", "ann", seconds=60, until=FOREVER)
    clocks.monotonic += 30
    entry = kept.entry(b"x")
    assert entry is not None
    entry.found = "eve"
    assert kept.get(b"x") == "eve"
    clocks.monotonic += 30
    assert kept.get(b"x") is None


def forget(kept: Remembered[Any], secret: bytes) -> None:
    entry = kept.entry(secret)
    assert entry is not None
    kept.forget(entry)


def test_forgetting() -> None:
    """What is forgotten is gone, and can be forgotten again; what was kept anew since then stays."""
    kept: Remembered[str] = Remembered()
    kept.keep(b"x", "ann", seconds=60, until=time.time() + 60)
    entry = kept.entry(b"x")
    assert entry is not None
    for _ in range(2):
        kept.forget(entry)
        assert kept.get(b"x") is None
    kept.keep(b"x", "eve", seconds=60, until=time.time() + 60)
    kept.forget(entry)
    assert kept.get(b"x") == "eve"
    assert len(kept) == 1


def test_whoever_has_found_it_knows_when_it_is_over(monkeypatch: pytest.MonkeyPatch) -> None:
    """An entry is over as soon as it is forgotten, kept anew, pushed out by others, or as its time has come."""
    monkeypatch.setattr(remembered, "MOST", 2)
    clocks, kept = Clocks(monkeypatch), Remembered[str]()

    def found(secret: bytes, *, seconds: float = 60, until: float = FOREVER) -> Entry[str]:
        kept.keep(secret, "ann", seconds=seconds, until=until, whose="ann")
        entry = kept.entry(secret)
        assert entry is not None
        assert not entry.is_over()
        return entry

    forgotten = found(b"x")
    kept.forget(forgotten)
    renewed, last = found(b"x"), found(b"x")
    assert (forgotten.is_over(), renewed.is_over(), last.is_over()) == (True, True, False)
    others = found(b"y"), found(b"z")
    assert (last.is_over(), *[other.is_over() for other in others]) == (True, False, False)
    kept.forget_all("ann")
    assert all(other.is_over() for other in others)
    by_seconds, by_clock = found(b"x"), found(b"y", seconds=FOREVER, until=clocks.epoch + 60)
    clocks.monotonic += 60
    clocks.epoch += 60
    assert by_seconds.is_over()
    assert by_clock.is_over()


def test_forgetting_all_of_somebody(monkeypatch: pytest.MonkeyPatch) -> None:
    """What was kept as theirs is gone, and nothing else; who has nothing left is no longer noted."""
    monkeypatch.setattr(remembered, "MOST", 3)
    kept: Remembered[str] = Remembered()
    for secret, whose in ((b"0", "dan"), (b"1", "ann"), (b"2", "bob"), (b"3", "ann")):
        kept.keep(secret, whose, seconds=60, until=FOREVER, whose=whose)
    kept.forget_all("ann")
    kept.forget_all("eve")
    assert [kept.get(b"%d" % number) for number in range(4)] == [None, None, "bob", None]
    assert list(kept._names_of) == ["bob"]
