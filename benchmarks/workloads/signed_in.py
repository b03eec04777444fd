"""What a login costs at each request of a pull."""

from __future__ import annotations

from itertools import product, repeat
from typing import TYPE_CHECKING, NamedTuple

from benchmarks.content import MANIFEST_TYPE, REPOSITORY, TAG
from benchmarks.contestants.cargohold import Cargohold
from benchmarks.contestants.guarded import Guarded, by_password, by_token
from benchmarks.load import requests
from benchmarks.load.connection import Connection
from benchmarks.outcome import Goal, Outcome, Row, figure, median_rows, ratio_goal
from benchmarks.workloads.logins import peer_by_password, peer_by_token
from benchmarks.workloads.threads import ask
from benchmarks.workloads.trees import Repository, Tagged, fill

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    from benchmarks.bench import Bench
    from benchmarks.contestants.contestant import Contestant
    from benchmarks.processes import Server

_CLIENTS = 16
_MOST_SECONDS = 1.0
_PATH = f"/v2/{REPOSITORY}/manifests/{TAG}"
_NOBODY, _PASSWORD, _TOKEN = "no login", "Basic, a password", "Bearer, a token"
_LOGINS = (_PASSWORD, _TOKEN)
_BOUND = 1.2


class _Asked(NamedTuple):
    """A server, which registry it is, and how its clients log in."""

    case: str
    registry: str
    server: Server


def signed_in(bench: Bench) -> Outcome:
    """Goals: with a login at most 1.2 times what it takes without, in time and in processor time; as Distribution."""
    content, rows = bench.image().manifest(), []
    program = next(each.program for each in bench.contestants if type(each) is Cargohold)
    peers = [each for each in bench.registries if type(each) is not Cargohold]
    with (
        bench.all_running([Cargohold(program), Guarded(program)]) as (plain, guarded),
        bench.all_running(_all(peers, guarded)) as others,
    ):
        fill([plain, guarded, *others], lambda: [Repository(REPOSITORY, [Tagged(content, TAG)])])
        ours = zip((_NOBODY, *_LOGINS), (plain, guarded, guarded), strict=True)
        asked = [_Asked(case, Cargohold.name, server) for case, server in ours]
        theirs = zip(product((_NOBODY, *_LOGINS), peers), others, strict=True)
        asked += [_Asked(case, peer.name, server) for (case, peer), server in theirs]
        for each in asked:
            _check(each)
        requests.get(guarded, _PATH, _CLIENTS, 1.0, by_password())
        for _ in range(bench.scale.rounds):
            rows += [_ask(each, guarded, min(bench.scale.seconds, _MOST_SECONDS)) for each in asked]
    medians = median_rows(rows)
    return Outcome(
        "Manifests by tag, signed in",
        f"A manifest of {len(content)} bytes on {_CLIENTS} connections, from registries that ask for no login and from"
        " ones that do. The password's hash is of cost 10, and alone takes some 50 ms to check: cargohold does so once"
        " in each worker and 5 minutes, which is not measured, and the others at each request. The token is one that"
        " cargohold has issued (ES256), for this repository; the others have its key.",
        medians,
        list(_goals(medians)),
    )


def _all(peers: Sequence[Contestant], guarded: Server) -> list[Contestant]:
    """The peers without a login, by password, and by token."""
    by_passwords = [peer_by_password(peer, guarded) for peer in peers]
    return [*peers, *by_passwords, *(peer_by_token(peer, guarded) for peer in peers)]


def _check(asked: _Asked) -> None:
    """Raises RuntimeError where a registry that asks for a login answers without one."""
    with Connection(asked.server.port) as connection:
        connection.ask(200 if asked.case == _NOBODY else 401, "GET", _PATH, headers={"accept": MANIFEST_TYPE})


def _ask(asked: _Asked, guarded: Server, seconds: float) -> Row:
    took = _took(asked, guarded, seconds)
    return Row(asked.case, asked.registry, took.figures())


def _took(asked: _Asked, guarded: Server, seconds: float) -> requests.Requests:
    if asked.case == _NOBODY:
        return requests.get(asked.server, _PATH, _CLIENTS, seconds)
    if asked.case == _TOKEN:
        login = by_token(guarded)  # valid for minutes, so a new one each time
        return requests.get(asked.server, _PATH, _CLIENTS, seconds, login)
    if asked.server is guarded:
        return requests.get(asked.server, _PATH, _CLIENTS, seconds, by_password())
    # What takes half a second must not be broken off, as wrk would.
    return ask(asked.server, _CLIENTS, repeat(_get_by_password), seconds)


def _get_by_password(connection: Connection) -> None:
    connection.ask(200, "GET", _PATH, headers={"accept": MANIFEST_TYPE, **by_password()})


def _goals(rows: Sequence[Row]) -> Iterator[Goal]:
    for case in _LOGINS:
        for name, text in ((requests.RATE, "time of a request"), (requests.SERVER_CPU, "server CPU")):
            alone, signed = (figure(rows, each, "cargohold", name) for each in (_NOBODY, case))
            assert alone
            assert signed
            ratio = alone / signed if name == requests.RATE else signed / alone
            yield Goal(f"{case}: {text}, times that with {_NOBODY}", ratio, _BOUND)
        yield from ratio_goal(rows, case, requests.RATE, "distribution", 5)
