"""From the `Authorization` header to who asks."""

from __future__ import annotations

from binascii import a2b_base64, b2a_base64
from typing import TYPE_CHECKING, Any, NamedTuple

from cargohold.auth.identity import Identity, Kind
from cargohold.auth.protocols import Passwords, Proved, Unproved
from cargohold.auth.remembered import Entry, Remembered
from cargohold.auth.turns import Turns
from cargohold.types.errors import TooManyRequests
from cargohold.types.names import check_user_name

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from cargohold.auth.identity import Authority
    from cargohold.auth.protocols import Attempts, Tokens

LONGEST_HEADER = 32_768
"""Characters; longer ones are malformed. An id token in the place of a password needs some thousands."""
REFUSED_SECONDS = 60.0
"""For how long a login that did not hold is refused without being asked about again: clients try theirs often."""


class Malformed(Unproved):
    """The header cannot be read; the message tells its sender what to write, and holds nothing of it."""


Versions = tuple[tuple["Callable[[], int]", int], ...]
"""What tells the version of each source that something hangs on, and what it was then."""


class _Login(NamedTuple):
    """A login that held, the version that its source had then, and the identity that it gives."""

    proved: Proved
    source: Passwords
    version: int
    identity: Identity


class _Token(NamedTuple):
    """A token that held, and the versions of all sources then."""

    identity: Identity
    versions: Versions


Shown = Entry[Any]
"""What is remembered of a password or token that was shown, or of nothing: a `_Login`, a `_Token`, or nobody."""


class Login:
    """Finds out who asks. `anonymous` is what everybody may do; a source is asked before those that come after it.

    A password that was right is remembered for `remember` seconds (0: not at all), a token until it expires, both
    by a keyed hash: the password for the address that it came from alone, and no longer once that address is refused
    for its name. Else who is refused could go on guessing it. A source that has changed is asked whether it still
    knows the user, and is no longer believed about tokens; so neither costs a check of the password. Of one loop.
    """

    def __init__(
        self,
        passwords: Sequence[Passwords],
        tokens: Sequence[Tokens],
        *,
        anonymous: Authority,
        attempts: Attempts | None,
        remember: float,
    ) -> None:
        self._passwords = passwords
        self._tokens = tokens
        self._nobody = Identity(Kind.NOBODY, "", anonymous)
        self._nothing_shown = Entry(self._nobody)
        self._all_versions = [*(each.version for each in passwords), *(each.version for each in tokens)]
        self._attempts = attempts
        self._remember = remember
        self._turns = Turns()
        self._logins: Remembered[_Login] = Remembered()
        self._bearers: Remembered[_Token] = Remembered()
        self._refused: Remembered[list[int]] = Remembered()

    def find(self, authorization: str | None, client: str) -> Shown | None:
        """What is remembered of a header from an address, without a look at password or token.

        Passwords are remembered by the address, and tokens are not: nobody guesses those. What was found can be kept
        until `who` is None.
        """
        if authorization is None:
            return self._nothing_shown
        if len(authorization) > LONGEST_HEADER or not authorization.isascii():
            return None
        if authorization.startswith("Basic "):
            return self._logins.entry(_secret(client, authorization[6:]))
        if authorization.startswith("Bearer "):
            return self._bearers.entry(authorization[7:].encode())
        return None

    def who(self, shown: Shown) -> Identity | None:
        """Who asks with what was found; None where `identify` must find out."""
        if shown.is_over():
            return None
        kind = type(shown.found)
        if kind is _Token:
            return self._bearer(shown)
        if kind is _Login:
            login = self._login(shown)
            return None if login is None else login.identity
        return self._nobody

    @staticmethod
    def versions_of(shown: Shown) -> Versions:
        """On what it hangs, as long as it is not over, that `who` finds the same that it has just found."""
        found = shown.found
        if type(found) is _Login:
            return ((found.source.version, found.version),)
        return found.versions if type(found) is _Token else ()

    async def identify(self, authorization: str | None, client: str) -> Identity:
        """Who asks; `client` is the address to count failed logins for.

        Raises Unproved, Malformed where the header cannot be read, and TooManyRequests where logins have failed too
        often or too many wait.
        """
        if authorization is None:
            return self._nobody
        scheme, credentials = _split(authorization)
        if scheme == "basic":
            return (await self._prove(*_read_credentials(credentials), client)).identity
        if scheme == "bearer":
            return await self._verify(credentials)
        raise Malformed("the Authorization header must be Basic or Bearer")

    async def prove(self, name: str, password: str, client: str) -> Proved:
        """Who has this name and password. Raises as `identify` does."""
        return (await self._prove(name, password, client)).proved

    async def _prove(self, name: str, password: str, client: str) -> _Login:
        try:
            check_user_name(name)
        except ValueError as error:
            raise Malformed(str(error)) from None
        credentials = b2a_base64(f"{name}:{password}".encode("utf-8", "surrogatepass"), newline=False)
        secret = _secret(client, credentials.decode())
        login = self._known(secret, name, client)
        if login is not None:
            return login
        versions = self._versions()
        login = await self._ask_sources(secret, name, password, client)
        # Others may have failed meanwhile: of what is tried at once, the limit is told right from wrong.
        self._check_attempts(client, name)
        if login is None:
            self._refused.keep(secret, versions, seconds=REFUSED_SECONDS, until=float("inf"))
            if self._attempts is not None:
                self._attempts.failed(client, name)
            raise Unproved
        until = login.proved.until
        self._logins.keep(secret, login, seconds=self._remember, until=until, whose=(client, name))
        return login

    def _check_attempts(self, client: str, name: str) -> None:
        if self._attempts is None:
            return
        try:
            self._attempts.check(client, name)
        except TooManyRequests:
            self._logins.forget_all((client, name))
            raise

    def _known(self, secret: bytes, name: str, client: str) -> _Login | None:
        """The login that is remembered. None where sources must be asked; raises as `identify` where they may not."""
        entry = self._logins.entry(secret)
        login = None if entry is None else self._login(entry)
        if login is None:
            if self._refused.get(secret) == self._versions():
                raise Unproved  # It was told so a moment ago: to be told again is no guess.
            self._check_attempts(client, name)
        return login

    async def _ask_sources(self, secret: bytes, name: str, password: str, client: str) -> _Login | None:
        for source in self._passwords:
            if source.guessable:
                async with self._turns.of(client):
                    # Those who had their turn before may have come with the same, or have failed too often.
                    login = self._known(secret, name, client) or await _ask(source, name, password)
            else:
                login = await _ask(source, name, password)
            if login is not None:
                return login
        return None

    def _login(self, entry: Entry[_Login]) -> _Login | None:
        """The login that is remembered, with what it may do now."""
        login = entry.found
        version = login.source.version()
        if login.version == version:
            return login
        authority = login.source.authority(login.proved.subject)
        if authority is None:
            self._logins.forget(entry)
            return None
        proved = Proved(login.proved.subject, authority, login.proved.until)
        entry.found = _Login(proved, login.source, version, _identity(proved))
        return entry.found

    async def _verify(self, token: str) -> Identity:
        secret = token.encode()
        entry = self._bearers.entry(secret)
        identity = None if entry is None else self._bearer(entry)
        if identity is not None:
            return identity
        versions = tuple(zip(self._all_versions, self._versions(), strict=True))
        for source in self._tokens:
            try:
                identity, until = await source.verify(token)
            except Unproved:
                continue
            self._bearers.keep(secret, _Token(identity, versions), seconds=float("inf"), until=until)
            return identity
        raise Unproved

    def _bearer(self, entry: Entry[_Token]) -> Identity | None:
        # At each request of a pull: to make a list of them to compare takes twice as long.
        for version, then in entry.found.versions:
            if version() != then:
                self._bearers.forget(entry)
                return None
        return entry.found.identity

    def _versions(self) -> list[int]:
        # A token is as good as the key that signed it, and as the user or robot that it was issued to.
        return [version() for version in self._all_versions]


async def _ask(source: Passwords, name: str, password: str) -> _Login | None:
    version = source.version()
    proved = await source.prove(name, password)
    return None if proved is None else _Login(proved, source, version, _identity(proved))


def _secret(client: str, credentials: str) -> bytes:
    """What a login is remembered by; credentials are those of Basic. No address holds a NUL."""
    return f"{client}\0{credentials}".encode()


def read_basic(authorization: str) -> tuple[str, str]:
    """The name and password of a Basic header (RFC 7617). Raises Malformed."""
    scheme, credentials = _split(authorization)
    if scheme != "basic":
        raise Malformed("the Authorization header must be Basic")
    return _read_credentials(credentials)


def _split(authorization: str) -> tuple[str, str]:
    """The scheme in lower case, and what comes after it: ASCII without spaces."""
    scheme, _, credentials = authorization.strip(" ").partition(" ")
    credentials = credentials.lstrip(" ")
    if (
        len(authorization) > LONGEST_HEADER
        or not credentials.isascii()
        or " " in credentials
        or not credentials
    ):
        raise Malformed("the Authorization header must be a scheme, a space, and the credentials")
    return scheme.lower(), credentials


def _read_credentials(text: str) -> tuple[str, str]:
    try:
        name, colon, password = _decode(text).decode().partition(":")
    except ValueError:
        raise Malformed("the credentials of Basic must be Base64 of UTF-8, with its padding") from None
    if not colon or not name:
        raise Malformed("the credentials of Basic must be a user's name, a colon, and the password")
    return name, password


def _decode(text: str) -> bytes:
    """Base64 with its padding and nothing else. Raises ValueError."""
    if len(text) % 4 or text.endswith("==="):  # the strict mode passes over padding where none is wanted
        raise ValueError
    return a2b_base64(text, strict_mode=True)


def _identity(proved: Proved) -> Identity:
    return Identity(Kind.PASSWORD, proved.subject.name, proved.authority, sort=proved.subject.kind)
