"""How requests prove who sends them: as the registry's challenge asks, by Basic or by a token of its token service.

The token service is that of the Docker token specification; refresh tokens go there by OAuth 2.0's POST.
"""

from __future__ import annotations

import base64
import threading
from typing import TYPE_CHECKING

import httpx2
import msgspec

from cargohold.cli.received import decoded
from cargohold.cli.refusal import Refused
from cargohold.cli.remote.address import is_loopback
from cargohold.cli.remote.challenges import choose, parse_challenges
from cargohold.cli.remote.exchange import Answer, RegistryRefused

if TYPE_CHECKING:
    from collections.abc import Callable

    from cargohold.cli.remote.challenges import Challenge
    from cargohold.cli.remote.exchange import Exchange
    from cargohold.cli.remote.logins import Login

_OK = 200
_LOG_IN = "give a login with --user, or log in with docker or podman before"


class _Token(msgspec.Struct):
    token: str = ""
    access_token: str = ""


class Authorization:
    """The header Authorization for requests to one registry. Threads may share it.

    `login` is asked at most once, and only if the registry asks for one; it gives None for who is anonymous.
    """

    def __init__(self, exchange: Exchange, login: Callable[[], Login | None]) -> None:
        self._exchange = exchange
        self._find_login = login
        self._login: tuple[Login | None] | None = None
        self._challenge: Challenge | None = None
        self._tokens: dict[str, str] = {}
        self._lock = threading.Lock()

    def header(self, scope: str) -> dict[str, str]:
        """What to send with a request that needs a scope, by what the registry has asked for until now.

        Raises Refused.
        """
        with self._lock:
            challenge = self._challenge
            if challenge is None:
                return {}
            if challenge.scheme == "bearer":
                if scope not in self._tokens:
                    self._tokens[scope] = self._fetch(challenge, scope)
                return {"authorization": f"Bearer {self._tokens[scope]}"}
            login = self._password()
        return {} if login is None else {"authorization": _basic(login)}

    def learn(self, answer: Answer, scope: str) -> bool:
        """Take in what a 401 asks for; whether another try with `header` is worth it. Raises Refused."""
        challenge = choose(parse_challenges(answer.headers.get_list("www-authenticate")))
        if challenge is None:
            return False
        with self._lock:
            if challenge.scheme == "basic":
                tried = self._challenge is not None and self._challenge.scheme == "basic"
                self._challenge = challenge
                return not tried and self._password() is not None
            self._challenge = challenge
            if scope:
                # It knows best what it wants; and what it was shown may have expired.
                self._tokens[scope] = self._fetch(challenge, challenge.parameters.get("scope") or scope)
        return True

    def advice(self) -> str:
        """What whoever is refused may do; empty for one who has a login."""
        return _LOG_IN if self._login == (None,) else ""

    def _password(self) -> Login | None:
        """A refresh token is none."""
        login = self._known_login()
        return None if login is None or login.is_refresh_token else login

    def _known_login(self) -> Login | None:
        if self._login is None:
            self._login = (self._find_login(),)
        return self._login[0]

    def _fetch(self, challenge: Challenge, scope: str) -> str:
        """A token for a scope. Raises Refused."""
        login, service = self._known_login(), challenge.parameters.get("service", "")
        realm = self._realm(challenge, login)
        if login is not None and login.is_refresh_token:
            form = {
                "grant_type": "refresh_token",
                "refresh_token": login.secret,
                "client_id": "cargohold",
                "service": service,
                "scope": scope,
            }
            answer = self._exchange.ask("POST", realm, {}, form=form)
        else:
            query = {"scope": scope.split(" "), **({"service": [service]} if service else {})}
            headers = {} if login is None else {"authorization": _basic(login)}
            answer = self._exchange.ask("GET", realm.copy_merge_params(query), headers)
        if answer.status != _OK:
            raise RegistryRefused(f"no token for {self._exchange.address}", answer, self.advice())
        try:
            found = decoded(answer.body, _Token)
        except ValueError:
            found = _Token()
        token = found.token or found.access_token
        if not (token.isascii() and token.isprintable() and token):
            raise Refused(f"the token service {realm.netloc.decode()} answers without a token")
        return token

    def _realm(self, challenge: Challenge, login: Login | None) -> httpx2.URL:
        """The address of the token service, which is one that may be told a password where there is one."""
        try:
            realm = httpx2.URL(challenge.parameters.get("realm", ""))
        except httpx2.InvalidURL:
            realm = httpx2.URL("")
        if realm.scheme not in ("http", "https") or not realm.host or realm.userinfo:
            raise Refused(f"{self._exchange.address} names no token service that can be asked")
        secret = realm.scheme == "https" or is_loopback(realm.host) or self._exchange.is_here(realm)
        if login is not None and not secret:
            raise Refused(
                f"{self._exchange.address} names {realm.netloc.decode()} as its token service, which would get the"
                " password in the clear"
            )
        return realm


def _basic(login: Login) -> str:
    return f"Basic {base64.b64encode(f'{login.user}:{login.secret}'.encode()).decode()}"
