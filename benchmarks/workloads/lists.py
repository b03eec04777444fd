"""Lists of very many things: tags, repositories, referrers."""

from __future__ import annotations

import json
import random
import time
from functools import partial
from itertools import cycle
from typing import TYPE_CHECKING, NamedTuple

from benchmarks.content import MANIFEST_TYPE
from benchmarks.load import requests
from benchmarks.load.connection import Connection
from benchmarks.outcome import Outcome, Row, ratio_goal
from benchmarks.workloads.threads import ask
from benchmarks.workloads.trees import Repository, Tagged, digest, fill, in_memory

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Sequence

    from benchmarks.bench import Bench
    from benchmarks.contestants.contestant import Contestant
    from benchmarks.outcome import Goal
    from benchmarks.processes import Server

_CLIENTS = 4
_MOST_SECONDS = 2.0
_PAGE = 100
_PLACES = 200
_PARENT = "many"
_TAGGED, _SIGNED = f"{_PARENT}/tags", f"{_PARENT}/referrers"
_FIRST = "first answer ms"


class _List(NamedTuple):
    """A list of `entries` in the answers to each of the paths, under a key of the JSON."""

    case: str
    paths: Sequence[str]
    key: str
    entries: int


def lists(bench: Bench) -> Outcome:
    """Goals: no list slower than from Distribution or zot."""
    entries, referrers = bench.scale.entries, bench.scale.referrers
    content = bench.image().manifest()
    path = f"/v2/{_SIGNED}/referrers/{digest(content)}"
    with_referrers = [each for each in bench.registries if each.name != "distribution"]
    rows = [
        *_measure(bench, bench.registries, partial(_tags, content, entries), _tag_lists(entries)),
        *_measure(bench, bench.registries, partial(_repositories, content, entries), _catalogs(entries)),
        *_measure(
            bench,
            with_referrers,
            partial(_referrers, content, referrers),
            [_List("all referrers", [path], "manifests", referrers)],
        ),
    ]
    cases = list(dict.fromkeys(row.case for row in rows))
    return Outcome(
        "Lists",
        f"Out of {entries:,} tags of a repository, {entries:,} repositories, and {referrers:,} referrers of a manifest,"
        f" to {_CLIENTS} clients. Pages are of {_PAGE}, after {_PLACES} names taken by chance. The first answer is that"
        " to the first request for that list after the start. cargohold keeps long lists as long as it can prove that"
        " they have not changed. Distribution has no referrers.",
        rows,
        [goal for case in cases for goal in _goals(rows, case)],
    )


def _goals(rows: Sequence[Row], case: str) -> Iterable[Goal]:
    for peer in ("distribution", "zot"):
        yield from ratio_goal(rows, case, requests.RATE, peer, 1)


def _measure(
    bench: Bench,
    contestants: Sequence[Contestant],
    make: Callable[[], Iterable[Repository]],
    wanted: Sequence[_List],
) -> list[Row]:
    with in_memory(bench) as place, place.all_running(contestants) as servers:
        fill(servers, make)
        return [
            Row(
                each.case, server.contestant.name, _ask(server, each, min(bench.scale.seconds, _MOST_SECONDS))
            )
            for each in wanted
            for server in servers
        ]


def _ask(server: Server, wanted: _List, seconds: float) -> dict[str, float]:
    with Connection(server.port) as connection:
        started = time.perf_counter()
        answer = connection.ask(200, "GET", wanted.paths[0])
        first = time.perf_counter() - started
    found = len(json.loads(answer.body)[wanted.key])
    if found != wanted.entries:
        raise RuntimeError(f"{server.contestant.name} lists {found} of {wanted.entries}: {wanted.case}")
    jobs = cycle([partial(_get, path) for path in wanted.paths])
    return {_FIRST: first * 1e3, **ask(server, _CLIENTS, jobs, seconds).figures()}


def _get(path: str, connection: Connection) -> None:
    connection.ask(200, "GET", path)


def _tags(content: bytes, count: int) -> Iterable[Repository]:
    return [Repository(_TAGGED, (Tagged(content, _tag(number)) for number in range(count)))]


def _tag(number: int) -> str:
    return f"v{number:06}"


def _tag_lists(entries: int) -> list[_List]:
    path = f"/v2/{_TAGGED}/tags/list"
    return [
        _List("all tags", [path], "tags", entries),
        _List(
            f"{_PAGE} tags", [f"{path}?n={_PAGE}&last={_tag(at)}" for at in _places(entries)], "tags", _PAGE
        ),
    ]


def _repositories(content: bytes, count: int) -> Iterable[Repository]:
    return (Repository(_name(number), [Tagged(content)]) for number in range(count))


def _name(number: int) -> str:
    return f"{_PARENT}/r{number:06}"


def _catalogs(entries: int) -> list[_List]:
    path = f"/v2/_catalog?n={_PAGE}"
    return [
        _List(f"the first {_PAGE} repositories", [path], "repositories", _PAGE),
        _List(
            f"{_PAGE} repositories",
            [f"{path}&last={_name(at)}" for at in _places(entries)],
            "repositories",
            _PAGE,
        ),
    ]


def _places(entries: int) -> list[int]:
    """Numbers of entries after which there is a whole page; the same in every run."""
    return random.Random(entries).choices(range(entries - _PAGE), k=_PLACES)


def _referrers(subject: bytes, count: int) -> Iterable[Repository]:
    """The subject, and so many signatures of it."""
    return [Repository(_SIGNED, (Tagged(each) for each in (subject, *_signatures(subject, count))))]


def _signatures(subject: bytes, count: int) -> Iterable[bytes]:
    empty = {
        "mediaType": "application/vnd.oci.empty.v1+json",
        "digest": digest(b"{}"),
        "size": 2,
    }
    signature = {
        "schemaVersion": 2,
        "mediaType": MANIFEST_TYPE,
        "artifactType": "application/vnd.example.signature",
        "config": empty,
        "layers": [empty],
        "subject": {"mediaType": MANIFEST_TYPE, "digest": digest(subject), "size": len(subject)},
    }
    for number in range(count):
        yield json.dumps(signature | {"annotations": {"number": str(number)}}).encode()
