"""The token service: `/auth/token` gives tokens for passwords, and `/auth/keys` the keys to verify them with.

`GET` is the Docker token specification ("Token Authentication Specification"), `POST` its page on OAuth2, with the
exchange of an id token (RFC 8693) besides. What an answer says depends on who asks and on the rules alone: nothing of
what is stored is looked at.
"""

from __future__ import annotations

import hashlib
import logging
from datetime import UTC, datetime
from typing import TYPE_CHECKING
from urllib.parse import parse_qs

from cargohold.auth.identity import Identity, Kind
from cargohold.auth.login import Malformed, read_basic
from cargohold.auth.protocols import Proved, Subject, Unproved
from cargohold.messages import Bytes, encode_json
from cargohold.routes.answers import json_answer
from cargohold.routes.bodies import Bodies
from cargohold.storage.protocols import Unavailable
from cargohold.types.errors import Unauthorized, Unsupported
from cargohold.types.scopes import format_scope, parse_scopes

if TYPE_CHECKING:
    from collections.abc import Callable

    from cargohold.auth.identity import Authority
    from cargohold.auth.issuer import Issuer
    from cargohold.auth.login import Login
    from cargohold.auth.refresh import RefreshTokens
    from cargohold.messages import Answer, Request
    from cargohold.types.operations import PublishKeys, RequestToken
    from cargohold.types.paging import Query

LONGEST_FORM = 64 << 10
"""Bytes; id tokens have some thousands."""

_FORM_SECONDS = 30.0
_MOST_FIELDS = 200
_FORM = "application/x-www-form-urlencoded"
_EXCHANGE = "urn:ietf:params:oauth:grant-type:token-exchange"
_ID_TOKENS = ("urn:ietf:params:oauth:token-type:id_token", "urn:ietf:params:oauth:token-type:jwt")
_ACCESS_TOKEN = "urn:ietf:params:oauth:token-type:access_token"  # noqa: S105 - a name, no secret
_JWT_DOTS = 2
_REFRESHED = ("user", "robot")
_WORKLOAD = "workload"


_log = logging.getLogger(__name__)


class TokenRoutes:
    """The endpoints of the token service that calls itself `service`.

    `anonymous` is what anybody may do, None where nobody gets a token without a login. `refresh`, where given, makes
    the refresh tokens, each valid for `refresh_lifetime` seconds after its last use; that of a workload for
    `workload_lifetime` seconds, since its id token ends sooner than a long push. `admitted` is called as by the guard.
    """

    def __init__(  # noqa: PLR0913 - each is another thing
        self,
        login: Login,
        issuer: Issuer,
        refresh: RefreshTokens | None,
        *,
        service: str,
        anonymous: Authority | None,
        refresh_lifetime: float,
        workload_lifetime: float,
        admitted: Callable[[Request], None] | None = None,
    ) -> None:
        self._login = login
        self._issuer = issuer
        self._refresh = refresh
        self._service = service
        self._anonymous = anonymous
        self._refresh_lifetime = refresh_lifetime
        self._workload_lifetime = workload_lifetime
        self._admitted = admitted
        self._bodies = Bodies(LONGEST_FORM, seconds=_FORM_SECONDS)

    async def request(self, _asked: RequestToken, request: Request) -> Answer:
        """200 with a token for what is asked and may be done, however little that is.

        Raises Unauthorized where the login does not hold, and Unsupported where the request cannot be understood.
        """
        try:
            if request.method == "POST":
                return await self._post(request)
            return await self._get(request)
        except Unproved as problem:
            message = str(problem) or "unknown user, wrong password, or a login that is no longer valid"
            challenge = f'Basic realm="{self._service}", charset="UTF-8"'
            raise Unauthorized(message, headers=[("www-authenticate", challenge)]) from None

    async def keys(self, _asked: PublishKeys, _request: Request) -> Answer:
        """200 with the JWK set. To be kept for less time than a new key is published before it signs."""
        headers = [("content-type", "application/jwk-set+json"), ("cache-control", "public, max-age=30")]
        return Bytes(200, headers, encode_json(self._issuer.published()))

    async def _get(self, request: Request) -> Answer:
        query = _parsed(request.query)
        self._check_service(query)
        proved = await self._proved(request)
        return await self._answer(proved, query, offline=_first(query, "offline_token") in ("true", "1"))

    async def _proved(self, request: Request) -> Proved:
        first, lines = request.headers.get("authorization"), request.headers.get_all("authorization")
        if lines == [first]:
            return await self._prove(*read_basic(lines[0]), request)
        if lines or "authorization" in request.headers:
            raise Unproved("write one Authorization header, in ASCII")
        if self._anonymous is None:
            raise Unproved("a token is given for a user and password alone: log in first")
        return Proved(Subject("anonymous"), self._anonymous)

    async def _prove(self, name: str, password: str, request: Request) -> Proved:
        """Who this is. Raises as `Login.prove` does, without the reason: it would help whoever tries tokens out."""
        try:
            proved = await self._login.prove(name, password, request.client)
        except Malformed:
            raise
        except Unproved:
            raise Unproved from None
        self._admit(proved, request)
        return proved

    def _admit(self, proved: Proved, request: Request) -> None:
        """Note on the request who asks. Raises TooManyRequests."""
        subject = proved.subject
        request.identity = Identity(Kind.PASSWORD, subject.name, proved.authority, sort=subject.kind)
        if self._admitted is not None and subject.name:
            self._admitted(request)

    async def _post(self, request: Request) -> Answer:
        form = await self._form(request)
        self._check_service(form)
        grant = _first(form, "grant_type")
        if grant == "password":
            return await self._by_password(form, request)
        if grant == "refresh_token":
            return await self._by_refresh(form, request)
        if grant == _EXCHANGE:
            return await self._by_exchange(form, request)
        raise _refused("unsupported_grant_type", f"grant_type must be password, refresh_token or {_EXCHANGE}")

    async def _form(self, request: Request) -> Query:
        content_type = request.headers.get("content-type") or ""
        if content_type.partition(";")[0].strip().lower() != _FORM:
            raise _refused("invalid_request", f"send a form: Content-Type: {_FORM}")
        async with self._bodies.whole(request) as content:
            try:
                return _parsed(content.decode("ascii"))
            except UnicodeDecodeError:
                raise _refused(
                    "invalid_request", "what is not ASCII in a form must be percent-encoded"
                ) from None

    async def _by_password(self, form: Query, request: Request) -> Answer:
        name, password = _needed(form, "username"), _needed(form, "password")
        proved = await self._prove(name, password, request)
        return await self._answer(proved, form, offline=_is_offline(form))

    async def _by_refresh(self, form: Query, request: Request) -> Answer:
        token = _needed(form, "refresh_token")
        found = await self._refresh.prove(token) if self._refresh is not None else None
        if found is None:
            raise Unproved("the refresh token is not valid, or no longer: log in again")
        subject, until = found
        proved = self._issuer.proved(subject)
        proved = Proved(subject, proved.authority, min(proved.until, until))
        self._admit(proved, request)
        return await self._answer(proved, form, refresh=token if _is_offline(form) else None)

    async def _by_exchange(self, form: Query, request: Request) -> Answer:
        token = _needed(form, "subject_token")
        if _first(form, "subject_token_type") not in _ID_TOKENS or token.count(".") != _JWT_DOTS:
            raise _refused(
                "invalid_request", f"subject_token must be an id token, a JWT, of the type {_ID_TOKENS[0]}"
            )
        # An id token is proved as passwords are, by whatever name: its own, so that the failures of others with
        # theirs do not keep it out.
        name = f"id-token-{hashlib.sha256(token.encode()).hexdigest()[:16]}"
        proved = await self._prove(name, token, request)
        if proved.subject.kind != _WORKLOAD:
            raise Unproved
        refresh = await self._new_refresh(proved) if _is_offline(form) else None
        return await self._answer(proved, form, refresh=refresh, exchanged=True)

    async def _new_refresh(self, proved: Proved) -> str | None:
        """None also where the storage takes none: the client can keep the password instead, as it does with Basic."""
        if self._refresh is None:
            return None
        try:
            if proved.subject.kind == _WORKLOAD:
                return await self._refresh.create(proved.subject, self._workload_lifetime, extended=False)
            if proved.subject.kind in _REFRESHED:
                return await self._refresh.create(proved.subject, self._refresh_lifetime)
        except Unavailable as error:
            _log.warning("no refresh token can be made: %s", error)
        return None

    async def _answer(
        self,
        proved: Proved,
        asked: Query,
        *,
        offline: bool = False,
        refresh: str | None = None,
        exchanged: bool = False,
    ) -> Answer:
        """The token, with a new refresh token where the asker wants to be `offline`, or with the one that was shown."""
        issued = self._issuer.issue(proved, parse_scopes(asked.get("scope", ())))
        body: dict[str, object] = {
            "token": issued.token,
            "access_token": issued.token,
            "expires_in": issued.expires_in,
            "issued_at": datetime.fromtimestamp(issued.issued_at, UTC).strftime("%Y-%m-%dT%H:%M:%SZ"),
            "scope": format_scope(issued.granted),
        }
        if exchanged:
            body |= {"issued_token_type": _ACCESS_TOKEN, "token_type": "Bearer"}
        if offline:
            refresh = await self._new_refresh(proved)
        if refresh is not None:
            body["refresh_token"] = refresh
        return json_answer(200, body, [("cache-control", "no-store")])

    def _check_service(self, asked: Query) -> None:
        service = _first(asked, "service")
        if service and service != self._service:
            raise _refused("invalid_request", f"this is the token service of {self._service} and of no other")


def _parsed(text: str) -> Query:
    try:
        return (
            parse_qs(text, keep_blank_values=True, errors="strict", max_num_fields=_MOST_FIELDS)
            if text
            else {}
        )
    except UnicodeDecodeError:
        raise _refused("invalid_request", "what is percent-encoded must be UTF-8") from None
    except ValueError:
        raise _refused("invalid_request", f"send no more than {_MOST_FIELDS} parameters") from None


def _first(asked: Query, key: str) -> str | None:
    return next(iter(asked.get(key, ())), None)


def _needed(form: Query, key: str) -> str:
    value = _first(form, key)
    if not value:
        raise _refused("invalid_request", f"{key} is missing")
    return value


def _is_offline(form: Query) -> bool:
    return _first(form, "access_type") == "offline"


def _refused(error: str, message: str) -> Unsupported:
    """With the error code of OAuth2 (RFC 6749, "Error Response") beside our own."""
    return Unsupported(message, detail={"error": error})
