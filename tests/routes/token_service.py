"""The token service: its routes over real logins, keys and refresh tokens, and passwords that a test knows."""

from __future__ import annotations

import asyncio
import base64
import time
from typing import TYPE_CHECKING
from urllib.parse import urlencode

from cargohold.auth.identity import Scope
from cargohold.auth.issuer import Issuer
from cargohold.auth.keys import SigningKeys
from cargohold.auth.login import Login
from cargohold.auth.protocols import Proved, Subject
from cargohold.auth.refresh import RefreshTokens
from cargohold.http.exchange import answer_faults
from cargohold.http.middleware import answer_errors, dispatch
from cargohold.messages import Bytes
from cargohold.routes.token import TokenRoutes
from cargohold.storage.state import State
from cargohold.types.errors import TooManyRequests
from cargohold.types.names import RepositoryName
from cargohold.types.operations import PublishKeys, RequestToken
from cargohold.types.scopes import parse_scopes
from tests.routes.caller import Pieces, Reply, answered, request

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence
    from pathlib import Path

    from cargohold.auth.identity import Authority, Identity
    from cargohold.http.middleware import Route
    from cargohold.types.operations import Operation

APP = RepositoryName("org/app")
ID_TOKEN = "id.token.signature"
EXCHANGE = "urn:ietf:params:oauth:grant-type:token-exchange"
FORM = {"content-type": "application/x-www-form-urlencoded"}
FOREVER = float("inf")
ANONYMOUS = Scope(parse_scopes(["repository:public:pull"]))


class Known:
    """Passwords and what each stands for; a test may change them."""

    guessable = True

    def __init__(self) -> None:
        pull = Scope(parse_scopes(["repository:org/app:pull repository:public:pull"]))
        push = Scope(parse_scopes(["repository:org/app:pull,push registry:catalog:*"]))
        self.proofs = {
            "right": Proved(Subject("user", "ann", "ann", "s"), push),
            "pässwörd: ✓+&=%": Proved(Subject("user", "ann", "ann", "s"), push),
            "chd_robot": Proved(Subject("robot", "ci", "0123"), pull),
            ID_TOKEN: Proved(Subject("workload", "repo:org/app", "grants"), push, time.time() + 100),
        }
        self.ends: dict[str, float] = {}
        self.changes = 0

    async def prove(self, name: str, password: str) -> Proved | None:
        assert name
        return self.proofs.get(password)

    def known(self, subject: Subject) -> Proved | None:
        if subject.kind == "anonymous":
            return Proved(subject, ANONYMOUS)
        held = (proved for proved in self.proofs.values() if proved.subject == subject)
        # An id token is gone when it is asked about later: its workload has no end of its own.
        return next(
            (Proved(subject, each.authority, self.ends.get(subject.kind, FOREVER)) for each in held), None
        )

    def authority(self, subject: Subject) -> Authority | None:
        known = self.known(subject)
        return None if known is None else known.authority

    def version(self) -> int:
        return self.changes

    def remove(self, kind: str) -> None:
        self.proofs = {
            password: proved for password, proved in self.proofs.items() if proved.subject.kind != kind
        }
        self.changes += 1


class Attempts:
    """Lets through so many failed logins."""

    def __init__(self) -> None:
        self.left = 1000
        self.seen: list[tuple[str, str]] = []
        self.names: list[str] = []

    def check(self, client: str, name: str) -> None:
        self.seen.append((client, name))
        if self.left <= 0:
            raise TooManyRequests(headers=[("retry-after", "60")])

    def failed(self, client: str, name: str) -> None:
        assert (client, name) in self.seen
        self.names.append(name)
        self.left -= 1


class TokenService:
    """The routes at work, below the router and above nothing."""

    def __init__(
        self,
        root: Path,
        *,
        anonymous: Authority | None = ANONYMOUS,
        refreshes: bool = True,
        job_lifetime: float = 500.0,
    ) -> None:
        own = root / "cargohold"
        own.mkdir(exist_ok=True)
        self.known, self.attempts = Known(), Attempts()
        self.keys = SigningKeys(str(own / "keys"))
        self.keys.prepare(time.time())
        self.issuer = Issuer(self.keys, self.known.known, issuer="hold", service="hold", lifetime=300.0)
        login = Login([self.known], [self.issuer], anonymous=ANONYMOUS, attempts=self.attempts, remember=0.0)
        self.state = State(str(own))
        self.routes = TokenRoutes(
            login,
            self.issuer,
            RefreshTokens(self.state) if refreshes else None,
            service="hold",
            anonymous=anonymous,
            refresh_lifetime=1000.0,
            workload_lifetime=job_lifetime,
        )
        table: dict[type[Operation], Route] = {
            RequestToken: self.routes.request,
            PublishKeys: self.routes.keys,
        }
        self._handler = answer_faults(
            answer_errors(dispatch(table, prefix="", closed=frozenset(), guard=None))
        )

    def ask(
        self,
        method: str,
        target: str,
        headers: Mapping[str, str] | Sequence[tuple[str, str]] = (),
        body: bytes | Pieces = b"",
    ) -> Reply:
        answer = answered(self._handler, request(method, target, headers, body))
        assert isinstance(answer, Bytes)
        return Reply(
            answer.status, [(name.lower(), str(value)) for name, value in answer.headers], answer.body
        )

    def get(self, *scopes: str, password: str | None = None, name: str = "ann", **query: str) -> Reply:
        asked = urlencode([*query.items(), *(("scope", scope) for scope in scopes)])
        return self.ask("GET", f"/auth/token?{asked}", {} if password is None else basic(name, password))

    def post(self, grant: str | None, **form: str) -> Reply:
        fields = {} if grant is None else {"grant_type": grant}
        return self.ask("POST", "/auth/token", FORM, urlencode(fields | form).encode())

    def identity(self, reply: Reply) -> Identity:
        assert reply.status == 200, reply
        assert reply.json["token"] == reply.json["access_token"]
        identity, until = asyncio.run(self.issuer.verify(reply.json["token"]))
        assert until - time.time() <= reply.json["expires_in"]
        return identity

    def close(self) -> None:
        self.state.close()


def basic(name: str, password: str) -> dict[str, str]:
    return {"authorization": "Basic " + base64.b64encode(f"{name}:{password}".encode()).decode()}


def refused(reply: Reply) -> str:
    """The message of a refusal that asks for a login."""
    assert reply.error == (401, "UNAUTHORIZED")
    assert reply["www-authenticate"] == 'Basic realm="hold", charset="UTF-8"'
    message: str = reply.errors[0]["message"]
    return message


def not_understood(reply: Reply) -> tuple[str, str]:
    """The code of OAuth2 and the message of a refusal that asks for another request."""
    assert reply.error == (400, "UNSUPPORTED")
    (error,) = reply.errors
    return error["detail"]["error"], error["message"]
