"""Keys that an issuer publishes, fetched over real HTTP from a web server of the test."""

from __future__ import annotations

import asyncio
import gzip
from typing import TYPE_CHECKING

import pytest

from cargohold.auth import fetch as fetching
from cargohold.auth.published_keys import (
    KEPT_SECONDS,
    LONGEST_SECONDS,
    RETRY_SECONDS,
    SHORTEST_SECONDS,
    DiscoveredKeys,
    JwksUrl,
)
from tests.auth.idp import Clock, Issuer, Reply, SigningKey, jwks
from tests.http.serving import until

if TYPE_CHECKING:
    from collections.abc import Iterator

    from cargohold.auth.published_keys import PublishedKeys

WAIT_SECONDS = 20.0
A, B = SigningKey("a"), SigningKey("b", "ES256")


@pytest.fixture
def idp() -> Iterator[Issuer]:
    with Issuer(A) as issuer:
        yield issuer


async def finds(source: PublishedKeys, kid: str | None) -> bool:
    return bool(await source.find(kid))


async def until_idle(source: PublishedKeys) -> None:
    """Wait until no fetch is under way."""
    attempt = source._attempt
    if attempt is not None:
        async with asyncio.timeout(WAIT_SECONDS):
            await attempt


def test_keys_are_fetched_for_the_first_token_and_remembered(idp: Issuer) -> None:
    """The first token waits for the keys; those that follow do not ask the issuer."""

    async def run() -> None:
        source = JwksUrl(idp.keys_url)
        version = source.version()
        assert idp.asked == []
        assert await finds(source, "a")
        assert source.version() != version
        version = source.version()
        for _ in range(10):
            assert await finds(source, "a")
        assert source.version() == version
        assert idp.asked == [Issuer.KEYS]

    asyncio.run(run())


def test_keys_are_discovered(idp: Issuer) -> None:
    """OpenID Connect Discovery: the issuer's own document says where its keys are."""

    async def run() -> None:
        assert await finds(DiscoveredKeys(idp.url), "a")
        assert idp.asked == [Issuer.DISCOVERY, Issuer.KEYS]

    asyncio.run(run())


def test_many_tokens_at_once_are_one_fetch(idp: Issuer) -> None:
    """A hundred tokens that wait for keys make one request."""

    async def run() -> None:
        source = JwksUrl(idp.keys_url)
        assert all(await asyncio.gather(*(finds(source, "a") for _ in range(100))))
        assert idp.asked == [Issuer.KEYS]

    asyncio.run(run())


def test_new_key_is_fetched_when_a_token_names_it(idp: Issuer) -> None:
    """Rotation: a token of the new key is verified without a restart and without a wait for the next hour."""

    async def run() -> None:
        clock = Clock()
        source = JwksUrl(idp.keys_url, clock=clock)
        assert await finds(source, "a")
        version = source.version()
        idp.keys = [A, B]
        clock.now += RETRY_SECONDS
        assert await finds(source, "b")
        assert await finds(source, "a")
        assert source.version() != version
        assert len(idp.asked) == 2

    asyncio.run(run())


def test_unknown_keys_ask_the_issuer_at_most_every_30_seconds(idp: Issuer) -> None:
    """Whoever invents names of keys makes us no weapon against the issuer."""

    async def run() -> None:
        clock = Clock()
        source = JwksUrl(idp.keys_url, clock=clock)
        for number in range(100):
            assert not await finds(source, f"invented-{number}")
        assert len(idp.asked) == 1
        clock.now += RETRY_SECONDS - 0.1
        assert not await finds(source, "invented")
        assert len(idp.asked) == 1
        clock.now += 0.1
        for number in range(100):
            assert not await finds(source, f"invented-{number}")
        assert len(idp.asked) == 2
        assert await finds(source, "a")

    asyncio.run(run())


def test_token_without_a_kid_asks_for_no_other_keys(idp: Issuer) -> None:
    """Where there are several keys, another fetch would not tell which one is meant."""
    idp.keys = [A, B]

    async def run() -> None:
        clock = Clock()
        source = JwksUrl(idp.keys_url, clock=clock)
        for _ in range(3):
            assert not await finds(source, None)
            clock.now += RETRY_SECONDS
        assert len(idp.asked) == 1

    asyncio.run(run())


@pytest.mark.parametrize(
    ("cache_control", "seconds"),
    [
        ("", LONGEST_SECONDS),
        ("no-store", LONGEST_SECONDS),
        ("public, max-age=600, must-revalidate", 600),
        ("MAX-AGE=600", 600),
        ("s-maxage=600", LONGEST_SECONDS),
        ("max-age=0", SHORTEST_SECONDS),
        ("max-age=31536000", LONGEST_SECONDS),
        ("max-age=99999999999999999999", LONGEST_SECONDS),
        ("max-age=-1", LONGEST_SECONDS),
    ],
)
def test_keys_are_fetched_again_when_they_are_old(idp: Issuer, cache_control: str, seconds: float) -> None:
    """As old as their publisher says, between 5 minutes and an hour; the token at hand does not wait for it."""
    idp.headers = {"Cache-Control": cache_control}

    async def run() -> None:
        clock = Clock()
        source = JwksUrl(idp.keys_url, clock=clock)
        assert await finds(source, "a")
        clock.now += seconds - 1
        assert await finds(source, "a")
        source.version()
        await until_idle(source)
        assert len(idp.asked) == 1
        idp.keys = [B]
        clock.now += 1
        assert await finds(source, "a")
        await until_idle(source)
        assert not await finds(source, "a")
        assert await finds(source, "b")
        assert len(idp.asked) == 2

    asyncio.run(run())


def test_withdrawn_key_is_noticed_though_all_logins_are_remembered(idp: Issuer) -> None:
    """The version, which every request asks for, has old keys fetched again; it moves where they are others."""

    async def run() -> None:
        clock = Clock()
        source = JwksUrl(idp.keys_url, clock=clock)
        assert await finds(source, "a")
        version = source.version()
        idp.keys = [B]
        clock.now += LONGEST_SECONDS
        assert source.version() == version
        await until_idle(source)
        assert source.version() != version
        version = source.version()
        clock.now += LONGEST_SECONDS
        source.version()
        await until_idle(source)
        assert source.version() == version
        assert len(idp.asked) == 3

    asyncio.run(run())


def test_keys_stay_for_a_day_when_the_issuer_is_gone(idp: Issuer, caplog: pytest.LogCaptureFixture) -> None:
    """An issuer that is down takes nobody's login with it; one that stays away is no longer believed."""

    async def run() -> None:
        clock = Clock()
        source = JwksUrl(idp.keys_url, clock=clock)
        assert await finds(source, "a")
        version = source.version()
        idp.stop()
        for _ in range(23):
            clock.now += 3600
            assert await finds(source, "a")
            await until_idle(source)
        assert source.version() == version
        assert f"the keys of {idp.keys_url} cannot be fetched" in caplog.text
        clock.now += KEPT_SECONDS - 23 * 3600
        assert not await finds(source, "a")
        assert source.version() != version
        version = source.version()
        assert not await finds(source, "a")
        assert source.version() == version
        assert caplog.text.count("no longer believed") == 1

    asyncio.run(run())


def test_issuer_that_is_down_at_first_is_asked_again(idp: Issuer) -> None:
    """A registry starts without its issuer, and verifies tokens as soon as the issuer is there."""

    async def run() -> None:
        clock = Clock()
        source = DiscoveredKeys(idp.url, clock=clock)
        idp.replies[Issuer.DISCOVERY] = Reply(status=503)
        assert not await finds(source, "a")
        idp.replies.clear()
        assert not await finds(source, "a")
        clock.now += RETRY_SECONDS
        assert await finds(source, "a")

    asyncio.run(run())


def test_issuer_that_withdraws_all_keys_is_obeyed(idp: Issuer, caplog: pytest.LogCaptureFixture) -> None:
    """A set without keys is an answer: nothing is verified any more."""

    async def run() -> None:
        clock = Clock()
        source = JwksUrl(idp.keys_url, clock=clock)
        assert await finds(source, "a")
        idp.keys = []
        clock.now += RETRY_SECONDS
        assert not await finds(source, "other")
        assert not await finds(source, "a")
        assert "publishes no key" in caplog.text

    asyncio.run(run())


BROKEN = {
    "an error": (Reply(status=500), "answers 500"),
    "nothing there": (Reply(status=404), "answers 404"),
    "no content": (Reply(status=204), "answers 204"),
    "a redirect": (Reply(status=302, headers={"Location": "/moved"}), "answers 302"),
    "a web page": (Reply(b"<html>"), "no JWK set"),
    "a list": (Reply(b"[]"), "no JWK set"),
    "too much": (Reply(b" " * (fetching.LONGEST_BYTES + 1)), "more than 1048576 bytes"),
    "no end": (Reply(b" " * 65536, endless=True), "more than 1048576 bytes"),
    "compressed": (
        Reply(gzip.compress(jwks(B)), headers={"Content-Encoding": "gzip"}),
        "compressed content, which was not asked for",
    ),
}


@pytest.mark.parametrize("name", BROKEN)
def test_broken_answer_keeps_the_keys(idp: Issuer, name: str, caplog: pytest.LogCaptureFixture) -> None:
    """Whatever an issuer answers that is no JWK set: it is logged, and the keys from before stay."""
    reply, complaint = BROKEN[name]

    async def run() -> None:
        clock = Clock()
        source = JwksUrl(idp.keys_url, clock=clock)
        assert await finds(source, "a")
        idp.replies = {Issuer.KEYS: reply, "/moved": Reply(jwks(B))}
        clock.now += RETRY_SECONDS
        assert not await finds(source, "b")
        assert await finds(source, "a")
        assert complaint in caplog.text
        assert "/moved" not in idp.asked

    asyncio.run(run())


@pytest.mark.parametrize("reply", [Reply(silent=True), Reply(jwks(B), drip=True)], ids=["silent", "drip"])
def test_slow_issuer_is_given_up_after_a_time(
    idp: Issuer, reply: Reply, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    """The limit is for the whole of an answer: bytes that trickle in do not draw it out."""
    monkeypatch.setattr(fetching, "SECONDS", 0.3)

    async def run() -> None:
        source = JwksUrl(idp.keys_url)
        idp.replies[Issuer.KEYS] = reply
        async with asyncio.timeout(WAIT_SECONDS):
            assert not await finds(source, "b")
        assert f"the keys of {idp.keys_url} cannot be fetched: no answer in time" in caplog.text

    asyncio.run(run())


def test_known_keys_do_not_wait_for_a_slow_issuer(idp: Issuer) -> None:
    """While an issuer is being waited for, tokens of keys that are known are verified at once."""

    async def run() -> None:
        clock = Clock()
        source = JwksUrl(idp.keys_url, clock=clock)
        assert await finds(source, "a")
        idp.replies[Issuer.KEYS] = Reply(silent=True)
        clock.now += LONGEST_SECONDS
        waiting = asyncio.create_task(finds(source, "b"))
        await asyncio.to_thread(until, lambda: len(idp.asked) == 2)
        assert await finds(source, "a")
        assert not waiting.done()
        idp.stop()
        assert not await waiting

    asyncio.run(run())


def test_token_that_is_given_up_does_not_end_the_fetch_for_others(idp: Issuer) -> None:
    """A client that hangs up while keys are fetched takes them from nobody else."""

    async def run() -> None:
        source = JwksUrl(idp.keys_url)
        first = asyncio.create_task(finds(source, "a"))
        second = asyncio.create_task(finds(source, "a"))
        await asyncio.sleep(0)
        first.cancel()
        assert await second
        assert first.cancelled()
        assert len(idp.asked) == 1

    asyncio.run(run())
