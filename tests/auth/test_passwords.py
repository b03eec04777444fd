"""Checks of passwords: what is right, what is asked once, and that being wrong always costs the same."""

from __future__ import annotations

import asyncio
import threading
from typing import TYPE_CHECKING

import bcrypt
import pytest

from cargohold.auth import passwords
from cargohold.auth.passwords import PasswordChecks, check_password, hash_password, is_right
from cargohold.auth.userfile import Entry
from cargohold.types.errors import TooManyRequests
from tests.http.serving import until

if TYPE_CHECKING:
    from collections.abc import Callable


def entry(password: bytes, cost: int = 4, prefix: bytes = b"$2b$") -> Entry:
    return Entry(prefix + bcrypt.hashpw(password, bcrypt.gensalt(cost))[4:], "stamp")


@pytest.mark.parametrize("prefix", [b"$2a$", b"$2b$", b"$2y$"])
def test_the_right_password(prefix: bytes) -> None:
    """The password that was hashed is right and no other, by whichever name of bcrypt."""
    stored = entry(b"secret", prefix=prefix).hash
    assert is_right(b"secret", stored, 4)
    for wrong in (b"", b"Secret", b"secret ", b"secre", b"secret\n"):
        assert not is_right(wrong, stored, 4)


@pytest.mark.parametrize(
    ("password", "stored"),
    [
        ("U*U", b"$2a$05$CCCCCCCCCCCCCCCCCCCCC.E5YPO9kmyuRGyh0XouQYb4YMJKvyOeW"),
        ("rasmuslerdorf", b"$2y$07$BCryptRequires22Chrcte/VlQH0piJtjXl.0t1XkA8pw9dMXTpOq"),
        ("p\u00e4ssword", b"$2b$06$abcdefghijklmnopqrstuOMJlUm94mbWbh3VHLcbPB2UU6dE5uDt2"),
    ],
)
def test_hashes_of_another_program(password: str, stored: bytes) -> None:
    """What the C library's crypt has hashed is taken, and nothing else for it."""
    assert is_right(password.encode(), stored, 7)
    assert not is_right(password.upper().encode() + b"!", stored, 7)


def test_long_passwords() -> None:
    """72 bytes are taken, and a longer password is wrong though its first 72 bytes are right."""
    stored = entry(b"a" * 72).hash
    assert is_right(b"a" * 72, stored, 4)
    assert not is_right(b"a" * 73, stored, 4)
    assert not is_right(b"a" * 100_000, stored, 4)


def test_a_nul_is_never_right() -> None:
    """To bcrypt a password and its repetition with a NUL between are the same; to the registry they are not."""
    stored = entry(b"a").hash
    assert bcrypt.checkpw(b"a\0a", stored)
    assert not is_right(b"a\0a", stored, 4)
    assert not is_right(b"a\0", stored, 4)


class Costs:
    """Counts what bcrypt is asked to do: hashes, by their cost, of all calls in the order of their coming."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch) -> None:
        self.costs: list[int] = []
        hashpw, checkpw = bcrypt.hashpw, bcrypt.checkpw

        def counted(call: Callable[[bytes, bytes], object]) -> Callable[[bytes, bytes], object]:
            def count(password: bytes, salt: bytes) -> object:
                self.costs.append(int(salt[4:6]))
                return call(password, salt)

            return count

        monkeypatch.setattr(bcrypt, "hashpw", counted(hashpw))
        monkeypatch.setattr(bcrypt, "checkpw", counted(checkpw))

    def rounds(self) -> int:
        """The work that was done, in rounds of bcrypt."""
        done = sum(1 << cost for cost in self.costs)
        self.costs.clear()
        return done


def test_wrong_costs_the_same(monkeypatch: pytest.MonkeyPatch) -> None:
    """Unknown user, wrong password against a cheap or a dear hash, too long, NUL, empty: the same rounds of bcrypt."""
    stored = {cost: entry(b"x", cost).hash for cost in (4, 5, 8)}
    costs = Costs(monkeypatch)
    for wrong in (b"y", b"", b"x" * 73, b"x\0x", "\u00fc".encode() * 50):
        for hashed in (None, stored[4], stored[5], stored[8]):
            assert not is_right(wrong, hashed, 8)
            assert costs.rounds() == 2**8, (wrong, hashed)


def test_right_costs_its_own_hash(monkeypatch: pytest.MonkeyPatch) -> None:
    """Who is right waits for the one hash."""
    stored = entry(b"x", 4).hash
    costs = Costs(monkeypatch)
    assert is_right(b"x", stored, 8)
    assert costs.costs == [4]


@pytest.mark.parametrize(
    ("password", "message"),
    [
        ("", "the password is empty"),
        ("a\0b", "a password holds no NUL"),
        (f"chd_{'a_-0' * 10}abc", "a password does not look like the secret of a robot"),
        ("a" * 73, "a password has at most 72 bytes in UTF-8, this one has 73"),
        ("\u00fc" * 37, "a password has at most 72 bytes in UTF-8, this one has 74"),
    ],
)
def test_passwords_that_cannot_be_hashed(password: str, message: str) -> None:
    """What nobody could log in by is refused where it is set."""
    with pytest.raises(ValueError, match=message):
        check_password(password)
    with pytest.raises(ValueError, match=message):
        hash_password(password, 4)


def test_hashing() -> None:
    """A hash is of the cost asked for, another each time, in the form that Apache reads, and takes its password."""
    first, second = hash_password("\u00fc" * 36, 5), hash_password("\u00fc" * 36, 5)
    assert first != second
    assert first.startswith("$2y$05$")
    assert is_right(("\u00fc" * 36).encode(), first.encode(), 5)


class Gate:
    """Holds each check up until it is opened, and counts those that came."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch) -> None:
        self.passed: list[bytes] = []
        self.open = threading.Event()

        def checked(password: bytes, stored: bytes | None, cost: int) -> bool:
            assert self.open.wait(30)
            self.passed.append(password)
            return is_right(password, stored, cost)

        monkeypatch.setattr(passwords, "is_right", checked)


def test_the_same_at_once_is_checked_once(monkeypatch: pytest.MonkeyPatch) -> None:
    """Many requests with the same credentials wait for one check; another password has one of its own."""
    gate, stored = Gate(monkeypatch), entry(b"x")

    async def ask() -> list[bool]:
        checks = PasswordChecks()
        asked = [
            asyncio.ensure_future(checks.right("ann", word, stored, 4)) for word in ["x"] * 100 + ["y"] * 100
        ]
        await asyncio.sleep(0)
        gate.open.set()
        answers = await asyncio.gather(*asked)
        checks.close()
        return answers

    assert asyncio.run(ask()) == [True] * 100 + [False] * 100
    assert sorted(gate.passed) == [b"x", b"y"]


def test_each_name_is_checked_for_itself(monkeypatch: pytest.MonkeyPatch) -> None:
    """Two names that are unknown and come with one password wait for two checks, as two that are known do."""
    gate = Gate(monkeypatch)

    async def ask() -> list[bool]:
        checks = PasswordChecks()
        asked = [asyncio.ensure_future(checks.right(name, "x", None, 4)) for name in ("eve", "mallory")]
        await asyncio.sleep(0)
        gate.open.set()
        answers = await asyncio.gather(*asked)
        checks.close()
        return answers

    assert asyncio.run(ask()) == [False, False]
    assert gate.passed == [b"x", b"x"]


def test_nothing_is_kept_of_a_check() -> None:
    """Once it is answered a question is forgotten, password and all, and is checked again when it comes again."""

    async def ask() -> None:
        checks, stored = PasswordChecks(), entry(b"x")
        for _ in range(3):
            assert await checks.right("ann", "x", stored, 4)
            assert not await checks.right("ann", "y", stored, 4)
        assert not checks._under_way
        checks.close()

    asyncio.run(ask())


def test_who_goes_away_leaves_the_answer_to_the_others(monkeypatch: pytest.MonkeyPatch) -> None:
    """A client that gives up does not take the check with it; where all do, nothing is left behind."""
    gate, stored = Gate(monkeypatch), entry(b"x")

    async def ask() -> None:
        checks = PasswordChecks()
        first, second, other = (
            asyncio.ensure_future(checks.right("ann", word, stored, 4)) for word in ("x", "x", "y")
        )
        await asyncio.sleep(0)
        first.cancel()
        other.cancel()
        await asyncio.sleep(0)
        gate.open.set()
        assert await second is True
        await asyncio.to_thread(until, lambda: not checks._under_way)
        assert first.cancelled()
        assert other.cancelled()
        checks.close()

    asyncio.run(ask())


def test_the_queue_is_bounded(monkeypatch: pytest.MonkeyPatch) -> None:
    """Two are checked and 64 wait; one more is told to come again, and those who wait are answered."""
    gate, stored = Gate(monkeypatch), entry(b"66")

    async def ask() -> None:
        checks = PasswordChecks()
        asked = [
            asyncio.ensure_future(checks.right("ann", str(number), stored, 4)) for number in range(1, 67)
        ]
        await asyncio.sleep(0)
        with pytest.raises(TooManyRequests) as refused:
            await checks.right("ann", "67", stored, 4)
        assert refused.value.headers == [("retry-after", "1")]
        gate.open.set()
        assert await asyncio.gather(*asked) == [False] * 65 + [True]
        assert await checks.right("ann", "66", stored, 4)
        checks.close()

    asyncio.run(ask())


def test_the_loop_goes_on() -> None:
    """While a check runs the loop answers others."""

    async def ask() -> int:
        checks, turns = PasswordChecks(), 0
        check = asyncio.ensure_future(checks.right("ann", "x", entry(b"x", 10), 10))
        while not check.done():
            turns += 1
            await asyncio.sleep(0)
        checks.close()
        assert await check
        return turns

    assert asyncio.run(ask()) > 100
