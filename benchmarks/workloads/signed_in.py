"""What a login costs at each request of a pull."""

from __future__ import annotations

from typing import TYPE_CHECKING

from benchmarks.content import REPOSITORY, TAG
from benchmarks.contestants.cargohold import Cargohold
from benchmarks.contestants.guarded import Guarded, by_password, by_token
from benchmarks.load import requests
from benchmarks.outcome import Goal, Outcome, Row, median_rows

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    from benchmarks.bench import Bench

_PATH = f"/v2/{REPOSITORY}/manifests/{TAG}"
_NOBODY, _PASSWORD, _TOKEN = "no login", "Basic, a password", "Bearer, a token"
_BOUND = 1.2
_CLIENTS = 16


def signed_in(bench: Bench) -> Outcome:
    """Goal: with a login at most 1.2 times what it takes without, in time and in processor time."""
    image = bench.image()
    program = next(each.program for each in bench.contestants if type(each) is Cargohold)
    rows = []
    with bench.all_running([Cargohold(program), Guarded(program)]) as (plain, guarded):
        for server in (plain, guarded):
            server.contestant.publish(server, image.blobs, image.manifest())
        for _ in range(bench.scale.rounds):
            # A token is valid for minutes, and a round does not take as long.
            for case, server, login in [
                (_NOBODY, plain, {}),
                (_PASSWORD, guarded, by_password()),
                (_TOKEN, guarded, by_token(guarded)),
            ]:
                took = requests.get(server, _PATH, _CLIENTS, bench.scale.seconds, login)
                rows.append(Row(case, server.contestant.name, took.figures()))
    medians = median_rows(rows)
    return Outcome(
        "Manifests by tag, signed in",
        f"A manifest of {len(image.manifest())} bytes on {_CLIENTS} connections, from a registry that asks for no login"
        " and from one that does. The password's hash is of cost 10, and alone takes some 50 ms to check: it is checked"
        " once in each worker. The token is one of the built-in service, for this repository.",
        medians,
        list(_goals(medians)),
    )


def _goals(rows: Sequence[Row]) -> Iterator[Goal]:
    times = {row.case: 1 / row.figures[requests.RATE] for row in rows}
    work = {row.case: row.figures[requests.SERVER_CPU] for row in rows}
    for case in (_PASSWORD, _TOKEN):
        yield Goal(
            f"{case}: time of a request, times that with {_NOBODY}", times[case] / times[_NOBODY], _BOUND
        )
        yield Goal(f"{case}: server CPU, times that with {_NOBODY}", work[case] / work[_NOBODY], _BOUND)
