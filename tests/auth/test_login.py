"""From the Authorization header to who asks."""

from __future__ import annotations

import asyncio
import base64
import time
from typing import TYPE_CHECKING

import pytest
from hypothesis import given
from hypothesis import strategies as st

from cargohold.auth.identity import Identity, Kind, Scope
from cargohold.auth.login import LONGEST_HEADER, Login, Malformed, read_basic
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


def identify(login: Login, authorization: str | None, client: str = "192.0.2.1") -> Identity:
    return asyncio.run(login.identify(authorization, client))


def test_nobody() -> None:
    """Without a header nobody asks, with what everybody may do; no source is asked."""
    users = Known({})
    login = login_of([users])
    for identity in (identify(login, None), login.remembered(None)):
        assert identity == Identity(Kind.NOBODY, "", NOTHING)
    assert users.asked == []


@pytest.mark.parametrize("scheme", ["Basic", "basic", "BASIC", "bAsIc", "Basic ", " Basic  "])
@pytest.mark.parametrize("password", ["secret", "a:b:c", ":", " sp aces ", "pässwörd", "\u0000", "x" * 500])
def test_basic(scheme: str, password: str) -> None:
    """The scheme is known in any case, and the password may be anything, colons included."""
    login = login_of([Known({"ann": password})])
    identity = identify(login, basic("ann", password, scheme))
    assert (identity.kind, identity.name, identity.scope) == (Kind.PASSWORD, "ann", None)
    assert read_basic(basic("ann", password, scheme)) == ("ann", password)


def encoded(content: bytes) -> str:
    return "Basic " + base64.b64encode(content).decode()


MALFORMED = [
    "",
    " ",
    "Basic",
    "Basic ",
    "Bearer",
    "Bearer  ",
    "Basic Basic YTpi",
    "Basic YTpi YTpi",
    "Basic YTpiY",
    "Basic YTpiYw",
    "Basic YTpiYw=",
    "Basic YTpiYw===",
    "Basic YTpi=",
    "Basic YTpi====",
    "Basic YTpiY===",
    "Basic YT==piYw",
    "Basic =YTpi",
    "Basic YT-_",
    "Basic YT*pi",
    "Basic YTpi\t",
    "Basic\tYTpi",
    "Basic YTpi\n",
    'Basic "YTpi"',
    "Basic YTp\u00ef",
    "Basic YTpi, Basic YTpi",
    "YTpi",
    "Digest username=ann",
    "Negotiate YTpi",
    "Bearer a b",
    "Bearer t\u00f6ken",
    "Bearer \udcff",
    encoded(b"ann"),
    encoded(b":secret"),
    encoded(b":"),
    encoded(b""),
    encoded(b"\xff:secret"),
    encoded(b"ann:\xff"),
    encoded(b"an\0n:secret"),
    encoded(b"an\nn:secret"),
    encoded(b" ann:secret"),
    "Basic " + "A" * LONGEST_HEADER,
    "Bearer " + "A" * LONGEST_HEADER,
]


@pytest.mark.parametrize("authorization", MALFORMED)
def test_malformed(authorization: str) -> None:
    """What cannot be read is refused by a message that holds nothing of it, asks no source, and counts as no guess."""
    users, tokens, attempts = Known({"ann": "secret"}), Issued({"a": FOREVER}), Counted()
    login = login_of([users], [tokens], attempts=attempts)
    assert login.remembered(authorization) is None
    with pytest.raises(Malformed) as refused:
        identify(login, authorization)
    words = str(refused.value)
    assert words.split()
    assert not any(word in words for word in ("secret", "YTpi", "ann", "ken"))
    assert users.asked == tokens.asked == []
    assert attempts.checked == attempts.failures == []


def test_malformed_is_not_remembered_for_another() -> None:
    """Nothing but the very form that Basic has finds a login that is remembered."""
    login = login_of([Known({"a": "bc"})])
    right = basic("a", "bc")
    identify(login, right)
    assert login.remembered(right) is not None
    for wrong in (
        right.rstrip("="),
        right + "=",
        right + "\n",
        right.replace("Y", "Y\n"),
        right + "x",
        right + " ",
    ):
        assert login.remembered(wrong) is None


@given(st.text())
def test_any_header(authorization: str) -> None:
    """Whatever is sent, it is refused in order."""
    login = login_of([Known({})], [Issued({})])
    assert login.remembered(authorization) is None
    with pytest.raises(Unproved):
        identify(login, authorization)


@given(
    st.text(st.characters(codec="utf-8", exclude_characters=":"), min_size=1),
    st.text(st.characters(codec="utf-8")),
)
def test_credentials_are_read_as_they_were_written(name: str, password: str) -> None:
    """A name without a colon and any password come out as they went in."""
    assert read_basic(basic(name, password)) == (name, password)


@pytest.mark.parametrize("authorization", [*MALFORMED[:5], "Bearer YTpi", "Digest YTpi", encoded(b":x")])
def test_what_is_not_basic(authorization: str) -> None:
    """Where Basic is what is wanted, nothing else is read."""
    with pytest.raises(Malformed):
        read_basic(authorization)


def test_refusals_look_alike() -> None:
    """A user who is not there and a password that is wrong raise the same, without a word of difference."""
    login, refusals = login_of([Known({"ann": "secret"})]), []
    for authorization in (basic("ann", "x"), basic("eve", "x"), basic("ann", "")):
        with pytest.raises(Unproved) as refused:
            identify(login, authorization)
        refusals.append((type(refused.value), refused.value.args))
    assert set(refusals) == {(Unproved, ())}


def test_remembered() -> None:
    """A login that held is known without asking again, by header and by name and password alike."""
    users = Known({"ann": "secret"})
    login, header = login_of([users]), basic("ann", "secret")
    assert login.remembered(header) is None
    first = identify(login, header)
    assert login.remembered(header) is first
    assert identify(login, header) is first
    assert identify(login, basic("ann", "secret", "basic")) is first
    assert asyncio.run(login.prove("ann", "secret", "")).subject.name == "ann"
    assert users.asked == ["ann"]


def test_a_wrong_password_is_one_guess_however_often_it_is_told() -> None:
    """What failed is not asked about or counted again for a while; once anything has changed, it is."""
    users, attempts = Known({"ann": "secret"}), Counted()
    login, header = login_of([users], attempts=attempts), basic("ann", "better")
    for _ in range(3):
        with pytest.raises(Unproved):
            identify(login, header)
    assert (users.asked, len(attempts.failures)) == (["ann"], 1)
    users.change(ann="better")
    assert identify(login, header).name == "ann"
    assert users.asked == ["ann"] * 2


def test_what_proves_a_password_remembers_it() -> None:
    """A login by name and password is known by its header too."""
    login = login_of([Known({"ann": "secret"})])
    proved = asyncio.run(login.prove("ann", "secret", ""))
    assert proved.subject == Subject("user", "ann", key="ann", stamp="secret")
    identity = login.remembered(basic("ann", "secret"))
    assert identity is not None
    assert identity.authority is proved.authority


def test_names_and_passwords_are_not_run_together() -> None:
    """A name with a colon is none, so that no part of a password can be taken for a name."""
    login = login_of([Known({"ann": "b:c", "ann:b": "c"})])
    asyncio.run(login.prove("ann", "b:c", ""))
    with pytest.raises(Unproved):
        asyncio.run(login.prove("ann:b", "c", ""))


def test_not_remembered_where_told_so() -> None:
    """Remembering for no time asks each time."""
    users = Known({"ann": "secret"})
    login, header = login_of([users], remember=0), basic("ann", "secret")
    for _ in range(3):
        assert identify(login, header).name == "ann"
        assert login.remembered(header) is None
    assert users.asked == ["ann"] * 3


def test_not_remembered_beyond_its_end() -> None:
    """What ends, such as a robot or an id token, is not remembered any longer than it holds."""
    users = Known({"ann": "secret"}, until=time.time() - 1)
    login, header = login_of([users]), basic("ann", "secret")
    identify(login, header)
    assert login.remembered(header) is None


def test_a_change_forgets_whom_it_concerns() -> None:
    """After a change of their source a user who is gone, or has another password, is asked again.

    It is at the next request. One who stands as before is not asked, and may do what they may now.
    """
    users = Known({"ann": "secret", "bob": "x", "eve": "y"})
    login = login_of([users])
    headers = {name: basic(name, password) for name, password in users.users.items()}
    before = {name: identify(login, header) for name, header in headers.items()}
    users.asked.clear()
    users.change(ann="secret", bob="other")
    assert login.remembered(headers["bob"]) is None
    assert login.remembered(headers["eve"]) is None
    again = login.remembered(headers["ann"])
    assert again is not None
    assert again.name == "ann"
    assert again.authority is not before["ann"].authority
    assert login.remembered(headers["ann"]) is again
    assert users.asked == []
    for name in ("bob", "eve"):
        with pytest.raises(Unproved):
            identify(login, headers[name])
    users.change(ann="secret", bob="x", eve="y")
    assert login.remembered(headers["bob"]) is None
    assert identify(login, headers["bob"]).name == "bob"


def test_a_change_does_not_make_a_login_last() -> None:
    """A login ends when it would have ended, however often its source changes."""
    users = Known({"ann": "secret"})
    login, header = login_of([users], remember=0.2), basic("ann", "secret")
    identify(login, header)
    end = time.monotonic() + 5
    while login.remembered(header) is not None:
        users.change(ann="secret")
        assert time.monotonic() < end


def test_a_change_of_another_source_is_none() -> None:
    """What one source knows does not hang on another."""
    users, others = Known({"ann": "secret"}), Known({})
    login, header = login_of([others, users]), basic("ann", "secret")
    identity = identify(login, header)
    others.change(bob="x")
    assert login.remembered(header) is identity


def test_a_change_while_it_is_proved() -> None:
    """A login that was begun before a change is held against the change before it is believed again."""
    users = Known({"ann": "secret"})
    login, header = login_of([users]), basic("ann", "secret")

    async def ask() -> Identity:
        users.wait = asyncio.Event()
        asked = asyncio.ensure_future(login.identify(header, ""))
        await asyncio.sleep(0)
        users.changes += 1
        users.wait.set()
        identity = await asked
        users.users = {}
        return identity

    assert asyncio.run(ask()).name == "ann"
    assert login.remembered(header) is None


def test_sources_in_turn() -> None:
    """The first source that knows the password counts, and those after it are not asked."""
    first, second, third = Known({"x": "1"}), Known({"ann": "secret"}), Known({"ann": "secret"})
    login = login_of([first, second, third])
    assert identify(login, basic("ann", "secret")).name == "ann"
    assert (first.asked, second.asked, third.asked) == (["ann"], ["ann"], [])


def test_failures_are_counted() -> None:
    """Each failure counts for its address and name; a login that holds, or is remembered, counts for nothing."""
    attempts = Counted()
    login = login_of([Known({"ann": "secret"}), Known({})], attempts=attempts)
    for client, name, password in [("1.2.3.4", "ann", "x"), ("::1", "eve", "secret")]:
        with pytest.raises(Unproved):
            identify(login, basic(name, password), client)
    assert attempts.failures == [("1.2.3.4", "ann"), ("::1", "eve")]
    for _ in range(3):
        identify(login, basic("ann", "secret"), "1.2.3.4")
    # Before a source is asked, and again before its answer is told.
    assert attempts.checked == [("1.2.3.4", "ann")] * 2 + [("::1", "eve")] * 2 + [("1.2.3.4", "ann")] * 2
    assert len(attempts.failures) == 2


def test_what_nobody_guesses_is_not_counted() -> None:
    """Where a source is sure that a password is of its sort and does not hold, no other is asked and none counted."""

    class Sure(Known):
        async def prove(self, name: str, password: str) -> Proved | None:
            raise Unproved(f"{await super().prove(name, password)}")

    sure, users, attempts = Sure({}), Known({"ann": "secret"}), Counted()
    with pytest.raises(Unproved):
        identify(login_of([sure, users], attempts=attempts), basic("ann", "secret"))
    assert (sure.asked, users.asked, attempts.failures) == (["ann"], [], [])


def test_too_many_failures() -> None:
    """After too many failures no source is asked, though the password be right; who is remembered goes on."""
    users, attempts = Known({"ann": "secret", "bob": "x"}), Counted(2)
    login = login_of([users], attempts=attempts)
    identify(login, basic("bob", "x"))
    for number in range(2):
        with pytest.raises(Unproved):
            asyncio.run(login.prove("ann", f"wrong {number}", ""))
    users.asked.clear()
    with pytest.raises(TooManyRequests):
        identify(login, basic("ann", "secret"))
    with pytest.raises(TooManyRequests):
        asyncio.run(login.prove("ann", "secret", ""))
    assert users.asked == []
    assert identify(login, basic("bob", "x")).name == "bob"
    attempts.failures.clear()
    assert identify(login, basic("ann", "secret")).name == "ann"


def test_bearer() -> None:
    """A token is verified by the first source that knows it, and remembered till it expires."""
    other, tokens, attempts = Issued({}), Issued({"token": time.time() + 60}), Counted(0)
    login = login_of([], [other, tokens], attempts=attempts)
    for scheme in ("Bearer", "bearer", "BEARER", "Bearer "):
        assert identify(login, f"{scheme} token").name == "token"
    assert login.remembered("Bearer token") == Identity(Kind.TOKEN, "token", NOTHING, NOTHING)
    assert (other.asked, tokens.asked) == (["token"], ["token"])


def test_bearer_that_does_not_hold() -> None:
    """A token that no source knows is no login, and no guess either: clients come with expired ones all the time."""
    attempts = Counted(0)
    login = login_of([Known({})], [Issued({}), Issued({})], attempts=attempts)
    with pytest.raises(Unproved):
        identify(login, "Bearer token")
    assert attempts.checked == attempts.failures == []
    with pytest.raises(Unproved):
        identify(login_of(), "Bearer token")


def test_bearer_that_has_expired() -> None:
    """A token is not remembered beyond its end."""
    tokens = Issued({"token": time.time() - 1})
    login = login_of([], [tokens])
    identify(login, "Bearer token")
    assert login.remembered("Bearer token") is None


def test_bearer_is_remembered_though_passwords_are_not() -> None:
    """What a token says needs no remembering of passwords."""
    login = login_of([], [Issued({"token": FOREVER})], remember=0)
    identify(login, "Bearer token")
    assert login.remembered("Bearer token") is not None


@pytest.mark.parametrize("which", ["passwords", "tokens"])
def test_any_change_has_tokens_verified_again(which: str) -> None:
    """A token is verified again once any source has changed: its key may be gone, or the user it was issued to."""
    users, tokens = Known({}), Issued({"token": FOREVER})
    login = login_of([users], [tokens])
    identify(login, "Bearer token")
    assert login.remembered("Bearer token") is not None
    changed: Known | Issued = users if which == "passwords" else tokens
    changed.changes += 1
    assert login.remembered("Bearer token") is None
    assert identify(login, "Bearer token").name == "token"
    assert len(tokens.asked) == 2
    tokens.tokens = {}
    changed.changes += 1
    with pytest.raises(Unproved):
        identify(login, "Bearer token")


def test_tokens_do_not_crowd_out_logins() -> None:
    """Whoever comes with ever new tokens, which anybody may be given, makes nobody's password be checked again."""
    tokens = {f"t{number}": FOREVER for number in range(5000)}
    login = login_of([Known({"ann": "secret"})], [Issued(tokens)])
    identify(login, basic("ann", "secret"))

    async def ask() -> None:
        for token in tokens:
            await login.identify(f"Bearer {token}", "")

    asyncio.run(ask())
    assert login.remembered(basic("ann", "secret")) is not None
    assert login.remembered("Bearer t0") is None
    assert login.remembered("Bearer t4999") is not None


def test_a_token_is_no_password() -> None:
    """What is remembered of one scheme is nothing to the other."""
    login = login_of([Known({"ann": "secret"})], [Issued({"YW5uOnNlY3JldA==": FOREVER})])
    identify(login, basic("ann", "secret"))
    assert login.remembered("Bearer YW5uOnNlY3JldA==") is None
    identify(login, "Bearer YW5uOnNlY3JldA==")
    assert login.remembered("Bearer ann:secret") is None
    known = login.remembered(basic("ann", "secret"))
    assert known is not None
    assert known.kind is Kind.PASSWORD


def test_secrets_are_not_kept() -> None:
    """After a login neither password nor token is anywhere in what the login keeps."""
    login = login_of([Known({"ann": "s3cr3t-pw"})], [Issued({"t0k3n": FOREVER})])
    identify(login, basic("ann", "s3cr3t-pw"))
    login._bearers.keep(b"t0k3n", login._bearers.get(b"t0k3n"), seconds=1, until=FOREVER)  # type: ignore[arg-type]
    kept = repr([list(login._logins._entries), list(login._bearers._entries)])
    for secret in ("s3cr3t-pw", "t0k3n", base64.b64encode(b"ann:s3cr3t-pw").decode()):
        assert secret not in kept
