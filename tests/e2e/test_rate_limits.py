"""Limits of the real server: the same over all workers, over their deaths, and over a restart."""

from __future__ import annotations

import base64
import json
import os
import signal
import time
from collections import Counter
from concurrent.futures import ThreadPoolExecutor
from typing import TYPE_CHECKING

import bcrypt
import pytest

from tests.http.serving import until
from tests.http.wire import Wire

if TYPE_CHECKING:
    from pathlib import Path

    from tests.e2e.conftest import Start
    from tests.e2e.server import Server
    from tests.http.wire import Response

WORKERS = 4
CONNECTIONS = 16
LIMIT = 200
BY_ADDRESS = {"workers": WORKERS, "limits.address.reads": f"{LIMIT}/day"}


def ask(server: Server, *headers: str, method: str = "GET", target: str = "/v2/") -> Response:
    """One request on a connection of its own, which any of the workers may take."""
    with Wire(server.url) as wire:
        return wire.ask(method, target, *headers)


def flood(server: Server, requests: int) -> list[Response]:
    """So many requests, over many connections at once that stay open."""

    def over_one(_: int) -> list[Response]:
        with Wire(server.url) as wire:
            return [wire.ask("GET", "/v2/") for _ in range(requests // CONNECTIONS)]

    with ThreadPoolExecutor(CONNECTIONS) as threads:
        return [response for each in threads.map(over_one, range(CONNECTIONS)) for response in each]


def passed(responses: list[Response]) -> int:
    """How many were let through; each of the others was refused as it should be."""
    statuses = Counter(response.status for response in responses)
    assert statuses.keys() <= {200, 429}
    return statuses[200]


def login(name: str, password: str) -> str:
    return "Authorization: Basic " + base64.b64encode(f"{name}:{password}".encode()).decode()


@pytest.fixture
def htpasswd(tmp_path: Path) -> Path:
    path = tmp_path / "users"
    lines = [f"{name}:{bcrypt.hashpw(b'right', bcrypt.gensalt(8)).decode()}\n" for name in ("ann", "bob")]
    path.write_text("".join(lines))
    return path


def test_all_workers_count_as_one(start: Start) -> None:
    """Of twice as many requests as the limit lets through, at once over all workers, exactly the limit passes."""
    server = start(BY_ADDRESS)
    assert len(server.workers()) == WORKERS
    responses = flood(server, 2 * LIMIT)
    assert passed(responses) == LIMIT
    left = [int(response["x-ratelimit-remaining"]) for response in responses]
    assert all(response["x-ratelimit-limit"] == str(LIMIT) for response in responses)
    assert (min(left), len(set(left)) > LIMIT / 2) == (0, True)
    assert all(int(response["x-ratelimit-reset"]) > time.time() for response in responses)


def test_a_refusal_has_the_form_of_all_errors(start: Start) -> None:
    """429 with TOOMANYREQUESTS, Retry-After and the limit's headers; writes, which have no limit, still pass."""
    server = start({"limits.address.reads": "1/day"})
    assert ask(server).status == 200
    response = ask(server)
    assert response.status == 429
    (entry,) = json.loads(response.body)["errors"]
    assert entry["code"] == "TOOMANYREQUESTS"
    assert f"try again in {response['retry-after']} seconds" in entry["message"]
    assert 0 < int(response["retry-after"]) <= 2 * 86400
    assert response["docker-distribution-api-version"] == "registry/2.0"
    assert ask(server, method="POST", target="/v2/app/blobs/uploads/").status == 202


def test_a_worker_that_is_killed_keeps_nobody_waiting(start: Start) -> None:
    """Workers that die in the midst of counting leave counts whole: those who stay, and those who come, go on."""
    server = start(BY_ADDRESS)
    with ThreadPoolExecutor(1) as threads:
        for victim in server.workers()[:2]:
            asking = threads.submit(survivors, server, 50)
            os.kill(victim, signal.SIGKILL)
            asking.result()
        until(lambda: len(server.workers()) == WORKERS)
    known = LIMIT - int(ask(server)["x-ratelimit-remaining"])
    assert known <= 101
    assert passed(flood(server, 2 * LIMIT)) == LIMIT - known


def survivors(server: Server, requests: int) -> None:
    """Ask so often; an answer may be lost with the worker that dies, and all others come."""
    lost = 0
    for _ in range(requests):
        try:
            assert ask(server).status == 200
        except (OSError, EOFError):
            lost += 1
    assert lost < requests / 2


def test_counts_outlive_a_restart(start: Start, tmp_path: Path) -> None:
    """Whoever was refused is refused by the server that is started again, though nothing was written to a database."""
    first = start({"limits.address.reads": "2/day"}, storage=tmp_path / "data")
    assert [ask(first).status for _ in range(3)] == [200, 200, 429]
    assert first.stop() == 0
    second = start({"limits.address.reads": "2/day"}, storage=tmp_path / "data")
    assert ask(second).status == 429


def test_the_table_may_be_removed_at_any_time(start: Start) -> None:
    """Its counts are lost with it, and all workers soon count together in a new one."""
    server = start(BY_ADDRESS)
    assert passed(flood(server, 2 * LIMIT)) == LIMIT
    table = server.storage / "cargohold" / "counters"
    table.unlink()
    until(lambda: passed(flood(server, CONNECTIONS)) == CONNECTIONS)
    time.sleep(1.5)  # until all have looked
    flood(server, CONNECTIONS)
    assert table.exists()
    assert passed(flood(server, 2 * LIMIT)) < LIMIT
    assert passed(flood(server, CONNECTIONS)) == 0


def test_users_have_limits_of_their_own(start: Start, htpasswd: Path) -> None:
    """A user who sends too much is refused, and others are not; reads and writes are counted apart."""
    server = start(
        {
            "workers": 2,
            "auth.htpasswd": htpasswd,
            "limits.user.reads": "3/day",
            "limits.user.writes": "1/day",
        }
    )
    ann, bob = login("ann", "right"), login("bob", "right")
    answers = [ask(server, ann) for _ in range(4)]
    assert [answer.status for answer in answers] == [200, 200, 200, 429]
    assert [answer["x-ratelimit-remaining"] for answer in answers] == ["2", "1", "0", "0"]
    assert "this user" in json.loads(answers[3].body)["errors"][0]["message"]
    assert ask(server, bob).status == 200
    uploads = "/v2/app/blobs/uploads/"
    assert [ask(server, ann, method="POST", target=uploads).status for _ in range(2)] == [202, 429]
    nobody = ask(server)
    assert (nobody.status, "x-ratelimit-limit" in nobody) == (401, False)


def test_failed_logins_are_limited_more_strictly(start: Start, htpasswd: Path) -> None:
    """After so many, over all workers, an address is refused every login, the right one too; others are not."""
    server = start(
        {
            "workers": WORKERS,
            "auth.htpasswd": htpasswd,
            "limits.failed_logins": "5/day",
            "server.trusted_proxies": '["127.0.0.1"]',
        }
    )
    guesser, elsewhere = "X-Forwarded-For: 192.0.2.1", "X-Forwarded-For: 192.0.2.2"
    guesses = [ask(server, guesser, login("ann", f"wrong {number}")) for number in range(8)]
    assert [answer.status for answer in guesses] == [401] * 5 + [429] * 3
    assert all(int(answer["retry-after"]) > 0 for answer in guesses[5:])
    assert {json.loads(answer.body)["errors"][0]["code"] for answer in guesses[5:]} == {"TOOMANYREQUESTS"}
    assert ask(server, guesser, login("bob", "right")).status == 429
    assert ask(server, elsewhere, login("ann", "right")).status == 200
    assert "wrong" not in server.log


def test_who_is_refused_cannot_guess_who_is_remembered(start: Start, htpasswd: Path) -> None:
    """While an address is refused, the right password of a user who is remembered is refused it like any other.

    So it is from another address than the user's own, and after a guess from behind the same one; a token goes on.
    """
    server = start(
        {
            "workers": 1,
            "auth.htpasswd": htpasswd,
            "limits.failed_logins": "5/day",
            "server.trusted_proxies": '["127.0.0.1"]',
        }
    )
    guesser, home = "X-Forwarded-For: 192.0.2.1", "X-Forwarded-For: 192.0.2.2"
    right = login("ann", "right")
    assert ask(server, home, right).status == 200
    token = json.loads(ask(server, home, right, target="/auth/token").body)["token"]
    for address in (guesser, home):
        assert [ask(server, address, login("bob", f"{each}")).status for each in range(6)] == [401] * 5 + [
            429
        ]
    assert ask(server, guesser, right).status == 429
    assert ask(server, home, right).status == 200
    assert ask(server, home, login("ann", "guess")).status == 429
    assert ask(server, home, right).status == 429
    assert ask(server, home, f"Authorization: Bearer {token}").status == 200


def test_nobody_can_lock_a_user_out(start: Start, htpasswd: Path) -> None:
    """While a name is guessed at from everywhere its owner can log in, though some logins from home do not hold."""
    server = start(
        {
            "workers": 1,
            "auth.htpasswd": htpasswd,
            "auth.remember": 0,
            "limits.failed_logins": "10/day",
            "server.trusted_proxies": '["127.0.0.1"]',
        }
    )

    def guesses(address: str) -> Counter[int]:
        proxied = f"X-Forwarded-For: {address}"
        return Counter(ask(server, proxied, login("ann", f"{each}")).status for each in range(12))

    elsewhere = [guesses(f"203.0.113.{number}") for number in range(12)]
    assert elsewhere == [Counter({401: 10, 429: 2})] * 10 + [Counter({401: 5, 429: 7})] * 2
    home = "X-Forwarded-For: 192.0.2.1"
    for name, wrong in (("ann", "rihgt"), *(("bob", f"stale {each}") for each in range(7))):
        assert ask(server, home, login(name, wrong)).status == 401
        assert ask(server, home, login("ann", "right")).status == 200


def test_guesses_at_once_are_no_more(start: Start, htpasswd: Path) -> None:
    """Of many passwords that are tried at the same moment, no more than the limit are told right from wrong."""
    server = start({"workers": 2, "auth.htpasswd": htpasswd, "limits.failed_logins": "5/day"})

    def guess(number: int) -> int:
        return ask(server, login("ann", "right" if number == 150 else f"wrong {number}")).status

    with ThreadPoolExecutor(100) as threads:
        statuses = list(threads.map(guess, range(200)))
    assert statuses[150] == 429
    assert 5 <= statuses.count(401) < 5 + 2  # two workers may come to know of the last one at once
    assert statuses.count(401) + statuses.count(429) == 200


def test_only_trusted_proxies_say_who_asks(start: Start) -> None:
    """Behind one each client is counted for itself; from anyone else the header frees nobody."""
    limits = {"limits.address.reads": "1/day", "limits.allow": '["10.0.0.0/8"]'}
    behind = start({**limits, "server.trusted_proxies": '["127.0.0.1"]'})
    for client in ("192.0.2.1", "192.0.2.2"):
        answers = [ask(behind, f"X-Forwarded-For: {client}").status for _ in range(2)]
        assert answers == [200, 429]
    assert [ask(behind, "X-Forwarded-For: 10.1.2.3").status for _ in range(3)] == [200] * 3
    assert ask(behind, "X-Forwarded-For: 10.1.2.3, 192.0.2.1").status == 429
    alone = start(limits)
    assert ask(alone, "X-Forwarded-For: 192.0.2.1").status == 200
    assert ask(alone, "X-Forwarded-For: 192.0.2.2").status == 429
    assert ask(alone, "X-Forwarded-For: 10.1.2.3").status == 429


def test_health_is_not_limited(start: Start) -> None:
    """A probe may come as often as it likes, while everyone else is refused."""
    server = start({"limits.address.reads": "1/day"})
    assert [ask(server).status for _ in range(2)] == [200, 429]
    for path in ("/health", "/health/ready"):
        answers = [ask(server, target=path) for _ in range(5)]
        assert 429 not in {answer.status for answer in answers}
        assert not any("x-ratelimit-limit" in answer for answer in answers)


def test_without_limits_there_is_no_table(start: Start) -> None:
    """A registry with no limit and no login counts nothing, and says nothing of limits."""
    server = start()
    assert "x-ratelimit-limit" not in ask(server)
    assert not (server.storage / "cargohold" / "counters").exists()
