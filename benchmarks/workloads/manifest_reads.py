"""Manifests read by tag and by digest, and asked about: one over and over, and very many."""

from __future__ import annotations

import random
from functools import partial
from typing import TYPE_CHECKING, NamedTuple

from benchmarks.content import MANIFEST_TYPE
from benchmarks.load import requests
from benchmarks.load.connection import Connection
from benchmarks.outcome import Outcome, Row, limit_goal, median_rows, ratio_goal
from benchmarks.workloads.sizes import written_clients
from benchmarks.workloads.trees import Repository, Tagged, digest, fill, in_memory

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Sequence

    from benchmarks.bench import Bench
    from benchmarks.outcome import Goal
    from benchmarks.processes import Server

_FEW, _USUAL, _MANY = 1, 16, 256
_IN_A_REPOSITORY = 100
_SECONDS = 1.0
_ONE, _TAG = "hot/image", "latest"


class _Case(NamedTuple):
    """Requests for the paths in turn; `what` says what is asked for."""

    what: str
    method: str
    paths: Sequence[str]
    clients: int

    @property
    def name(self) -> str:
        return f"{self.what}, {written_clients(self.clients)}"


def manifest_reads(bench: Bench) -> Outcome:
    """Goals: by tag 5 times Distribution and half of nginx; 5 ms for all but one answer in a hundred."""
    content, rows = bench.image().manifest(), []
    cases = [each for each in _cases(content, bench.scale.entries) if each.clients in _clients(bench)]
    with in_memory(bench) as place, place.all_running(bench.contestants) as servers:
        fill(servers, partial(_repositories, content, bench.scale.entries))
        for server in servers:
            _check(server, cases, len(content))
        for number in range(bench.scale.rounds):
            for case in cases:
                if number == 0 or case.clients == _USUAL:
                    rows += [
                        Row(case.name, server.contestant.name, _ask(bench, server, case))
                        for server in servers
                    ]
    medians = median_rows(rows)
    return Outcome(
        "Manifests read",
        f"Manifests of {len(content)} bytes: one, and one out of {bench.scale.entries:,} in repositories of"
        f" {_IN_A_REPOSITORY}, each with a tag, all in an order made by chance. Those of {_USUAL} clients are the"
        f" median of {bench.scale.rounds}; the others, which a quick run leaves out, are measured once. nginx serves"
        " the same bytes as static files. HEAD is sent by our own client, which takes a core; where there are only"
        " two, the server has one of them. The processor time of clients that ask for many includes what wrk takes to"
        " read the addresses before it starts.",
        medians,
        [goal for case in cases if case.clients == _USUAL for goal in _goals(medians, case)],
    )


def _clients(bench: Bench) -> tuple[int, ...]:
    return (_USUAL,) if bench.scale.rounds == 1 else (_FEW, _USUAL, _MANY)


def _goals(rows: Sequence[Row], case: _Case) -> Iterator[Goal]:
    if case.method == "GET":
        yield from ratio_goal(rows, case.name, requests.RATE, "distribution", 5)
        yield from ratio_goal(rows, case.name, requests.RATE, "nginx", 0.5)
    yield from limit_goal(rows, case.name, requests.P99, 5)


def _ask(bench: Bench, server: Server, case: _Case) -> dict[str, float]:
    seconds = bench.scale.seconds if case.what == "GET by tag" and case.clients == _USUAL else _SECONDS
    return requests.get(server, case.paths, case.clients, seconds, method=case.method).figures()


def _cases(content: bytes, entries: int) -> Iterator[_Case]:
    """One manifest, in each way and by each number of clients; then many."""
    place = f"/v2/{_ONE}/manifests"
    one = [f"{place}/{_TAG}"], [f"{place}/{digest(content)}"]
    for what, (by_tag, by_digest) in (("", one), (" many", _many_paths(content, entries))):
        for clients in (_FEW, _USUAL, _MANY):
            for method in ("GET", "HEAD"):
                yield _Case(f"{method}{what} by tag", method, by_tag, clients)
                yield _Case(f"{method}{what} by digest", method, by_digest, clients)


def _many_paths(content: bytes, entries: int) -> tuple[list[str], list[str]]:
    """The addresses of all of the many by their tags, and by their digests."""
    numbers = list(range(entries))
    random.Random(entries).shuffle(numbers)
    return (
        [f"/v2/{_holder(number)}/manifests/{_tag(number)}" for number in numbers],
        [f"/v2/{_holder(number)}/manifests/{digest(_numbered(content, number))}" for number in numbers],
    )


def _repositories(content: bytes, entries: int) -> Iterator[Repository]:
    yield Repository(_ONE, [Tagged(content, _TAG)])
    for first in range(0, entries, _IN_A_REPOSITORY):
        numbers = range(first, min(first + _IN_A_REPOSITORY, entries))
        yield Repository(_holder(first), [Tagged(_numbered(content, each), _tag(each)) for each in numbers])


def _holder(number: int) -> str:
    return f"many/r{number // _IN_A_REPOSITORY:04}"


def _tag(number: int) -> str:
    return f"v{number:06}"


def _numbered(content: bytes, number: int) -> bytes:
    """The same manifest of another revision: in place of the revision 0, which has 40 digits."""
    return content.replace(b"%040d" % 0, b"%040d" % (number + 1))


def _check(server: Server, cases: Iterable[_Case], length: int) -> None:
    """Raises RuntimeError where a path of a case is not answered with a manifest of that length."""
    with Connection(server.port) as connection:
        for case in cases:
            answer = connection.ask(200, "GET", case.paths[0], headers={"accept": MANIFEST_TYPE})
            if len(answer.body) != length:
                raise RuntimeError(
                    f"{server.contestant.name} answers {case.paths[0]} with {len(answer.body)} bytes"
                )
