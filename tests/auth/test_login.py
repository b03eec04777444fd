"""From the Authorization header to who asks."""

from __future__ import annotations

import asyncio
import base64
import time

import pytest
from hypothesis import given
from hypothesis import strategies as st

from cargohold.auth.identity import Identity, Kind
from cargohold.auth.login import LONGEST_HEADER, Malformed, read_basic
from cargohold.auth.protocols import Proved, Unproved
from cargohold.types.errors import TooManyRequests
from tests.auth.sources import (
    FOREVER,
    HERE,
    NOTHING,
    Counted,
    Issued,
    Known,
    basic,
    identify,
    login_of,
    remembered,
)


def test_nobody() -> None:
    """Without a header nobody asks, with what everybody may do; no source is asked."""
    users = Known({})
    login = login_of([users])
    for identity in (identify(login, None), remembered(login, None)):
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
    assert remembered(login, authorization) is None
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
    assert remembered(login, right) is not None
    for wrong in (
        right.rstrip("="),
        right + "=",
        right + "\n",
        right.replace("Y", "Y\n"),
        right + "x",
        right + " ",
    ):
        assert remembered(login, wrong) is None


@given(st.text())
def test_any_header(authorization: str) -> None:
    """Whatever is sent, it is refused in order."""
    login = login_of([Known({})], [Issued({})])
    assert remembered(login, authorization) is None
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


def test_sources_in_turn() -> None:
    """The first source that knows the password counts, and those after it are not asked."""
    first, second, third = Known({"x": "1"}), Known({"ann": "secret"}), Known({"ann": "secret"})
    login = login_of([first, second, third])
    assert identify(login, basic("ann", "secret")).name == "ann"
    assert (first.asked, second.asked, third.asked) == (["ann"], ["ann"], [])


def test_failures_are_counted() -> None:
    """Each failure counts for its address and name; a login that holds, or is remembered, counts for nothing."""
    attempts = Counted()
    login = login_of([Known({"ann": "secret"})], attempts=attempts)
    for client, name, password in [("1.2.3.4", "ann", "x"), ("::1", "eve", "secret")]:
        with pytest.raises(Unproved):
            identify(login, basic(name, password), client)
    assert attempts.failures == [("1.2.3.4", "ann"), ("::1", "eve")]
    for _ in range(3):
        identify(login, basic("ann", "secret"), "1.2.3.4")
    # Before it waits for its turn, when it has its turn, and again before the answer is told.
    assert attempts.checked == [("1.2.3.4", "ann")] * 3 + [("::1", "eve")] * 3 + [("1.2.3.4", "ann")] * 3
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
            asyncio.run(login.prove("ann", f"wrong {number}", HERE))
    users.asked.clear()
    with pytest.raises(TooManyRequests):
        identify(login, basic("ann", "secret"))
    with pytest.raises(TooManyRequests):
        asyncio.run(login.prove("ann", "secret", HERE))
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
    assert remembered(login, "Bearer token") == Identity(Kind.TOKEN, "token", NOTHING, NOTHING)
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
    assert remembered(login, "Bearer token") is None


def test_bearer_is_remembered_though_passwords_are_not() -> None:
    """What a token says needs no remembering of passwords."""
    login = login_of([], [Issued({"token": FOREVER})], remember=0)
    identify(login, "Bearer token")
    assert remembered(login, "Bearer token") is not None


@pytest.mark.parametrize("which", ["passwords", "tokens"])
def test_any_change_has_tokens_verified_again(which: str) -> None:
    """A token is verified again once any source has changed: its key may be gone, or the user it was issued to."""
    users, tokens = Known({}), Issued({"token": FOREVER})
    login = login_of([users], [tokens])
    identify(login, "Bearer token")
    assert remembered(login, "Bearer token") is not None
    changed: Known | Issued = users if which == "passwords" else tokens
    changed.changes += 1
    assert remembered(login, "Bearer token") is None
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
    assert remembered(login, basic("ann", "secret")) is not None
    assert remembered(login, "Bearer t0") is None
    assert remembered(login, "Bearer t4999") is not None


def test_long_tokens_do_not_fill_the_memory() -> None:
    """A token of many accesses takes more room than one of few: of those that anybody is given 128 are remembered."""
    tokens = {f"{number:016}" * 1024: FOREVER for number in range(200)}
    login = login_of([], [Issued(tokens)])

    async def ask() -> None:
        for token in tokens:
            await login.identify(f"Bearer {token}", "")

    asyncio.run(ask())
    assert sum(remembered(login, f"Bearer {token}") is not None for token in tokens) == 128


def test_a_token_is_no_password() -> None:
    """What is remembered of one scheme is nothing to the other."""
    login = login_of([Known({"ann": "secret"})], [Issued({"YW5uOnNlY3JldA==": FOREVER})])
    identify(login, basic("ann", "secret"))
    assert remembered(login, "Bearer YW5uOnNlY3JldA==") is None
    identify(login, "Bearer YW5uOnNlY3JldA==")
    assert remembered(login, "Bearer ann:secret") is None
    known = remembered(login, basic("ann", "secret"))
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
