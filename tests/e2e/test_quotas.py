"""Quotas hold among the processes of a real server, whoever pushes, mounts and deletes at the same time."""

from __future__ import annotations

import json
import random
import subprocess
import sys
import time
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from tests.e2e.pushing import (
    EMPTY,
    digest_of,
    make_manifest,
    one_to_each,
    push_blob,
    put_manifest,
    start_upload,
)
from tests.http.serving import until
from tests.http.wire import Wire
from tests.observe.reading import scraped

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping

    from tests.e2e.conftest import Start
    from tests.e2e.server import Server

TOGETHER = 3_000_000
EACH = 900_000
CLIENTS = 8
STEPS = 120
REPOSITORIES = [f"team/{number}" for number in range(4)]


QUOTAS = json.dumps(
    [
        {"repository": "team/**", "bytes": TOGETHER},
        {"repository": "team/*", "bytes": EACH, "each": True},
    ]
)


def limited(start: Start, storage: Path | None = None) -> Server:
    return start({"workers": 2, "quotas": QUOTAS}, storage=storage)


def held(storage: Path, repository: str) -> int:
    """How many bytes a repository holds, as anyone finds who looks at its files; nothing must be changing."""
    v2 = storage / "docker/registry/v2"
    folder = v2 / "repositories" / repository
    links = [*folder.glob("_layers/sha256/*/link"), *folder.glob("_manifests/revisions/sha256/*/link")]
    names = [link.parent.name for link in links]
    contents = [v2 / "blobs/sha256" / name[:2] / name / "data" for name in names]
    return sum(file.stat().st_size for file in [*contents, *folder.glob("_uploads/*/data")])


class Client:
    """Pushes and deletes at random, by one worker after the other, and counts how often it is refused."""

    def __init__(self, server: Server, wires: list[Wire], number: int) -> None:
        self.server = server
        self.wires = wires
        self.chance = random.Random(number)
        self.pushed: list[tuple[str, str]] = []
        self.denied = 0

    def run(self) -> int:
        for _ in range(STEPS):
            step = self.chance.choice(
                [self.put, self.put, self.patch, self.mount, self.manifest, self.delete]
            )
            step(self.chance.choice(self.wires), self.chance.choice(REPOSITORIES))
        return self.denied

    def judge(self, status: int, expected: int) -> bool:
        assert status in {expected, 403}, status
        self.denied += status == 403
        return status == expected

    def content(self) -> bytes:
        """Some contents are those of others too."""
        chance = random.Random(self.chance.randrange(40)) if self.chance.random() < 0.3 else self.chance
        return chance.randbytes(chance.randrange(1, 60_000))

    def start(self, wire: Wire, repository: str) -> str | None:
        answer = wire.ask("POST", f"/v2/{repository}/blobs/uploads/")
        return answer["location"] if self.judge(answer.status, 202) else None

    def put(self, wire: Wire, repository: str) -> None:
        content = self.content()
        digest = digest_of(content)
        location = self.start(wire, repository)
        if location is not None:
            answer = wire.ask("PUT", f"{location}?digest={digest}", body=content)
            if self.judge(answer.status, 201):
                self.pushed.append((repository, digest))
            else:
                assert wire.ask("DELETE", location).status == 204

    def patch(self, wire: Wire, repository: str) -> None:
        """By chunks of no announced length; what was refused may stay as a session."""
        content = self.content()
        location = self.start(wire, repository)
        if location is None:
            return
        wire.request("PATCH", location, "Transfer-Encoding: chunked")
        for begin in range(0, len(content), 7_000):
            wire.chunk(content[begin : begin + 7_000])
        wire.chunk(b"")
        if self.judge(wire.response().status, 202) and self.chance.random() < 0.8:
            digest = digest_of(content)
            assert wire.ask("PUT", f"{location}?digest={digest}").status == 201
            self.pushed.append((repository, digest))

    def mount(self, wire: Wire, repository: str) -> None:
        if self.pushed:
            source, digest = self.chance.choice(self.pushed)
            answer = wire.ask("POST", f"/v2/{repository}/blobs/uploads/?mount={digest}&from={source}")
            if answer.status == 202:
                assert wire.ask("DELETE", answer["location"]).status == 204
            elif self.judge(answer.status, 201):
                self.pushed.append((repository, digest))

    def manifest(self, wire: Wire, repository: str) -> None:
        document = {"schemaVersion": 2, "manifests": [], "annotations": {"of": self.content().hex()[:30_000]}}
        document["mediaType"] = "application/vnd.oci.image.index.v1+json"
        content = json.dumps(document).encode()
        answer = wire.ask(
            "PUT", f"/v2/{repository}/manifests/it", f"Content-Type: {document['mediaType']}", body=content
        )
        self.judge(answer.status, 201)

    def delete(self, wire: Wire, _repository: str) -> None:
        if self.pushed and self.chance.random() < 0.7:
            repository, digest = self.pushed.pop(self.chance.randrange(len(self.pushed)))
            assert wire.ask("DELETE", f"/v2/{repository}/blobs/{digest}").status in {202, 404}


def push_at_random(server: Server, number: int) -> int:
    with one_to_each(server) as wires:
        return Client(server, wires, number).run()


def fill(wire: Wire, storage: Path) -> Iterator[int]:
    """Use up what each repository may hold, and then what all of them may; how many bytes fitted each time."""
    for repository in [*REPOSITORIES, "team/last", "team/rest"]:
        left = min(EACH - held(storage, repository), TOGETHER - sum(held_by_all(storage)))
        if left:
            content = random.Random(left).randbytes(left)
            location = start_upload(wire, repository)
            too_much = wire.ask("PATCH", location, body=content + b"1")
            assert (too_much.status, json.loads(too_much.body)["errors"][0]["code"]) == (403, "DENIED")
            assert wire.ask("PUT", f"{location}?digest={digest_of(content)}", body=content).status == 201
        assert wire.ask("POST", f"/v2/{repository}/blobs/uploads/").status == 403
        yield left


def held_by_all(storage: Path) -> Iterator[int]:
    for repository in [*REPOSITORIES, "team/last", "team/rest"]:
        yield held(storage, repository)


@pytest.mark.parametrize("number", range(2))
def test_many_clients_at_the_limit(start: Start, number: int) -> None:
    """Whatever many do at once by two workers, no quota is ever passed, and in the end the last byte can be used."""
    server = limited(start)
    for turn in range(2):
        numbers = [(number * 2 + turn) * CLIENTS + each for each in range(CLIENTS)]
        with ThreadPoolExecutor(CLIENTS) as pool:
            denied = sum(pool.map(lambda each: push_at_random(server, each), numbers))
        assert denied > CLIENTS, "the limit was hardly met"
        assert max(held_by_all(server.storage)) <= EACH
        assert sum(held_by_all(server.storage)) <= TOGETHER
    with Wire(server.url) as wire:
        assert sum(fill(wire, server.storage)) > 0
    assert sum(held_by_all(server.storage)) == TOGETHER


def test_everything_for_the_last_room(start: Start) -> None:
    """Of uploads, mounts and manifests that come at once by two workers, exactly those are taken that fit."""
    server = limited(start)
    with one_to_each(server) as wires:
        blobs = [bytes([number]) * 100_000 for number in range(20)]
        for content in blobs:
            location = start_upload(wires[0], "elsewhere")
            assert wires[0].ask("PUT", f"{location}?digest={digest_of(content)}", body=content).status == 201
        locations = [start_upload(wires[0], "team/app") for _ in range(20)]

    def mount(number: int) -> bool:
        target = f"/v2/team/app/blobs/uploads/?mount={digest_of(blobs[number])}&from=elsewhere"
        with Wire(server.url) as wire:
            return wire.ask("POST", target).status == 201

    def patch(number: int) -> bool:
        with Wire(server.url) as wire:
            return wire.ask("PATCH", locations[number], body=bytes(100_000)).status == 202

    steps = [(each, number) for number in range(20) for each in (mount, patch)]
    with ThreadPoolExecutor(16) as pool:
        taken = sum(pool.map(lambda step: step[0](step[1]), steps))
    assert taken == EACH // 100_000
    assert held(server.storage, "team/app") == EACH
    with Wire(server.url) as wire:
        assert wire.ask("POST", "/v2/team/other/blobs/uploads/").status == 202


def test_after_a_kill(start: Start) -> None:
    """What a server had in hand when it was killed takes no room but that of the bytes that are there."""
    server = limited(start)

    def push_until_it_dies(number: int) -> None:
        with suppress(OSError, EOFError), Wire(server.url) as wire:
            for _ in range(10_000):
                answer = wire.ask("POST", f"/v2/team/{number % 4}/blobs/uploads/")
                if answer.status == 202:
                    wire.ask("PATCH", answer["location"], body=bytes(20_000))
                    if number % 2:
                        wire.ask("DELETE", answer["location"])

    with ThreadPoolExecutor(CLIENTS) as pool:
        pushers = [pool.submit(push_until_it_dies, number) for number in range(CLIENTS)]
        time.sleep(1.0)
        server.kill()
        for pusher in pushers:
            pusher.result()
    server = limited(start, server.storage)
    assert max(held_by_all(server.storage)) <= EACH
    assert sum(held_by_all(server.storage)) <= TOGETHER
    with Wire(server.url) as wire:
        assert sum(fill(wire, server.storage)) > 0
    assert sum(held_by_all(server.storage)) == TOGETHER


def test_room_comes_back_with_the_garbage(start: Start) -> None:
    """What was deleted counts as long as it can be restored; what was collected does not."""
    content = bytes(EACH - 3_000)
    settings = {"quotas": QUOTAS, "gc.grace": 1, "trash.keep": 0}
    server = start(settings)
    with Wire(server.url) as wire:
        for blob in (EMPTY, content):
            push_blob(wire, "team/app", blob)
        digest = put_manifest(wire, "team/app", "it", make_manifest("it", [content]))["docker-content-digest"]
        assert wire.ask("DELETE", f"/v2/team/app/manifests/{digest}").status == 202
        location = start_upload(wire, "team/app")
        assert wire.ask("PATCH", location, body=bytes(3_000)).status == 403
        time.sleep(2.5)
        collect(server, settings)
        assert wire.ask("PATCH", location, body=bytes(EACH)).status == 202
        assert held(server.storage, "team/app") == EACH


def collect(server: Server, settings: Mapping[str, object]) -> None:
    assignments = {"storage.path": server.storage, **settings}
    options = [word for name, value in assignments.items() for word in ("--set", f"{name}={value}")]
    cargohold = Path(sys.executable).parent / "cargohold"
    subprocess.run([cargohold, "gc", "--full-speed", "--no-wait", *options], check=True, timeout=60)


def used(server: Server) -> dict[tuple[str, str], float]:
    """What each worker says is used of the quotas, where they agree."""
    told = []
    with one_to_each(server) as wires:
        for wire in wires:
            found = scraped(wire.ask("GET", "/metrics").body)
            told.append(
                {
                    (labels["repository"], labels["each"]): found[name, labels]
                    for name, labels in found.names_and_labels("registry_quota_used_bytes")
                }
            )
    return told[0] if told[0] == told[1] else {}


def test_metrics(start: Start) -> None:
    """Every worker tells how much is used of each quota, whichever has stored it, and soon what was removed."""
    server = limited(start)
    assert used(server) == {("team/**", "false"): 0, ("team/*", "true"): 0}
    with Wire(server.url) as wire:
        for repository, size in (("team/a", 700_000), ("team/b", 500_000), ("elsewhere", 10)):
            push_blob(wire, repository, bytes(size))
    until(lambda: used(server) == {("team/**", "false"): 1_200_000, ("team/*", "true"): 700_000})
    with Wire(server.url) as wire:
        assert wire.ask("DELETE", f"/v2/team/a/blobs/{digest_of(bytes(700_000))}").status == 202
    until(lambda: used(server) == {("team/**", "false"): 500_000, ("team/*", "true"): 500_000})


def test_no_metrics_without_quotas(start: Start) -> None:
    """Where there are no quotas, or nothing can be pushed, nothing is told of them."""
    server = start({"workers": 1})
    with Wire(server.url) as wire:
        assert b"quota" not in wire.ask("GET", "/metrics").body
    assert server.stop() == 0
    server = start({"workers": 1, "quotas": QUOTAS, "read_only": "true"}, storage=server.storage)
    with Wire(server.url) as wire:
        assert b"quota" not in wire.ask("GET", "/metrics").body
