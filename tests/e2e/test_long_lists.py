"""Lists of a hundred thousand names, on a tree that another server wrote, asked of two workers."""

from __future__ import annotations

import json
import os
import re
import shutil
import time
from bisect import bisect_right, insort
from itertools import chain, islice
from typing import TYPE_CHECKING

import pytest

from tests.e2e.medium import folder_in_memory
from tests.e2e.pushing import EMPTY, digest_of, make_manifest, one_to_each, push_blob, put_manifest
from tests.http.wire import Wire

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from tests.e2e.conftest import Start
    from tests.e2e.server import Server

MANY = 100_000
PAGE = 100
PAGES_FROM_A_PLACE = 5
BIG_PAGE = 1_000
MOST_PAGES = 1_000
FIRST_WALK_SECONDS = 120
NEXT_WALK_SECONDS = 60
FILES = 800_000
"""More than any test here makes. A file system in memory may have room for fewer."""

UNSTAMPED_SECONDS = 0.2
"""A folder that has changed less than a tenth of a second ago is read anew whatever is known of it."""


class Tree:
    """What another server has left on the disk, written as it writes it."""

    def __init__(self, root: Path) -> None:
        self.root = root
        self._base = root / "docker/registry/v2"

    def repository(self, name: str) -> Path:
        return self._base / "repositories" / name

    def store(self, content: bytes) -> str:
        """Adds the bytes of a manifest; its digest."""
        encoded = digest_of(content).partition(":")[2]
        folder = self._base / "blobs/sha256" / encoded[:2] / encoded
        folder.mkdir(parents=True)
        (folder / "data").write_bytes(content)
        return digest_of(content)

    def add(self, repository: str, digest: str) -> None:
        """Makes a repository of one manifest, or adds that to it."""
        _write_link(f"{self.repository(repository)}/_manifests/revisions/{_path(digest)}", digest)

    def tag(self, repository: str, tag: str, digest: str) -> None:
        """Makes a tag."""
        folder = f"{self.repository(repository)}/_manifests/tags/{tag}"
        _write_link(f"{folder}/index/{_path(digest)}", digest)
        _write_link(f"{folder}/current", digest)

    def untag(self, repository: str, tag: str) -> None:
        """Removes a tag."""
        shutil.rmtree(self.repository(repository) / "_manifests/tags" / tag)


def _path(digest: str) -> str:
    return digest.replace(":", "/")


def _write_link(folder: str, digest: str) -> None:
    os.makedirs(folder)
    with open(f"{folder}/link", "w", encoding="ascii") as file:
        file.write(digest)


@pytest.fixture
def tree(tmp_path: Path) -> Iterator[Tree]:
    with folder_in_memory(otherwise=tmp_path) as folder:
        has_room = os.statvfs(folder).f_favail > FILES
        yield Tree((folder if has_room else tmp_path) / "data")


def listed(wire: Wire, target: str, member: str) -> tuple[list[str], str | None]:
    """The names of a page, and the target of the next."""
    response = wire.ask("GET", target)
    assert response.status == 200, response
    names: list[str] = json.loads(response.body)[member]
    if "link" not in response:
        return names, None
    link = re.fullmatch(r'<(/v2/[^<>]+)>; rel="next"', response["link"])
    assert link
    return names, link[1]


def pages(wires: list[Wire], target: str, member: str) -> Iterator[list[str]]:
    """The pages from `target` on, each asked of another worker than the one before."""
    for turn in range(MOST_PAGES):
        names, following = listed(wires[turn % len(wires)], target, member)
        yield names
        if following is None:
            return
        target = following
    raise AssertionError("the list has no end")


def check(server: Server, target: str, expected: list[str], places: list[str]) -> None:
    """Each worker gives the pages from the beginning and after each place, asked twice; together they give the whole.

    The connections are new; `expected` is sorted by bytes. There is always a page, be it empty.
    """
    member = "tags" if target.endswith("/tags/list") else "repositories"
    with one_to_each(server) as wires:
        for last in ("", *places):
            rest = expected[bisect_right(expected, last) :][: PAGES_FROM_A_PLACE * PAGE]
            wanted = [rest[at : at + PAGE] for at in range(0, len(rest), PAGE)] or [[]]
            for order in (wires, wires[::-1]):
                found = pages(order, f"{target}?n={PAGE}&last={last.replace('/', '%2F')}", member)
                assert list(islice(found, PAGES_FROM_A_PLACE)) == wanted, last
        assert list(chain(*pages(wires, f"{target}?n={BIG_PAGE}", member))) == expected


@pytest.mark.slow
def test_tags(tree: Tree, start: Start) -> None:
    """A page of 100,000 tags is right wherever it begins, and stays so as tags are pushed, made by hand and removed."""
    digest = tree.store(make_manifest("long"))
    tree.add("long/list", digest)
    tags = sorted(map(str, range(MANY)))
    for tag in tags:
        tree.tag("long/list", tag, digest)
    server = start({"workers": 2}, storage=tree.root)
    target = "/v2/long/list/tags/list"
    places = ["0", "4", "44444", "44444-is-no-tag", "Z", tags[-PAGE - 1], tags[-2], tags[-1]]
    check(server, target, tags, places)

    time.sleep(UNSTAMPED_SECONDS)
    check(server, target, tags, places)

    with Wire(server.url) as wire:
        push_blob(wire, "long/list", EMPTY)
        for tag in ("44444-pushed", "pushed"):
            assert put_manifest(wire, "long/list", tag, make_manifest("pushed")).status == 201
            insort(tags, tag)
    check(server, target, tags, places)

    time.sleep(UNSTAMPED_SECONDS)
    check(server, target, tags, places)

    tree.tag("long/list", "44444-by-hand", digest)
    insort(tags, "44444-by-hand")
    check(server, target, tags, places)

    time.sleep(UNSTAMPED_SECONDS)
    check(server, target, tags, places)

    tree.untag("long/list", "44444")
    tags.remove("44444")
    check(server, target, tags, places)


def test_deletion(tree: Tree, start: Start) -> None:
    """Deleting a manifest takes its own tags out of 10,000, and no others; the last takes the repository with it."""
    rare, common = tree.store(make_manifest("rare")), tree.store(make_manifest("common"))
    tags = sorted(map(str, range(10_000)))
    for digest in (rare, common):
        tree.add("long/list", digest)
    for tag in tags:
        tree.tag("long/list", tag, rare if tag.endswith("77") else common)
    server = start({"workers": 2}, storage=tree.root)
    target = "/v2/long/list/tags/list"
    check(server, target, tags, ["77"])

    with Wire(server.url) as wire:
        assert wire.ask("DELETE", f"/v2/long/list/manifests/{rare}").status == 202
        check(server, target, [tag for tag in tags if not tag.endswith("77")], ["77", "9977"])
        assert wire.ask("GET", "/v2/long/list/manifests/77").status == 404
        assert wire.ask("GET", "/v2/long/list/manifests/78")["docker-content-digest"] == common
        assert wire.ask("DELETE", f"/v2/long/list/manifests/{common}").status == 202
    with one_to_each(server) as wires:
        assert [wire.ask("GET", target).status for wire in wires] == [404, 404]
    check(server, "/v2/_catalog", [], [])


@pytest.mark.slow
def test_repositories(tree: Tree, start: Start) -> None:
    """A page of 100,000 repositories is right wherever it begins; one that we push is listed at once, by all.

    One that another server made is listed after the next walk of the tree: here, the first after a start.
    """
    digest = tree.store(make_manifest("long"))
    names = sorted(f"team{number % 1000}/app{number}" for number in range(MANY))
    for name in names:
        tree.add(name, digest)
    server = start({"workers": 2}, storage=tree.root)
    wait_for_walks(server)
    places = ["a", "team1", "team5/app", "team5/app5005", "team777/z", names[-PAGE - 1], names[-2], names[-1]]
    check(server, "/v2/_catalog", names, places)

    with Wire(server.url) as wire:
        for name in ("team5/app5005/pushed", "pushed"):
            push_blob(wire, name, EMPTY)
            assert put_manifest(wire, name, "v1", make_manifest("pushed")).status == 201
            insort(names, name)
    check(server, "/v2/_catalog", names, places)

    time.sleep(UNSTAMPED_SECONDS)
    check(server, "/v2/_catalog", names, places)

    with Wire(server.url) as wire:
        assert wire.ask("DELETE", f"/v2/team5/app5005/manifests/{digest}").status == 202
    names.remove("team5/app5005")
    check(server, "/v2/_catalog", names, places)

    assert server.stop() == 0
    tree.add("team5/app5005/by-hand", digest)
    insort(names, "team5/app5005/by-hand")
    again = start({"workers": 2}, storage=tree.root)
    wait_for_walks(again)
    check(again, "/v2/_catalog", names, places)


def test_a_repository_of_another_server(tree: Tree, start: Start) -> None:
    """Among 5,000, one that another server makes is listed by all once one of us has walked the tree again."""
    digest = tree.store(make_manifest("long"))
    names = sorted(f"team{number % 1000}/app{number}" for number in range(5_000))
    for name in names:
        tree.add(name, digest)
    server = start({"workers": 2}, storage=tree.root)
    wait_for_walks(server)
    check(server, "/v2/_catalog", names, ["team5"])
    tree.add("team5/by-hand", digest)
    insort(names, "team5/by-hand")
    deadline = time.monotonic() + NEXT_WALK_SECONDS
    with Wire(server.url) as wire:
        while "team5/by-hand" not in listed(wire, "/v2/_catalog?n=10&last=team5%2Fapp995", "repositories")[0]:
            assert time.monotonic() < deadline
            time.sleep(0.05)
    check(server, "/v2/_catalog", names, ["team5"])


def wait_for_walks(server: Server) -> None:
    """The first list that a worker gives waits for its first walk of the tree."""
    with one_to_each(server) as wires:
        for wire in wires:
            wire.socket.settimeout(FIRST_WALK_SECONDS)
            assert wire.ask("GET", "/v2/_catalog?n=1").status == 200
