"""Manifests written: images and indexes pushed, tags moved, manifests deleted."""

from __future__ import annotations

import json
from functools import partial
from typing import TYPE_CHECKING

from benchmarks.bench import Image
from benchmarks.content import MANIFEST_TYPE, REPOSITORY
from benchmarks.load import requests
from benchmarks.load.disk import Synced, new_files, replaced_files
from benchmarks.outcome import Goal, Outcome, Row, figure, limit_goal, median_rows, ratio_goal
from benchmarks.workloads.threads import ask
from benchmarks.workloads.trees import digest

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Sequence

    from benchmarks.bench import Bench
    from benchmarks.load.connection import Connection
    from benchmarks.processes import Server

_CLIENTS = 16
_MOST_SECONDS, _MOST_ROUNDS = 2.0, 2
_DELETE_SECONDS = 30.0
_LAYERS, _BLOB_BYTES = 10, 512
_CHILDREN = 5
_TAGS = 100
_MOST_DELETED = 500
_IN_A_ROUND = 10_000_000
_PACED_FROM = 5_000_000
_INDEX_TYPE = "application/vnd.oci.image.index.v1+json"
_IMAGE, _INDEX = f"PUT of an image of {_LAYERS} layers", f"PUT of an index of {_CHILDREN}"
_MOVE, _DELETE = "tag moved", "DELETE by digest"
_PACE = 400
_PACED = f"PUT of an image of {_LAYERS} layers, {_PACE} a second"
_NEW, _REPLACED = "write and fsync a new small file", "replace a small file: write, fsync, rename"


def manifest_writes(bench: Bench) -> Outcome:
    """Goals: twice Distribution, 0.8 of the disk, and 5 ms for all but one answer in a hundred.

    So many clients that push as fast as they can have all of the machine, and each waits for the others' turns: so the
    time that an answer takes is measured at a steady pace too, which all but the slowest can keep.
    """
    image, rows = Image(*bench.source.blobs(_BLOB_BYTES, _LAYERS + 1)), []
    seconds, count = min(bench.scale.seconds, _MOST_SECONDS), min(bench.scale.entries // 20, _MOST_DELETED)
    with bench.all_running(bench.registries) as servers:
        for server in servers:
            server.contestant.publish(server, image.blobs, image.manifest())
            _push(server, [image.manifest(number) for number in range(_CHILDREN)])
        for number in range(min(bench.scale.rounds, _MOST_ROUNDS)):
            first = (number + 1) * _IN_A_ROUND
            for case, make in _cases(image, first):
                rows += [_put(server, case, make, seconds) for server in servers]
            rows += [_put_at_pace(server, image, first + _PACED_FROM, seconds) for server in servers]
            deleted = [image.manifest(first - 1 - each) for each in range(count)]
            rows += [_delete(server, deleted) for server in servers]
            rows.append(_limit(_NEW, new_files(bench.folder, _CLIENTS, seconds / 2)))
            rows.append(_limit(_REPLACED, replaced_files(bench.folder, _CLIENTS, seconds / 2)))
    medians = median_rows(rows)
    return Outcome(
        "Manifests written",
        f"{_CLIENTS} connections, each with one request at a time, from our own client, which takes up to a core; where"
        " there are only two, the server has one of them. Each PUT is of a manifest that was not there before, of"
        f" blobs or manifests that were, and moves one of {_TAGS} tags; a tag that is moved goes from one of two"
        f" manifests to the other. At a pace, a request is sent when it is due, and what is late for the answer before"
        f" it counts from then on. {count} manifests without a tag are deleted, in the same repository. cargohold"
        " syncs all files and folders before it answers, Distribution its files, zot nothing. The limits are of one"
        " small file each, by as many threads: a new one; and one that takes the place of another, which the goals are"
        " put beside, since each push here moves a tag. That frees what was on the disk, and where the file system"
        " tells the disk so at once (`discard`), it takes longer than the writing.",
        medians,
        list(_goals(medians)),
    )


def _cases(image: Image, first: int) -> Iterator[tuple[str, Callable[[int], bytes]]]:
    """Each case with what makes its requests from their number; nothing before was numbered from `first` on."""
    children = [image.manifest(number) for number in range(_CHILDREN)]
    yield _IMAGE, lambda number: _request(number, image.manifest(first + number))
    yield _INDEX, lambda number: _request(number, _index(children, first + number), _INDEX_TYPE)
    yield _MOVE, lambda number: _request(number, children[number // _TAGS % 2])


def _request(number: int, content: bytes, media_type: str = MANIFEST_TYPE) -> bytes:
    path = f"/v2/{REPOSITORY}/manifests/t{number % _TAGS}"
    return requests.request("PUT", path, content, headers={"Content-Type": media_type})


def _index(children: Sequence[bytes], revision: int) -> bytes:
    listed = [
        {
            "mediaType": MANIFEST_TYPE,
            "digest": digest(content),
            "size": len(content),
            "platform": {"os": "linux", "architecture": f"a{number}"},
        }
        for number, content in enumerate(children)
    ]
    annotations = {"org.opencontainers.image.revision": str(revision)}
    index = {"schemaVersion": 2, "mediaType": _INDEX_TYPE, "manifests": listed, "annotations": annotations}
    return json.dumps(index).encode()


def _put(server: Server, case: str, make: Callable[[int], bytes], seconds: float) -> Row:
    took = requests.send(server, make, 201, _CLIENTS, seconds)
    return Row(case, server.contestant.name, took.figures())


def _put_at_pace(server: Server, image: Image, first: int, seconds: float) -> Row:
    def make(number: int) -> bytes:
        return _request(number, image.manifest(first + number))

    took = requests.send(server, make, 201, _CLIENTS, seconds, _PACE)
    return Row(_PACED, server.contestant.name, took.figures())


def _push(server: Server, manifests: Sequence[bytes]) -> None:
    """Push them by their digests."""
    ask(server, _CLIENTS, iter([partial(_push_one, each) for each in manifests]), _DELETE_SECONDS)


def _push_one(content: bytes, connection: Connection) -> None:
    connection.push_manifest(REPOSITORY, digest(content), content)


def _delete(server: Server, manifests: Sequence[bytes]) -> Row:
    _push(server, manifests)
    jobs = iter([partial(_delete_one, digest(each)) for each in manifests])
    took = ask(server, _CLIENTS, jobs, _DELETE_SECONDS)
    return Row(_DELETE, server.contestant.name, took.figures())


def _delete_one(name: str, connection: Connection) -> None:
    connection.ask(202, "DELETE", f"/v2/{REPOSITORY}/manifests/{name}")


def _limit(case: str, synced: Synced) -> Row:
    percents = {requests.P50: 50, requests.P99: 99, requests.P999: 99.9}
    times = {name: requests.percentile(synced.took, percent) for name, percent in percents.items()}
    return Row(case, "limit", {requests.RATE: synced.rate, **times})


def _goals(rows: Sequence[Row]) -> Iterator[Goal]:
    disk = figure(rows, _REPLACED, "limit", requests.RATE)
    for case in (_IMAGE, _INDEX, _MOVE, _DELETE):
        yield from ratio_goal(rows, case, requests.RATE, "distribution", 2)
        ours = figure(rows, case, "cargohold", requests.RATE)
        if ours is not None and disk:
            text = f"{case}: {requests.RATE}, share of the disk's ({_REPLACED})"
            yield Goal(text, ours / disk, 0.8, at_least=True)
        yield from limit_goal(rows, case, requests.P99, 5)
    yield from limit_goal(rows, _PACED, requests.P99, 5)
