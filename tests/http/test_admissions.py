"""Who has been let in with the same headers is let in again, for as long as all that it hung on is the same."""

from __future__ import annotations

import asyncio
import gc
import time
from typing import TYPE_CHECKING, cast

import pytest

from cargohold.auth.identity import Identity, Kind, Scope
from cargohold.auth.login import Login
from cargohold.auth.protocols import Proved
from cargohold.auth.remembered import Entry
from cargohold.http.admissions import Admission, Admissions
from cargohold.http.body import NO_BODY
from cargohold.http.guard import Guard, basic_challenge
from cargohold.http.http1.head import Heads
from cargohold.http.router import route
from cargohold.messages import Request
from cargohold.types.errors import Denied, RegistryError, TooManyRequests, Unauthorized
from cargohold.types.names import RepositoryName
from cargohold.types.operations import Access, Permission
from tests.auth.sources import FOREVER, NOTHING, Counted, Issued, Known, basic

if TYPE_CHECKING:
    from cargohold.auth.identity import Authority
    from cargohold.auth.protocols import Subject
    from cargohold.messages import RequestHeaders

PULL = Scope([Access(Permission.PULL, RepositoryName("one"))])
HERE, THERE = "192.0.2.1", "192.0.2.2"
MANIFEST = "/v2/one/manifests/latest"


class Pullers(Known):
    """Users who may do what is `given`: at first pull from one repository."""

    given: Authority = PULL

    async def prove(self, name: str, password: str) -> Proved | None:
        proved = await super().prove(name, password)
        return None if proved is None else Proved(proved.subject, self.given, proved.until)

    def authority(self, subject: Subject) -> Authority | None:
        return None if super().authority(subject) is None else self.given


class Pulling(Issued):
    """Tokens to pull from one repository."""

    async def verify(self, token: str) -> tuple[Identity, float]:
        _, until = await super().verify(token)
        return Identity(Kind.TOKEN, "ann", PULL, PULL), until


class Door:
    """A guard, and heads that are read as our own server reads them: for the same bytes the same headers."""

    def __init__(self, users: Known, tokens: Issued, attempts: Counted | None = None) -> None:
        login = Login([users], [tokens], anonymous=NOTHING, attempts=attempts, remember=300)
        self.counted: list[str] = []
        self._heads = Heads()
        self._guard = Guard(login, basic_challenge, admitted=self._count)

    def _count(self, request: Request) -> None:
        self.counted.append(request.identity.name)

    def ask(self, *logins: str, path: str = MANIFEST, client: str = HERE, method: str = "GET") -> Identity:
        """Who is let in. Raises RegistryError."""
        lines = "".join(f"Authorization: {login}\r\n" for login in logins)
        head = self._heads.read(f"{method} {path} HTTP/1.1\r\nHost: a\r\n{lines}\r\n".encode())
        request = Request(head.method, head.path, head.query, head.headers, NO_BODY, client=client)
        operation = route(head.method, head.path, head.query)
        if not self._guard.admits_again(operation, request):
            asyncio.run(self._guard.admit(operation, request))
        return request.identity

    def refuses(self, *logins: str, path: str = MANIFEST, client: str = HERE) -> type[RegistryError]:
        with pytest.raises(RegistryError) as caught:
            self.ask(*logins, path=path, client=client)
        return type(caught.value)


ANN, TOKEN = basic("ann", "secret"), "Bearer t"


@pytest.fixture
def users() -> Pullers:
    return Pullers({"ann": "secret"})


@pytest.fixture
def tokens() -> Pulling:
    return Pulling({"t": FOREVER})


@pytest.fixture
def attempts() -> Counted:
    return Counted()


@pytest.fixture
def door(users: Pullers, tokens: Pulling, attempts: Counted) -> Door:
    """One that ann has passed by password and by token, often enough to be remembered."""
    made = Door(users, tokens, attempts)
    for _ in range(4):
        assert [made.ask(login).name for login in (ANN, TOKEN)] == ["ann", "ann"]
    assert (users.asked, tokens.asked) == (["ann"], ["t"])
    made.counted.clear()
    return made


@pytest.mark.parametrize("login", [ANN, TOKEN])
def test_every_request_is_counted_for_its_user(door: Door, login: str) -> None:
    """However often a login was seen before, each request counts for the limit of its user."""
    first = door.ask(login)
    assert all(door.ask(login) is first for _ in range(5))
    assert door.counted == ["ann"] * 6


def test_a_change_of_a_password_counts_for_the_next_request(door: Door, users: Pullers) -> None:
    """The same request is refused as soon as the password is another, and let in when it is the old one again."""
    users.change(ann="other")
    assert [door.refuses(login) for login in (ANN, ANN)] == [Unauthorized] * 2
    users.change(ann="secret")
    assert [door.ask(ANN).name for _ in range(4)] == ["ann"] * 4


def test_a_change_of_what_is_allowed_counts_for_the_next_request(door: Door, users: Pullers) -> None:
    """Who may do nothing any more is refused the very request that was let in before."""
    users.given = NOTHING
    users.changes += 1
    assert [door.refuses(ANN) for _ in range(3)] == [Denied] * 3
    users.given = PULL
    users.changes += 1
    assert [door.ask(ANN).name for _ in range(3)] == ["ann"] * 3


def test_a_token_ends_with_what_it_hangs_on(door: Door, users: Pullers, tokens: Pulling) -> None:
    """A token is verified again after any change, and refused where it holds no longer."""
    for source in (users, tokens):
        tokens.tokens = {}
        source.changes += 1
        assert [door.refuses(TOKEN) for _ in range(2)] == [Unauthorized] * 2
        tokens.tokens = {"t": FOREVER}
        assert [door.ask(TOKEN).name for _ in range(3)] == ["ann"] * 3


def test_a_token_ends_in_time(users: Pullers, monkeypatch: pytest.MonkeyPatch) -> None:
    """A token that was let in is refused from its expiry on."""
    end = time.time() + 60
    tokens = Pulling({"t": end})
    door = Door(users, tokens)
    assert [door.ask(TOKEN).name for _ in range(4)] == ["ann"] * 4
    tokens.tokens = {}
    monkeypatch.setattr(time, "time", lambda: end)
    assert [door.refuses(TOKEN) for _ in range(2)] == [Unauthorized] * 2


def test_the_same_headers_from_another_address(door: Door, users: Pullers, attempts: Counted) -> None:
    """A password is remembered for its address alone, and no longer where that is refused for its name."""
    assert [door.ask(ANN, client=THERE).name for _ in range(3)] == ["ann"] * 3
    assert users.asked == ["ann"] * 2
    attempts.most = 0
    assert door.refuses(basic("ann", "wrong")) is TooManyRequests
    assert door.refuses(ANN) is TooManyRequests
    assert door.ask(ANN, client=THERE).name == "ann"
    assert door.ask(TOKEN).name == "ann"


@pytest.mark.parametrize("login", [ANN, TOKEN])
def test_the_same_headers_for_something_else(door: Door, login: str) -> None:
    """What one may do is looked at for each operation, also where its headers were seen before."""
    refused = Denied if login == ANN else Unauthorized
    for _ in range(3):
        assert door.ask(login).name == "ann"
        assert door.ask(login, path="/v2/").name == "ann"
        assert door.refuses(login, path="/v2/two/manifests/latest") is refused
        assert door.refuses(login, path="/v2/_catalog") is refused
    door.counted.clear()
    door.ask(login, path="/auth/token")
    assert door.counted == []


def test_who_shows_nothing_is_refused_each_time(door: Door) -> None:
    """Without a login nothing is remembered but that there is none; two are no login."""
    assert [door.refuses() for _ in range(3)] == [Unauthorized] * 3
    assert [door.refuses(ANN, ANN) for _ in range(3)] == [Unauthorized] * 3


def admission(client: str) -> Admission:
    identity = Identity(Kind.NOBODY, "", NOTHING)
    return Admission(client, Entry(identity), route("GET", MANIFEST, ""), identity, ())


def headers() -> RequestHeaders:
    return Heads().read(b"GET / HTTP/1.1\r\nHost: a\r\n\r\n").headers


def test_nothing_is_kept_longer_than_its_headers() -> None:
    """What was noted goes with the headers, and is not found for others that come to lie where they did."""
    admissions, first = Admissions(), admission(HERE)
    for _ in range(1_000):
        given = headers()
        assert admissions.of(given, HERE) is None
        for _ in range(2):
            admissions.note(given, first)
        assert admissions.of(given, HERE) is first
        assert admissions.of(given, THERE) is None
    del given
    gc.collect()
    assert len(admissions) == 0


class Bare(dict[str, str]):
    """Headers of a server whose objects cannot be referred to weakly."""

    __slots__ = ()

    def get_all(self, key: str) -> list[str]:
        return [self[key]] if key in self else []


def test_headers_that_cannot_be_referred_to() -> None:
    """They are no fault, and nothing is noted."""
    admissions, given = Admissions(), cast("RequestHeaders", Bare(accept="a"))
    admissions.note(given, admission(HERE))
    assert admissions.of(given, HERE) is None
    assert len(admissions) == 0
