"""Logins that come all at once: what they cost whoever guesses, and how little those who come from elsewhere."""

from __future__ import annotations

import asyncio
from collections import Counter
from typing import TYPE_CHECKING

from cargohold.auth.protocols import Unproved
from cargohold.auth.turns import AT_ONCE
from cargohold.types.errors import TooManyRequests
from tests.auth.sources import HERE, Counted, Known, basic, login_of

if TYPE_CHECKING:
    from cargohold.auth.login import Login

ELSEWHERE = "2001:db8::1"


class Crowd:
    """Logins that are tried at the same moment."""

    def __init__(self, login: Login) -> None:
        self._login = login
        self._tasks: list[asyncio.Task[str]] = []

    async def come(self, *headers: str, client: str = HERE) -> None:
        self._tasks += [asyncio.create_task(self._try(header, client)) for header in headers]
        for _ in range(10):
            await asyncio.sleep(0)

    async def outcomes(self) -> list[str]:
        """What each of them was told: a name, or a refusal."""
        return await asyncio.wait_for(asyncio.gather(*self._tasks), 10)

    async def _try(self, header: str, client: str) -> str:
        try:
            return (await self._login.identify(header, client)).name
        except (Unproved, TooManyRequests) as refused:
            return type(refused).__name__


def guesses(number: int) -> list[str]:
    return [basic("ann", f"guess {each}") for each in range(number)]


def test_an_address_has_no_more_checks_than_failures() -> None:
    """Of many guesses at once those that come after the last failure are refused unchecked; one may have begun."""

    async def run() -> None:
        users, attempts = Known({"ann": "secret"}), Counted(3)
        crowd = Crowd(login_of([users], attempts=attempts))
        users.wait = asyncio.Event()
        await crowd.come(*guesses(40), basic("ann", "secret"))
        assert len(users.asked) == AT_ONCE
        users.wait.set()
        assert Counter(await crowd.outcomes()) == {"Unproved": 3, "TooManyRequests": 38}
        assert 3 <= len(users.asked) < 3 + AT_ONCE

    asyncio.run(run())


def test_who_comes_from_elsewhere_waits_for_no_line() -> None:
    """While many guesses of one network wait, the password of somebody else is looked at at once."""

    async def run() -> None:
        users = Known({"ann": "secret", "bob": "x"})
        crowd = Crowd(login_of([users]))
        users.wait = asyncio.Event()
        await crowd.come(*guesses(60))
        await crowd.come(basic("bob", "x"), client=ELSEWHERE)
        assert users.asked == ["ann"] * AT_ONCE + ["bob"]
        users.wait.set()
        assert await crowd.outcomes() == ["Unproved"] * 60 + ["bob"]

    asyncio.run(run())


def test_the_same_at_once_is_asked_about_no_more_than_once_a_turn() -> None:
    """What those who had their turn before have found out counts for those who waited, and a failure counts once."""

    async def run() -> None:
        for password, told in (("secret", "ann"), ("wrong", "Unproved")):
            users, attempts = Known({"ann": "secret"}), Counted(AT_ONCE + 1)
            crowd = Crowd(login_of([users], attempts=attempts))
            users.wait = asyncio.Event()
            await crowd.come(*[basic("ann", password)] * 60)
            users.wait.set()
            assert await crowd.outcomes() == [told] * 60
            assert users.asked == ["ann"] * AT_ONCE

    asyncio.run(run())


def test_what_nobody_guesses_waits_for_no_turn() -> None:
    """A robot's secret or an id token is looked at at once, however many passwords of its network wait."""

    async def run() -> None:
        robots, users = Known({"ci": "chd"}), Known({"ann": "secret"})
        robots.guessable = False
        crowd = Crowd(login_of([robots, users]))
        users.wait = asyncio.Event()
        await crowd.come(*guesses(60))
        await crowd.come(basic("ci", "chd"))
        assert robots.asked[-1] == "ci"
        assert "ci" not in users.asked
        users.wait.set()
        assert await crowd.outcomes() == ["Unproved"] * 60 + ["ci"]

    asyncio.run(run())
