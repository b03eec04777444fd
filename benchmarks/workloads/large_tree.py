"""A storage with very many layers: how soon a registry answers on it, and what a collection of its garbage takes."""

from __future__ import annotations

import json
import os
import time
from contextlib import contextmanager
from dataclasses import dataclass, replace
from hashlib import sha256
from itertools import count
from typing import TYPE_CHECKING

from benchmarks.content import MANIFEST_TYPE
from benchmarks.contestants.cargohold import Cargohold
from benchmarks.contestants.distribution import Distribution
from benchmarks.load.connection import Connection
from benchmarks.load.meter import Meter
from benchmarks.load.requests import PEAK
from benchmarks.outcome import MIB, Goal, Outcome, Row, figure, limit_goal, median_rows
from benchmarks.processes import Server, highest_memory, started
from benchmarks.workloads.trees import has_room, in_memory

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    from benchmarks.bench import Bench
    from benchmarks.contestants.contestant import Contestant

LAYERS = 10
DELETED_EVERY = 10
_AGE_SECONDS = 48 * 3_600.0
_LAYERS_OF_A_REPOSITORY = 1_000
_MOST_ON_DISK = 10_000
# What a layer of the tree takes, with its share of an image: files and folders are counted alike.
_LAYER_BYTES, _LAYER_FILES = 17_000, 6
_SETTLE_SECONDS = 3.0
_LIMIT_SECONDS = 3_600.0
_LOOK_SECONDS = 0.01
_STARTS = 3
_START, _COLLECT = "start", "collect all of the tree"
_SECONDS, _CPU = "seconds", "server CPU s"


@dataclass(frozen=True)
class Tree:
    """A storage as cargohold and Distribution both keep it: old layers that hold nothing, in images of ten.

    Of one image in ten the manifest was deleted. `folder` is where it is while nobody serves it.
    """

    folder: str
    blobs: int
    repositories: int

    def write(self) -> None:
        """Make it, or put back what a collection has taken; all of it is on the disk then.

        What never got there is removed in no time, and whoever collects after the other would have less to wait for.
        """
        registry, before = f"{self.folder}/docker/registry/v2", time.time() - _AGE_SECONDS
        for number in range(0, self.blobs, LAYERS):
            folder = f"{registry}/repositories/{self.repository(number)}"
            layers = _layers(number)
            for layer in layers:
                _write(f"{registry}/{_data(layer)}", b"", before=before)
                _write(f"{folder}/_layers/sha256/{layer}/link", f"sha256:{layer}".encode(), before=before)
            if not _is_deleted(number):
                content = _manifest(layers)
                digest = sha256(content).hexdigest()
                link = f"sha256:{digest}".encode()
                _write(f"{registry}/{_data(digest)}", content)
                _write(f"{folder}/_manifests/revisions/sha256/{digest}/link", link)
                _write(f"{folder}/_manifests/tags/v{number}/index/sha256/{digest}/link", link)
                _write(f"{folder}/_manifests/tags/v{number}/current/link", link)
        os.sync()

    def repository(self, number: int) -> str:
        """That of the image whose first layer has the number."""
        return f"filled/r{number // LAYERS % self.repositories}"

    def check(self) -> None:
        """Raise RuntimeError unless what nothing needs is gone, and nothing else, as far as one looks."""
        registry = f"{self.folder}/docker/registry/v2"
        for number in range(0, self.blobs, max(LAYERS, self.blobs // 1_000 // LAYERS * LAYERS)):
            found = os.path.exists(f"{registry}/{_data(_layers(number)[0])}")
            if found == _is_deleted(number):
                raise RuntimeError(f"layer {number} is {'still there' if found else 'gone'}")

    @contextmanager
    def served_by(self, contestant: Contestant, parent: str) -> Iterator[Server]:
        """A server on it, in a folder below `parent` that stays."""
        with self.taken_to(contestant, parent) as folder:
            server = Server(contestant, folder)
            try:
                yield server
            finally:
                server.stop()

    @contextmanager
    def taken_to(self, contestant: Contestant, parent: str) -> Iterator[str]:
        """The tree is moved to where the contestant expects its storage, in the folder that this gives, and back."""
        folder = f"{parent}/{contestant.name}"
        os.makedirs(folder, exist_ok=True)
        os.rename(self.folder, f"{folder}/data")
        try:
            yield folder
        finally:
            os.rename(f"{folder}/data", self.folder)


def large_tree(bench: Bench) -> Outcome:
    """Goals: the first answer within 0.5 s; a collection no longer than that of Distribution, in 300 MB."""
    contestants = [each for each in bench.contestants if isinstance(each, (Cargohold, Distribution))]
    wanted = bench.scale.tree_blobs
    held = [each for each in wanted if has_room(each * _LAYER_BYTES, each * _LAYER_FILES)]
    blobs = held[0] if held else min(wanted[-1], _MOST_ON_DISK)
    with in_memory(bench, blobs * _LAYER_BYTES) as roomy:
        tree = Tree(f"{roomy.folder}/tree", blobs, max(1, blobs // _LAYERS_OF_A_REPOSITORY))
        tree.write()
        outcome = measured(tree, contestants, roomy.folder)
    place = "on the disk" if roomy is bench else "in memory, where nothing waits for a disk"
    return replace(outcome, about=f"{outcome.about} The storage was {place}.")


def measured(tree: Tree, contestants: Sequence[Contestant], parent: str) -> Outcome:
    """The same for a tree that is there."""
    starts = [_start(tree, contestant, parent) for _ in range(_STARTS) for contestant in contestants]
    rows = median_rows(starts)
    rows += [_collect(tree, contestant, parent) for contestant in contestants]
    ours, theirs = (figure(rows, _COLLECT, name, _SECONDS) for name in ("cargohold", "distribution"))
    ratio = (
        [Goal(f"{_COLLECT}: {_SECONDS}, times those of distribution", ours / theirs, 1)]
        if ours and theirs
        else []
    )
    return Outcome(
        "A large storage",
        f"{tree.blobs:,} layers that hold nothing, in images of {LAYERS}, in {tree.repositories:,} repositories; of one"
        f" image in {DELETED_EVERY} the manifest was deleted. `{_START}` is from the start of the program to its first"
        f" answer, to the first manifest by its tag, and the processor time and the highest memory until"
        f" {_SETTLE_SECONDS:g} s after that; the median of {_STARTS}, by turns. `{_COLLECT}` is `cargohold gc"
        " --full-speed`, which leaves it to the next run to remove the bytes that it has put aside, and `registry"
        " garbage-collect`, during which the registry must be stopped; each from its beginning to its end, on the same"
        " tree, with the highest memory that the system has noted of the process (VmHWM). zot keeps another tree, and"
        " collects inside its server.",
        rows,
        [*limit_goal(rows, _START, "first answer s", 0.5), *ratio, *limit_goal(rows, _COLLECT, PEAK, 300)],
    )


def _start(tree: Tree, contestant: Contestant, parent: str) -> Row:
    number = next(each for each in count(0, LAYERS) if not _is_deleted(each))
    with tree.served_by(contestant, parent) as server, Meter(server) as meter:
        began = time.perf_counter()
        with Connection(server.port) as connection:
            headers = {"accept": MANIFEST_TYPE}
            connection.ask(200, "GET", f"/v2/{tree.repository(number)}/manifests/v{number}", headers=headers)
        pulled = server.first_answer + time.perf_counter() - began
        time.sleep(_SETTLE_SECONDS)
        cpu = server.cpu_seconds()
    figures = {
        "first answer s": server.first_answer,
        "first manifest s": pulled,
        _CPU: cpu,
        PEAK: meter.memory / MIB,
    }
    return Row(_START, contestant.name, figures)


def _collect(tree: Tree, contestant: Contestant, parent: str) -> Row:
    with tree.taken_to(contestant, parent) as folder:
        log = f"{folder}/collected"
        figures = run_measured(_command(contestant, folder), log)
        if isinstance(contestant, Cargohold):
            _check_all_was_looked_at(tree, log)
    tree.check()
    tree.write()
    return Row(_COLLECT, contestant.name, figures)


def _command(contestant: Contestant, folder: str) -> list[str]:
    if isinstance(contestant, Cargohold):
        return collection_command(contestant, f"{folder}/data", "--full-speed")
    settings = contestant.command(folder, 0)[-1]
    return [contestant.program, "garbage-collect", "--quiet", settings]


def collection_command(contestant: Contestant, storage: str, *words: str) -> list[str]:
    """A collection by cargohold, with all its defaults but for the words."""
    return [contestant.program, "gc", "--json", "--no-wait", "--storage-path", storage, *words]


def _check_all_was_looked_at(tree: Tree, log: str) -> None:
    """Raise RuntimeError where a collection went on from where another was broken off, or left something out."""
    with open(log, encoding="utf-8") as told:
        report = json.loads(told.readlines()[-1])
    if report["resumed"] or not report["ended"] or report["repositories"] != tree.repositories:
        raise RuntimeError(f"not all of {tree.repositories} repositories were gone through: {report}")


def run_measured(command: list[str], log: str) -> dict[str, float]:
    """What a program takes until its end; raises RuntimeError where that is not a good one.

    What its memory was in the last hundredth of a second is not seen.
    """
    with open(log, "wb") as output:
        began = time.monotonic()
        process = started(command, output)
    try:
        pid, status, usage, memory = 0, 0, None, 0
        while not pid and time.monotonic() < began + _LIMIT_SECONDS:
            # Not `ru_maxrss`, which has the memory that the benchmark itself had as it started the program.
            memory = max(memory, highest_memory(process.pid))
            time.sleep(_LOOK_SECONDS)
            pid, status, usage = os.wait4(process.pid, os.WNOHANG)
        seconds = time.monotonic() - began
        if not pid or usage is None:
            raise RuntimeError(f"{command[:2]} takes more than {_LIMIT_SECONDS:g} s")
        process.returncode = os.waitstatus_to_exitcode(status)
    finally:
        if process.returncode is None:
            process.kill()
            process.wait()
    if process.returncode:
        with open(log, encoding="utf-8", errors="replace") as told:
            raise RuntimeError(f"{command[:2]} ended with {process.returncode}: {told.read()[-2000:]}")
    return {_SECONDS: seconds, _CPU: usage.ru_utime + usage.ru_stime, PEAK: memory / MIB}


def _is_deleted(number: int) -> bool:
    return number // LAYERS % DELETED_EVERY == 0


def _layers(number: int) -> list[str]:
    return [sha256(b"%d" % each).hexdigest() for each in range(number, number + LAYERS)]


def _data(digest: str) -> str:
    return f"blobs/sha256/{digest[:2]}/{digest}/data"


def _manifest(layers: Sequence[str]) -> bytes:
    listed = [{"mediaType": "text/plain", "digest": f"sha256:{each}", "size": 0} for each in layers]
    document = {"schemaVersion": 2, "mediaType": MANIFEST_TYPE, "config": listed[0], "layers": listed[1:]}
    return json.dumps(document).encode()


def _write(path: str, content: bytes, *, before: float | None = None) -> None:
    """Make a file, unless it is there; as if the file and its folder had been made at a time long before."""
    try:
        with open(path, "xb", buffering=0) as file:
            file.write(content)
    except FileExistsError:
        return
    except FileNotFoundError:
        os.makedirs(os.path.dirname(path), exist_ok=True)
        _write(path, content, before=before)
    else:
        if before is not None:
            for each in (path, os.path.dirname(path)):
                os.utime(each, (before, before))
