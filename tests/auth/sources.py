"""Sources of logins in memory, which count what they are asked."""

from __future__ import annotations

import asyncio
import base64
from typing import TYPE_CHECKING

from cargohold.auth.identity import Identity, Kind, Scope
from cargohold.auth.login import Login
from cargohold.auth.protocols import Proved, Subject, Unproved
from cargohold.types.errors import TooManyRequests

if TYPE_CHECKING:
    from collections.abc import Sequence

    from cargohold.auth.identity import Authority
    from cargohold.auth.protocols import Passwords, Tokens

NOTHING = Scope(())
FOREVER = float("inf")


class Known:
    """A source of passwords in memory, which counts what it is asked; `Passwords`."""

    guessable = True

    def __init__(self, users: dict[str, str], *, until: float = FOREVER) -> None:
        self.users = users
        self.until = until
        self.changes = 0
        self.asked: list[str] = []
        self.wait: asyncio.Event | None = None

    async def prove(self, name: str, password: str) -> Proved | None:
        self.asked.append(name)
        if self.wait is not None:
            await self.wait.wait()
        if self.users.get(name) != password:
            return None
        return Proved(Subject("user", name, key=name, stamp=password), Scope(()), self.until)

    def authority(self, subject: Subject) -> Authority | None:
        return Scope(()) if self.users.get(subject.key) == subject.stamp else None

    def version(self) -> int:
        return self.changes

    def change(self, **users: str) -> None:
        self.users = users
        self.changes += 1


class Issued:
    """A source of tokens in memory; `Tokens`."""

    def __init__(self, tokens: dict[str, float]) -> None:
        self.tokens = tokens
        self.changes = 0
        self.asked: list[str] = []

    async def verify(self, token: str) -> tuple[Identity, float]:
        self.asked.append(token)
        if token not in self.tokens:
            raise Unproved
        return Identity(Kind.TOKEN, token, NOTHING, NOTHING), self.tokens[token]

    def version(self) -> int:
        return self.changes


class Counted:
    """Failed logins; `Attempts`. So many are let through, and then none."""

    def __init__(self, most: int = 1000) -> None:
        self.most = most
        self.checked: list[tuple[str, str]] = []
        self.failures: list[tuple[str, str]] = []

    def check(self, client: str, name: str) -> None:
        self.checked.append((client, name))
        if len(self.failures) >= self.most:
            raise TooManyRequests

    def failed(self, client: str, name: str) -> None:
        self.failures.append((client, name))


def login_of(
    passwords: Sequence[Passwords] = (),
    tokens: Sequence[Tokens] = (),
    *,
    attempts: Counted | None = None,
    remember: float = 300.0,
) -> Login:
    return Login(passwords, tokens, anonymous=NOTHING, attempts=attempts, remember=remember)


def basic(name: str, password: str, scheme: str = "Basic") -> str:
    return f"{scheme} {base64.b64encode(f'{name}:{password}'.encode()).decode()}"


HERE = "192.0.2.1"


def remembered(login: Login, authorization: str | None, client: str = HERE) -> Identity | None:
    shown = login.find(authorization, client)
    return None if shown is None else login.who(shown)


def identify(login: Login, authorization: str | None, client: str = HERE) -> Identity:
    return asyncio.run(login.identify(authorization, client))
