"""The peers where everyone must log in: with the users of a cargohold that runs, or with the tokens that it issues."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING

from benchmarks.contestants.distribution import Distribution
from benchmarks.contestants.zot import Zot
from benchmarks.load.connection import Connection

if TYPE_CHECKING:
    from collections.abc import Mapping

    from benchmarks.contestants.contestant import Contestant
    from benchmarks.processes import Server

    Auth = Mapping[str, Mapping[str, str]]

_SERVICE = {"realm": "https://localhost/auth/token", "service": "cargohold"}


class _GuardedDistribution(Distribution):
    def __init__(self, program: str, name: str, auth: Auth) -> None:
        super().__init__(program)
        self.name = name
        self._auth = auth

    def command(self, folder: str, port: int) -> list[str]:
        """Prepare the folder and say what to run."""
        *words, path = super().command(folder, port)
        settings = _read(path)
        _write(path, settings | {"auth": self._auth})
        return [*words, path]


class _GuardedZot(Zot):
    def __init__(self, program: str, name: str, auth: Auth) -> None:
        super().__init__(program)
        self.name = name
        self._auth = auth

    def command(self, folder: str, port: int) -> list[str]:
        """Prepare the folder and say what to run."""
        *words, path = super().command(folder, port)
        settings = _read(path)
        _write(path, settings | {"http": settings["http"] | {"auth": self._auth}})
        return [*words, path]


def peer_by_password(peer: Contestant, guarded: Server) -> Contestant:
    """The peer with the file of users of a guarded cargohold."""
    name, users = f"{peer.name} by password", f"{guarded.folder}/users"
    if isinstance(peer, Zot):
        return _GuardedZot(peer.program, name, {"htpasswd": {"path": users}})
    return _GuardedDistribution(peer.program, name, {"htpasswd": {"realm": "bench", "path": users}})


def peer_by_token(peer: Contestant, guarded: Server) -> Contestant:
    """The peer that trusts the tokens of a guarded cargohold."""
    name, keys = f"{peer.name} by token", f"{guarded.folder}/keys.json"
    with Connection(guarded.port) as connection, open(keys, "wb") as file:
        file.write(connection.ask(200, "GET", "/auth/keys").body)
    if isinstance(peer, Zot):
        return _GuardedZot(peer.program, name, {"bearer": {**_SERVICE, "cert": keys}})
    return _GuardedDistribution(
        peer.program, name, {"token": {**_SERVICE, "issuer": _SERVICE["service"], "jwks": keys}}
    )


def _read(path: str) -> dict[str, dict[str, object]]:
    with open(path, encoding="utf-8") as file:
        settings: dict[str, dict[str, object]] = json.load(file)
        return settings


def _write(path: str, settings: Mapping[str, object]) -> None:
    with open(path, "w", encoding="utf-8") as file:
        json.dump(settings, file)
