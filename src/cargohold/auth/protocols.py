"""What the parts of a login ask of each other: how somebody is known, by what, and until when it holds."""

from __future__ import annotations

from typing import TYPE_CHECKING, Protocol

import msgspec

from cargohold.auth.identity import Authority

if TYPE_CHECKING:
    from cargohold.auth.identity import Identity


class Unproved(Exception):
    """The login does not hold: unknown user, wrong password, a token that is not valid. Says which to no client."""


class Subject(msgspec.Struct, frozen=True):
    """Whom a token or a refresh token was issued to, in a form that can be written down.

    `kind` is `anonymous`, `user`, `robot` or `workload`. `name` is what logs show. `key` finds it again: a user's
    name, a robot's id, for a workload its grants as they were when it proved itself. `stamp` differs once the
    password has been changed. A subject that was removed is gone, though one of the same name be made anew.
    """

    kind: str
    name: str = ""
    key: str = ""
    stamp: str = ""


class Proved(msgspec.Struct, frozen=True):
    """Somebody who has proved who they are: the subject, what it may do, and until when (seconds of the epoch)."""

    subject: Subject
    authority: Authority
    until: float = float("inf")


class Passwords(Protocol):
    """Something that knows passwords of one sort: an htpasswd file, the robots, the issuers of id tokens.

    `guessable` where somebody might guess one: then a check is slow on purpose, and networks take turns at it.
    """

    guessable: bool

    async def prove(self, name: str, password: str) -> Proved | None:
        """Who this is; None where the password is not one of this sort, or is wrong.

        A name that is unknown takes as long as a password that is wrong. Raises Unproved where it is of this sort
        beyond doubt and does not hold: such as nobody guesses, and no other source need be asked about.
        """
        ...

    def authority(self, subject: Subject) -> Authority | None:
        """What a subject of this sort may do now; None where it is gone, or is none of this sort."""
        ...

    def version(self) -> int:
        """Another number once anything has changed. Asked at every request: it may take a microsecond."""
        ...


class Tokens(Protocol):
    """Something that verifies bearer tokens."""

    async def verify(self, token: str) -> tuple[Identity, float]:
        """Whose it is, and until when (seconds of the epoch). Raises Unproved."""
        ...

    def version(self) -> int:
        """As of `Passwords`."""
        ...


class Attempts(Protocol):
    """Counts failed logins, so that nobody can try passwords by the thousand."""

    def check(self, client: str, name: str) -> None:
        """Raises TooManyRequests where the address, or anyone for this name, has failed too often."""
        ...

    def failed(self, client: str, name: str) -> None:
        """One more."""
        ...
