"""Rate limits of addresses and of users, without a socket."""

from __future__ import annotations

import re
import time
from typing import TYPE_CHECKING, Any

import pytest

from cargohold.auth.identity import EVERYONE, Identity, Kind
from cargohold.config import Settings, load
from cargohold.config.sections import Rates
from cargohold.http.limiting import Limiter, limit
from cargohold.http.middleware import answer_errors
from cargohold.messages import Empty
from cargohold.storage.counters import ENTRIES, Counters
from cargohold.types.errors import TooManyRequests, Unauthorized
from tests.http.serving import PROJECT
from tests.routes.caller import answered, request

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from pathlib import Path

    from cargohold.messages import Answer, Request

NOON = 1_800_000_000.25 - 1_800_000_000 % 86400 + 43200


class Clock:
    """The time of day, as far as this process knows."""

    def __init__(self) -> None:
        self.now = NOON

    def __call__(self) -> float:
        return self.now


@pytest.fixture
def clock(monkeypatch: pytest.MonkeyPatch) -> Clock:
    stopped = Clock()
    monkeypatch.setattr(time, "time", stopped)
    return stopped


class Limited:
    """A registry of one answer, limited; the guard's part is played by taking the name from the query."""

    def __init__(self, counters: Counters, **rates: Any) -> None:
        self._limiter = Limiter(counters, **rates)
        self._handler = answer_errors(limit(self._handle, self._limiter))

    async def _handle(self, asked: Request) -> Answer:
        if asked.query == "nobody":
            raise Unauthorized(headers=[("www-authenticate", "Basic")])
        if asked.query:
            asked.identity = Identity(Kind.PASSWORD, asked.query, EVERYONE.authority, sort="user")
            self._limiter.by_user(asked)
        return Empty(200, [])

    def ask(
        self, client: str = "192.0.2.1", *, user: str = "", method: str = "GET", path: str = "/v2/"
    ) -> tuple[int, dict[str, str]]:
        """Status and headers of the answer."""
        asked = request(method, f"{path}?{user}")
        asked.client = client
        answer = answered(self._handler, asked)
        names = [name for name, _ in answer.headers]
        assert len(names) == len(set(names)), names
        return answer.status, dict(answer.headers)

    def statuses(self, times: int, *clients: str, **options: str) -> list[int]:
        return [self.ask(client, **options)[0] for _ in range(times) for client in clients or ("192.0.2.1",)]


@pytest.fixture
def limited(tmp_path: Path, clock: Clock) -> Iterator[Callable[..., Limited]]:  # noqa: ARG001 - time stands still
    counters = Counters(str(tmp_path / "counters"))
    yield lambda **rates: Limited(counters, **rates)
    counters.close()


def test_an_address_is_let_through_so_often(limited: Callable[..., Limited]) -> None:
    """So many requests pass as the rate says; others' do not count."""
    registry = limited(address_reads="3/minute")
    assert registry.statuses(5) == [200] * 3 + [429] * 2
    assert registry.statuses(1, "192.0.2.2") == [200]


def test_a_refusal_says_when_to_come_again(limited: Callable[..., Limited], clock: Clock) -> None:
    """A 429 has Retry-After in seconds, the headers of the limit and the code; who waits so long is let through."""
    registry = limited(address_reads="1/hour")
    registry.ask()
    status, headers = registry.ask()
    assert status == 429
    assert headers["content-type"] == "application/json"
    assert headers["retry-after"] == "3600"
    assert headers["x-ratelimit-limit"] == "1"
    assert headers["x-ratelimit-remaining"] == "0"
    assert headers["x-ratelimit-reset"] == str(int(NOON) + 3600)
    clock.now += 3600
    assert registry.ask()[0] == 200


def test_a_refusal_is_told_in_words(limited: Callable[..., Limited]) -> None:
    """The message says whose requests are too many and when to try again."""
    registry = limited(address_reads="1/minute", user_reads="1/minute")
    registry.ask(user="ann")
    asked = request("GET", "/v2/")
    asked.client = "192.0.2.1"
    with pytest.raises(TooManyRequests, match=r"from this address; try again in \d+ seconds"):
        registry._limiter.by_address(asked)
    asked.identity = Identity(Kind.TOKEN, "ann", EVERYONE.authority, sort="user")
    with pytest.raises(TooManyRequests, match=r"from this user; try again in \d+ seconds"):
        registry._limiter.by_user(asked)


def test_each_answer_says_how_many_are_left(limited: Callable[..., Limited]) -> None:
    """X-RateLimit-Remaining counts down; X-RateLimit-Reset is a second of the epoch that lies ahead."""
    registry = limited(address_reads="3/minute")
    left = []
    for _ in range(3):
        _, headers = registry.ask()
        assert headers["x-ratelimit-limit"] == "3"
        assert NOON < int(headers["x-ratelimit-reset"]) <= NOON + 61
        left.append(headers["x-ratelimit-remaining"])
    assert left == ["2", "1", "0"]


def test_reads_and_writes_are_counted_apart(limited: Callable[..., Limited]) -> None:
    """GET, HEAD and OPTIONS read, all else writes."""
    registry = limited(address_reads="3/minute", address_writes="4/minute")
    reads = [registry.ask(method=method)[0] for method in ("GET", "HEAD", "OPTIONS", "GET")]
    writes = [registry.ask(method=method)[0] for method in ("POST", "PUT", "PATCH", "DELETE", "POST")]
    assert reads == [200] * 3 + [429]
    assert writes == [200] * 4 + [429]


def test_what_has_no_limit_bears_no_headers(limited: Callable[..., Limited]) -> None:
    """Where only reads are limited, writes pass, and say nothing of limits."""
    registry = limited(address_reads="1/minute")
    for _ in range(5):
        status, headers = registry.ask(method="PUT")
        assert status == 200
        assert not [name for name in headers if name.startswith("x-ratelimit")]


def test_errors_are_counted_and_tell_it(limited: Callable[..., Limited]) -> None:
    """A 401 counts like any answer, keeps its challenge, and says how many are left."""
    registry = limited(address_reads="2/minute")
    status, headers = registry.ask(user="nobody")
    assert (status, headers["www-authenticate"], headers["x-ratelimit-remaining"]) == (401, "Basic", "1")
    assert [registry.ask(user="nobody")[0] for _ in range(2)] == [401, 429]


def test_a_user_is_limited_from_wherever(limited: Callable[..., Limited]) -> None:
    """A user's requests count together over all addresses; another user's, and nobody's, do not."""
    registry = limited(user_reads="3/minute")
    assert registry.statuses(2, "192.0.2.1", "192.0.2.2", user="ann") == [200] * 3 + [429]
    assert registry.statuses(3, user="bob") == [200] * 3
    assert registry.statuses(9) == [200] * 9


def test_names_of_two_sorts_are_counted_apart(limited: Callable[..., Limited]) -> None:
    """A robot with the name of a user has a count of its own."""
    registry = limited(user_reads="1/minute")
    assert registry.statuses(2, user="ann") == [200, 429]
    asked = request("GET", "/v2/")
    for sort in ("robot", "workload", ""):
        asked.identity = Identity(Kind.TOKEN, "ann", EVERYONE.authority, sort=sort)
        registry._limiter.by_user(asked)
        with pytest.raises(TooManyRequests):
            registry._limiter.by_user(asked)


def test_the_nearer_limit_is_told(limited: Callable[..., Limited]) -> None:
    """Of address and user, the headers are of the one that is nearer to refusing."""
    registry = limited(address_reads="5/minute", user_reads="3/minute")

    def told(client: str, user: str) -> tuple[int, str, str]:
        status, headers = registry.ask(client, user=user)
        return status, headers["x-ratelimit-limit"], headers["x-ratelimit-remaining"]

    assert told("192.0.2.1", "ann") == (200, "3", "2")
    assert [told("192.0.2.1", "") for _ in range(3)] == [(200, "5", left) for left in "321"]
    assert told("192.0.2.1", "ann") == (200, "5", "0")
    assert told("192.0.2.2", "ann") == (200, "3", "0")
    assert told("192.0.2.2", "ann") == (429, "3", "0")


def test_ipv6_is_counted_by_its_network(limited: Callable[..., Limited]) -> None:
    """The addresses of a network of 64 bits share one count; those of another have theirs."""
    registry = limited(address_reads="2/minute")
    assert registry.statuses(1, "2001:db8::1", "2001:db8::2", "2001:db8::ffff:3") == [200, 200, 429]
    assert registry.statuses(1, "2001:db8:0:1::1") == [200]


def test_ipv4_within_ipv6_is_ipv4(limited: Callable[..., Limited]) -> None:
    """On a socket of both families an IPv4 client counts as what it is, and not with all others."""
    registry = limited(address_reads="1/minute")
    assert registry.statuses(1, "192.0.2.1", "::ffff:192.0.2.1", "::ffff:192.0.2.2") == [200, 429, 200]


def test_who_comes_by_the_unix_socket_counts_as_one(limited: Callable[..., Limited]) -> None:
    """Without an address there is nobody to tell from another."""
    registry = limited(address_reads="2/minute")
    assert registry.statuses(3, "") == [200, 200, 429]


@pytest.mark.parametrize("client", ["10.1.2.3", "::ffff:10.1.2.3", "2001:db8::7"])
def test_who_is_allowed_is_never_limited(limited: Callable[..., Limited], client: str) -> None:
    """Neither as an address nor as a user; and no answer speaks of limits, nor do their requests count for the user."""
    registry = limited(address_reads="1/minute", user_reads="1/minute", allow=["10.0.0.0/8", "2001:db8::/32"])
    for _ in range(5):
        status, headers = registry.ask(client, user="ann")
        assert (status, [name for name in headers if name.startswith("x-ratelimit")]) == (200, [])
    assert registry.statuses(2, user="ann") == [200, 429]


@pytest.mark.parametrize("path", ["/health", "/health/ready"])
@pytest.mark.parametrize("prefix", ["", "/deep"])
def test_health_is_never_limited(limited: Callable[..., Limited], prefix: str, path: str) -> None:
    """A probe is answered, and counted for nothing, also where the registry stands below a prefix."""
    registry = limited(address_reads="1/minute", prefix=prefix)
    assert registry.statuses(5, path=prefix + path) == [200] * 5
    assert registry.statuses(2, path=f"{prefix}/v2/") == [200, 429]
    assert registry.statuses(1, path=f"{prefix}/healthy") == [429]


def test_a_clients_own_words_do_not_free_it(limited: Callable[..., Limited]) -> None:
    """The address of the connection counts, whatever headers say."""
    registry = limited(address_reads="1/minute", allow=["10.0.0.0/8"])
    asked = request("GET", "/v2/", {"X-Forwarded-For": "10.1.2.3"})
    asked.client = "192.0.2.1"
    registry.ask()
    assert answered(registry._handler, asked).status == 429


def test_a_bad_network_is_refused(tmp_path: Path) -> None:
    """Addresses that nobody can mean are an error when the limiter is made."""
    counters = Counters(str(tmp_path / "counters"))
    with pytest.raises(ValueError, match="example"):
        Limiter(counters, address_reads="1/minute", allow=["example"])
    counters.close()


def test_the_page_about_limits(tmp_path: Path) -> None:
    """What docs/limits.md shows can be set so, and the numbers that it names are those of the code."""
    page = (PROJECT / "docs" / "limits.md").read_text()
    (example,) = re.findall(r"^```yaml\n(.*?)^```$", page, re.MULTILINE | re.DOTALL)
    file = tmp_path / "example.yaml"
    file.write_text(example)
    settings = load({"config": str(file)}, {})
    assert settings.limits.address.reads == "600/minute"
    assert settings.limits.failed_logins == Settings().limits.failed_logins
    assert Settings().limits.address == Settings().limits.user == Rates()
    for rate in ("100/10seconds", "5000/day"):
        assert rate in page
        assert load({"limits.user.reads": rate}, {}).limits.user.reads is not None
    assert f"room for {ENTRIES:,} counts" in page
    Counters(str(tmp_path / "counters")).close()
    assert "2 MiB" in page
    assert round((tmp_path / "counters").stat().st_size / 2**20, 1) == 2.0
