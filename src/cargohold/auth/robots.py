"""Robots: names for machines, each with a secret of its own, and what it may do."""

from __future__ import annotations

import hashlib
import hmac
import re
import secrets
import time
import uuid
from functools import lru_cache
from typing import TYPE_CHECKING

from cargohold.auth.grants import Grants
from cargohold.auth.protocols import Proved, Subject, Unproved
from cargohold.storage.state import Robot

if TYPE_CHECKING:
    from collections.abc import Callable

    from cargohold.auth.identity import Authority
    from cargohold.storage.state import State

_KIND = "robot"
SECRET = re.compile(r"chd_[A-Za-z0-9_-]{43}")
"""What a secret looks like, and so no password may."""

_NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9._@+/-]{0,127}")
_SECRET_BYTES = 32


class Robots:
    """The `Passwords` of robots. A secret alone tells whose it is: any user name does that is not empty.

    Each login and each token is looked up in the database, so that one that was revoked is gone at once, in every
    process. Every call but `version` may raise `storage.protocols.Unavailable`.
    """

    guessable = False

    def __init__(self, state: State) -> None:
        self._state = state
        self.version: Callable[[], int] = state.version
        """See `Passwords`."""

    async def prove(self, name: str, password: str) -> Proved | None:
        """See `Passwords`."""
        if not name or SECRET.fullmatch(password) is None:
            return None
        hashed = _hash(password)
        robot = self._state.find_robot_by_hash(hashed)
        if robot is None or not hmac.compare_digest(robot.hash, hashed) or robot.expires <= time.time():
            raise Unproved
        return _proved(robot)

    def authority(self, subject: Subject) -> Authority | None:
        """See `Passwords`: None where the robot was revoked or has expired, though one of its name be made anew."""
        proved = self.known(subject)
        return None if proved is None else proved.authority

    def known(self, subject: Subject) -> Proved | None:
        """As `authority`, with the time at which the robot expires."""
        if subject.kind != _KIND:
            return None
        robot = self._state.find_robot(subject.key)
        return None if robot is None or robot.expires <= time.time() else _proved(robot)

    async def create(self, name: str, grants: Grants, expires: float = float("inf")) -> str:
        """Make a robot; its secret, which is kept nowhere. `expires` in seconds of the epoch.

        Raises ValueError as `check_name` does, and `storage.protocols.Conflict` where a robot has the name.
        """
        check_name(name)
        secret = f"chd_{secrets.token_urlsafe(_SECRET_BYTES)}"
        text, now = grants.as_text(), time.time()
        await self._state.add_robot(Robot(uuid.uuid4().hex, name, _hash(secret), text, now, expires))
        return secret

    def list(self) -> list[tuple[Robot, Grants]]:
        """All robots by name, also those that have expired."""
        return [(robot, _grants(robot.grants)) for robot in self._state.list_robots()]

    async def revoke(self, name: str) -> bool:
        """Remove a robot, with its secret and all that was issued to it; whether there was one."""
        return await self._state.remove_robot(name)


def check_name(name: str) -> None:
    """Raises ValueError where it cannot be a robot's name."""
    if _NAME.fullmatch(name) is None:
        raise ValueError(
            f"{name!r} is no name for a robot: write up to 128 letters, digits and '.', '_', '@', '+', '/', '-',"
            " a letter or digit first"
        )


def _hash(secret: str) -> bytes:
    """Of 256 random bits: nothing slower is needed."""
    return hashlib.sha256(secret.encode()).digest()


def _proved(robot: Robot) -> Proved:
    return Proved(Subject(_KIND, robot.name, key=robot.id), _grants(robot.grants), until=robot.expires)


@lru_cache(1024)
def _grants(text: str) -> Grants:
    return Grants.from_text(text)
