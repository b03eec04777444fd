"""Retention on a real server: what is pulled is noted, and what is not kept goes, while clients push and pull."""

from __future__ import annotations

import json
import os
import time
from concurrent.futures import ThreadPoolExecutor
from typing import TYPE_CHECKING

import pytest

from tests.cli.test_command import SCRIPT, run
from tests.e2e.dangling import faults
from tests.e2e.medium import folder_in_memory
from tests.e2e.pushing import (
    EMPTY,
    digest_of,
    make_manifest,
    one_to_each,
    pull_digest,
    push_blob,
    put_manifest,
)
from tests.http.serving import until
from tests.http.wire import Wire

if TYPE_CHECKING:
    from pathlib import Path

    from tests.e2e.conftest import Start
    from tests.e2e.server import Server

DAY = 86_400
RUNS = 3
MOST_PUSHES = 5_000
NEWEST = [{"repository": "ci/**", "newest": 2}]
PULLED = [{"repository": "ci/**", "pulled_within": "7d"}]
FIRST, SECOND = make_manifest("first"), make_manifest("second")


def push(wire: Wire, repository: str, tag: str, content: bytes) -> str:
    push_blob(wire, repository, EMPTY)
    assert put_manifest(wire, repository, tag, content).status == 201
    return digest_of(content)


def repository_of(server: Server, name: str) -> Path:
    return server.storage / "docker/registry/v2/repositories" / name


def noted(server: Server, name: str) -> dict[str, float]:
    """The digests whose pulls are noted, and when."""
    folder = repository_of(server, name) / "_cargohold/pulled"
    found = folder.glob("sha256-*") if folder.exists() else ()
    return {each.name.replace("-", ":", 1): each.stat().st_mtime for each in found}


def set_back(path: Path, seconds: float) -> None:
    then = path.stat().st_mtime - seconds
    os.utime(path, (then, then))


def retention(server: Server, rules: object, *arguments: str) -> list[tuple[str, bool]]:
    """What `cargohold retention` says of the tags of all repositories."""
    options = ("--storage-path", str(server.storage), "--set", f"retention={json.dumps(rules)}")
    ran = run(SCRIPT, "retention", "--json", *options, *arguments)
    assert ran.returncode == 0, ran.stderr
    return [(f"{each['repository']}:{each['tag']}", each["kept"]) for each in json.loads(ran.stdout)]


@pytest.mark.parametrize("method", ["GET", "HEAD"])
@pytest.mark.parametrize("by_tag", [True, False])
def test_pulls_are_noted(start: Start, method: str, *, by_tag: bool) -> None:
    """Each worker notes the pull of a manifest, by tag and by digest; of what is not pulled, and elsewhere, nothing."""
    server = start({"workers": 2, "retention": json.dumps(PULLED)})
    with one_to_each(server) as wires:
        for repository in ("ci/app", "prod/app"):
            digest = push(wires[0], repository, "one", FIRST)
            push(wires[0], repository, "two", SECOND)
        assert noted(server, "ci/app") == {}
        for wire in wires:
            for repository in ("ci/app", "prod/app"):
                target = f"/v2/{repository}/manifests/{'one' if by_tag else digest}"
                assert wire.ask(method, target).status == 200
                assert wire.ask(method, f"/v2/{repository}/manifests/none").status == 404
            assert noted(server, "ci/app").keys() == {digest}
            path = repository_of(server, "ci/app") / "_cargohold/pulled" / digest.replace(":", "-")
            assert path.stat().st_mtime == pytest.approx(time.time(), abs=60)
            path.unlink()
        assert noted(server, "prod/app") == {}


def test_what_is_pulled_is_kept(start: Start) -> None:
    """Of two old images the one goes that nobody pulls; before there is a week of record neither does."""
    server = start({"workers": 2, "retention": json.dumps(PULLED)})
    with Wire(server.url) as wire:
        push(wire, "ci/app", "used", FIRST)
        push(wire, "ci/app", "unused", SECOND)
        for tag in ("used", "unused"):
            set_back(repository_of(server, "ci/app") / f"_manifests/tags/{tag}/current/link", 30 * DAY)
        assert pull_digest(wire, "ci/app", "used") == digest_of(FIRST)
        assert retention(server, PULLED) == [("ci/app:unused", True), ("ci/app:used", True)]
        record = server.storage / "cargohold/pulls"
        written = json.loads(record.read_text())
        written["since"]["ci/**"] -= 8 * DAY
        record.write_text(json.dumps(written))
        set_back(repository_of(server, "ci/app") / "_cargohold/pulled/since", 8 * DAY)
        assert retention(server, PULLED, "--dry-run") == [("ci/app:unused", False), ("ci/app:used", True)]
        assert retention(server, PULLED) == [("ci/app:unused", False), ("ci/app:used", True)]
        assert pull_digest(wire, "ci/app", "unused") is None
        assert pull_digest(wire, "ci/app", "used") == digest_of(FIRST)
        assert json.loads(wire.ask("GET", "/v2/ci/app/tags/list").body)["tags"] == ["used"]


def test_a_server_that_was_off(start: Start) -> None:
    """While no server runs no image grows old: what was pulled shortly before its stop is kept after its start."""
    server = start({"workers": 1, "retention": json.dumps(PULLED)})
    with Wire(server.url) as wire:
        push(wire, "ci/app", "one", FIRST)
        assert pull_digest(wire, "ci/app", "one") == digest_of(FIRST)
    assert retention(server, PULLED) == [("ci/app:one", True)]
    assert server.stop() == 0
    record = server.storage / "cargohold/pulls"
    written = json.loads(record.read_text())
    written["since"]["ci/**"] -= 60 * DAY
    record.write_text(json.dumps(written))
    for path in (
        record,
        repository_of(server, "ci/app") / "_manifests/tags/one/current/link",
        *(repository_of(server, "ci/app") / "_cargohold/pulled").iterdir(),
    ):
        set_back(path, 30 * DAY)
    assert retention(server, PULLED) == [("ci/app:one", True)]
    again = start({"workers": 1, "retention": json.dumps(PULLED)}, storage=server.storage)
    assert retention(again, PULLED) == [("ci/app:one", True)]
    ((begun, ended),) = json.loads(record.read_text())["gaps"]
    assert ended - begun == pytest.approx(30 * DAY, abs=600)


def test_another_server_without_the_rule(start: Start) -> None:
    """A server that notes no pulls, since it has no such rule, ends the record: the next that does begins it anew."""
    server = start({"workers": 1, "retention": json.dumps(PULLED)})
    record = server.storage / "cargohold/pulls"
    assert json.loads(record.read_text())["since"].keys() == {"ci/**"}
    assert server.stop() == 0
    assert start({"workers": 1}, storage=server.storage).stop() == 0
    assert json.loads(record.read_text())["since"] == {}


def test_by_the_schedule(start: Start) -> None:
    """The collector applies the rules at the beginning of its runs; what it removes can be restored."""
    rules = [{"repository": "ci/**", "newest": 1, "tags": ["v*"]}]
    settings = {"retention": json.dumps(rules), "gc.schedule": "1s", "gc.grace": "1s"}
    server = start({"workers": 1, **settings})
    with Wire(server.url) as wire:
        push(wire, "prod/app", "old", FIRST)
        push(wire, "prod/app", "new", SECOND)
        push(wire, "ci/app", "v1", make_manifest("third"))
        push(wire, "ci/app", "old", FIRST)
        push(wire, "ci/app", "new", SECOND)
        until(lambda: pull_digest(wire, "ci/app", "old") is None)
        assert pull_digest(wire, "ci/app", "new") == digest_of(SECOND)
        assert pull_digest(wire, "ci/app", "v1") == digest_of(make_manifest("third"))
        assert pull_digest(wire, "prod/app", "old") == digest_of(FIRST)
    records = list((repository_of(server, "ci/app") / "_cargohold/trash").iterdir())
    assert [json.loads(each.read_text())["why"] for each in records] == ["retention"]


def test_beside_pushes(start: Start, tmp_path: Path) -> None:
    """While rules are applied again and again what was just pushed is there; at the end the newest are, and whole."""
    with folder_in_memory(tmp_path) as folder:
        server = start({"workers": 2, "gc.grace": "1s"}, storage=folder / "data")
        pushed = push_while_applying(server)
        kept = [(f"ci/app:{tag}", True) for tag in pushed[::-1]]
        assert retention(server, NEWEST)[:2] == kept
        assert retention(server, NEWEST) == kept
        assert faults(server.storage) == []
        assert server.stop() == 0


def push_while_applying(server: Server) -> list[str]:
    """Push two tags again and again, the same image now and then; the last two."""
    runs = 0
    with one_to_each(server) as wires, ThreadPoolExecutor(1) as runner:
        push_blob(wires[0], "ci/app", EMPTY)
        running = runner.submit(retention, server, NEWEST)
        for number in range(MOST_PUSHES):
            tags, content = [f"{number:04}-a", f"{number:04}-b"], make_manifest(str(number // 2))
            for tag, wire in zip(tags, wires, strict=True):
                assert put_manifest(wire, "ci/app", tag, content).status == 201
            # Each of the two newest tags, by the other worker.
            for tag, wire in zip(tags, reversed(wires), strict=True):
                assert pull_digest(wire, "ci/app", tag) == digest_of(content)
            if running.done():
                running.result()
                runs += 1
                if runs == RUNS:
                    return tags
                running = runner.submit(retention, server, NEWEST)
        raise AssertionError(f"{runs} runs within {MOST_PUSHES} pushes")
