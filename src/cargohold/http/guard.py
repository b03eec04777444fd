"""The one place that says who may do what: every operation is asked for its needs here, and nowhere else.

A refusal tells the asker nothing of what is stored: it is made before anything is looked up, of the login and the
names in the request alone.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from cargohold.auth.identity import Kind
from cargohold.auth.login import Malformed
from cargohold.auth.protocols import Unproved
from cargohold.http.admissions import Admission, Admissions
from cargohold.types.errors import Denied, Unauthorized
from cargohold.types.operations import Access, Permission
from cargohold.types.scopes import format_scope

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable

    from cargohold.auth.identity import Identity
    from cargohold.auth.login import Login
    from cargohold.messages import Request
    from cargohold.types.operations import Operation

    # What a request is told to log in with: what it lacks, and what was wrong with what it had.
    Challenge = Callable[[Request, Iterable[Access], str | None], str]


class Guard:
    """Lets through who may, and tells everyone else what to do about it.

    `admitted` is called with each request whose asker is known by name. What is `unguarded` everyone may do, whatever
    it needs.
    """

    def __init__(
        self,
        login: Login,
        challenge: Challenge,
        *,
        admitted: Callable[[Request], None] | None = None,
        unguarded: frozenset[type[Operation]] = frozenset(),
    ) -> None:
        self._login = login
        self._challenge = challenge
        self._admitted = admitted
        self._unguarded = unguarded
        self._seen = Admissions()

    def admits_again(self, operation: Operation, request: Request) -> bool:
        """Let through who was admitted with the same headers before, if all that this hung on is as it was; whether so.

        To be asked before `admit`, which would come to the same and is a coroutine.
        """
        seen = self._seen.of(request.headers, request.client)
        if seen is None or seen.operation is not operation or seen.shown.is_over():
            return False
        for version, then in seen.versions:
            if version() != then:
                return False
        request.identity = seen.identity
        if self._admitted is not None:
            self._let_in(request, seen.identity)
        return True

    async def admit(self, operation: Operation, request: Request) -> None:
        """Find out who asks, note it on the request, and hold it against what the operation needs.

        Raises Unauthorized, with a challenge, where no login was shown, where it does not hold, and where a token does
        not reach so far (a client asks for a wider one only then); Denied where a password does hold, and is not
        enough; TooManyRequests after too many logins that failed.
        """
        headers, client, login = request.headers, request.client, self._login
        needs = operation.needs()
        if not needs or type(operation) in self._unguarded:
            return
        authorization = self._authorization(request, needs)
        seen = self._seen.of(headers, client)
        shown = login.find(authorization, client) if seen is None else seen.shown
        identity = None if shown is None else login.who(shown)
        if identity is None:
            shown, identity = None, await self._identify(request, needs, authorization)
        self._let_in(request, identity)
        for access in needs:
            if not identity.may(access.permission, access.repository):
                raise self._refusal(identity, request, needs, access)
        if shown is not None:
            versions = login.versions_of(shown)
            self._seen.note(headers, Admission(client, shown, operation, identity, versions))

    def _let_in(self, request: Request, identity: Identity) -> None:
        request.identity = identity
        if self._admitted is not None and identity.name:
            self._admitted(request)

    def _authorization(self, request: Request, needs: Iterable[Access]) -> str | None:
        """The header; None where there is none. Raises Unauthorized where it cannot be read."""
        shown, lines = request.headers.get("authorization"), request.headers.get_all("authorization")
        if lines != [shown] and (lines or "authorization" in request.headers):
            raise self._unproved(request, needs, "write one Authorization header, in ASCII")
        return shown

    async def _identify(self, request: Request, needs: Iterable[Access], shown: str | None) -> Identity:
        try:
            return await self._login.identify(shown, request.client)
        except Malformed as problem:
            raise self._unproved(request, needs, str(problem)) from None
        except Unproved:
            if shown is not None and shown[:7].lower() == "bearer ":
                message, error = "the token is not valid, or no longer", "invalid_token"
            else:
                message, error = "unknown user, or wrong password", None
            raise self._unproved(request, needs, message, error) from None

    def _unproved(
        self, request: Request, needs: Iterable[Access], message: str, error: str | None = None
    ) -> Unauthorized:
        return Unauthorized(message, headers=[self._header(request, needs, error)])

    def _refusal(
        self, identity: Identity, request: Request, needs: tuple[Access, ...], refused: Access
    ) -> Unauthorized | Denied:
        detail = {"action": refused.permission.value}
        if refused.repository is not None:
            detail["repository"] = refused.repository
        if identity.kind is Kind.PASSWORD:
            return Denied(detail=detail)
        if identity.kind is Kind.NOBODY:
            return Unauthorized(detail=detail, headers=[self._header(request, needs, None)])
        return Unauthorized(
            "the token does not allow this: it is for something else or for nobody, or its user may not do it",
            detail=detail,
            headers=[self._header(request, needs, "insufficient_scope")],
        )

    def _header(self, request: Request, needs: Iterable[Access], error: str | None) -> tuple[str, str]:
        return "www-authenticate", self._challenge(request, needs, error)


def basic_challenge(_request: Request, _needs: Iterable[Access], _error: str | None) -> str:
    """For user and password at every request (RFC 7617)."""
    return 'Basic realm="cargohold", charset="UTF-8"'


class BearerChallenge:
    """For a token, from a token service (RFC 6750, and the Docker token specification).

    `realm` is its address; where it is a path, it is that of the server that was asked, or of `public_url`.
    """

    def __init__(self, realm: str, service: str, *, public_url: str | None = None) -> None:
        self._realm = f"{public_url}{realm}" if public_url and realm.startswith("/") else realm
        self._service = service

    def __call__(self, request: Request, needs: Iterable[Access], error: str | None) -> str:
        """The header's value."""
        realm = self._realm
        if realm.startswith("/"):
            realm = f"{request.scheme}://{request.host or 'localhost'}{realm}"
        challenge = f'Bearer realm="{realm}",service="{self._service}"'
        scope = format_scope(_asked(needs))
        if scope:
            challenge += f',scope="{scope}"'
        return f'{challenge},error="{error}"' if error else challenge


def _asked(needs: Iterable[Access]) -> Iterable[Access]:
    """What to ask a token for: who pushes looks first whether it is there already."""
    for access in needs:
        if access.permission is Permission.PUSH:
            yield Access(Permission.PULL, access.repository)
        yield access
