"""What is acknowledged is on the disk: the kernel saw every sync end before the answer was sent."""

from __future__ import annotations

import re
import time
from collections import defaultdict
from itertools import count
from pathlib import Path
from typing import TYPE_CHECKING, NamedTuple

import pytest

from tests.e2e.pushing import EMPTY, MANIFEST, digest_of, make_manifest
from tests.e2e.server import Server
from tests.e2e.tracing import Tracer, Unsynced
from tests.http.wire import Wire

if TYPE_CHECKING:
    from collections.abc import Callable

    from tests.e2e.tracing import Call

PAGE = Path(__file__).parents[2] / "docs/storage.md"
MAY_BE_LOST = re.compile(r"^cargohold/|/_uploads(/|$)|/_cargohold/(hashing/|referrers\.seen|tags\.list)")
NAME_MAY_BE_LOST = re.compile(r"/_manifests/tags/[^/]+/index(/|$)")
"""What the page says need not survive a power cut; the bytes of the latter do, if the name does."""
_OLD_SECONDS = 0.15


class Syncs(NamedTuple):
    """How many files and how many folders are synced."""

    files: int
    folders: int


class Operation(NamedTuple):
    """A request as the kernel saw it, up to the first byte of its answer; what a power cut could undo then."""

    name: str
    status: int
    syncs: Syncs
    faults: list[str]


class Client:
    """Requests one after the other, each under the name that the page gives to its like."""

    def __init__(self, wire: Wire) -> None:
        self._wire = wire
        self.asked: list[tuple[str, int]] = []

    def ask(self, name: str, method: str, target: str, body: bytes = b"", *headers: str) -> str:
        """Ask, when what was asked before is old enough to be known by its times; the Location that is answered."""
        time.sleep(_OLD_SECONDS)
        response = self._wire.ask(method, target, *headers, body=body)
        assert response.status < 300, (name, response)
        self.asked.append((name, response.status))
        return dict(response.headers).get("location", "")

    def push(self, name: str, repository: str, content: bytes) -> None:
        self.ask(name, "POST", f"/v2/{repository}/blobs/uploads/?digest={digest_of(content)}", content)

    def put(self, name: str, repository: str, reference: str, content: bytes) -> None:
        target = f"/v2/{repository}/manifests/{reference}"
        self.ask(name, "PUT", target, content, f"Content-Type: {MANIFEST}")

    def delete(self, name: str, target: str) -> None:
        self.ask(name, "DELETE", target)


def alike(make: Callable[[str], bytes]) -> bytes:
    """Content whose digest begins as that of all others from here, and so lies in the same folder of content."""
    texts = map(str, _numbers)
    return next(content for text in texts if digest_of(content := make(text)).startswith("sha256:00"))


_numbers = count()


def some_blob() -> bytes:
    return alike(str.encode)


def some_manifest(subject: bytes | None = None) -> bytes:
    return alike(lambda text: make_manifest(text, subject=subject))


def operate_on_blobs(client: Client) -> None:
    """Every operation on blobs and sessions, in the repositories `a/b` and `c/d`, which have seen the like of it."""
    known, fresh = some_blob(), some_blob()
    client.push("", "a/b", known)
    client.push("", "c/d", some_blob())

    session = client.ask("start an upload session", "POST", "/v2/a/b/blobs/uploads/")
    client.ask("`PATCH`", "PATCH", session, fresh[:1])
    client.ask("`PATCH`", "PATCH", session, fresh[1:])
    client.ask("end an upload session with its `PUT`", "PUT", f"{session}?digest={digest_of(fresh)}")
    client.push("push a blob with one `POST`", "a/b", some_blob())
    client.push("push a blob again", "a/b", known)
    client.push("push a blob whose content is stored, to another repository", "c/d", known)
    session = client.ask("start an upload session", "POST", "/v2/a/b/blobs/uploads/")
    client.ask("`PATCH`", "PATCH", session, fresh)
    client.delete("cancel an upload session", session)
    mount = f"/v2/c/d/blobs/uploads/?mount={digest_of(fresh)}&from=a/b"
    client.ask("mount a blob", "POST", mount)
    client.ask("mount a blob again", "POST", mount)
    client.delete("delete a blob", f"/v2/c/d/blobs/{digest_of(fresh)}")
    client.ask("mount a blob that was unlinked", "POST", mount)
    client.delete("delete a blob", f"/v2/c/d/blobs/{digest_of(fresh)}")
    client.push("push a blob whose content is stored, to another repository", "c/d", fresh)
    client.push("push the first blob of a repository `e/f`", "e/f", some_blob())


def operate_on_manifests(client: Client) -> None:
    """Every operation on manifests and tags, in `a/b`, which has seen the like of it."""
    client.push("", "a/b", EMPTY)
    client.push("", "e/f", EMPTY)
    first, second, subject = some_manifest(), some_manifest(), some_manifest()
    client.put("", "a/b", "warm", subject)
    client.put("", "a/b", "warm", some_manifest(subject=subject))
    client.delete("", "/v2/a/b/manifests/warm")
    manifests = "/v2/a/b/manifests/"

    client.put("push a manifest with a new tag", "a/b", "one", first)
    client.put("push a manifest and its tag again", "a/b", "one", first)
    client.put("push a manifest and its tag once more", "a/b", "one", first)
    client.put("push a manifest by digest", "a/b", digest_of(second), second)
    client.put("move a tag to a stored manifest", "a/b", "one", second)
    client.put("move a tag back to where it has pointed", "a/b", "one", first)
    client.put("push a manifest and move a tag to it", "a/b", "one", some_manifest())
    both = some_manifest()
    client.put("push a manifest by digest with a new `?tag=`", "a/b", f"{digest_of(both)}?tag=two", both)
    referrer = some_manifest(subject)
    client.put("push a second referrer of a subject", "a/b", digest_of(referrer), referrer)
    client.delete("delete a tag", f"{manifests}two")
    client.delete("delete a manifest without a tag", manifests + digest_of(second))
    client.put("push a deleted manifest by digest", "a/b", digest_of(second), second)
    client.put("tag a stored manifest", "a/b", "three", second)
    client.put("give a stored manifest another tag", "a/b", "four", second)
    client.delete("delete a manifest with its tags", manifests + digest_of(second))
    client.put("push the first manifest of a repository `e/f`, with a tag", "e/f", "one", first)


@pytest.fixture(scope="module")
def operations(tmp_path_factory: pytest.TempPathFactory) -> list[Operation]:
    """Every writing operation, in one worker that is traced."""
    folder = tmp_path_factory.mktemp("traced")
    server = Server(folder / "data", {"workers": 1, "manifests.allow_tag_deletion": True})
    try:
        (worker,) = server.workers()
        tracer = Tracer(worker, folder / "trace")
        with Wire(server.url) as wire:
            client = Client(wire)
            operate_on_blobs(client)
            operate_on_manifests(client)
        calls = tracer.calls()
    finally:
        assert server.stop() == 0
    return list(_judged(calls, server.storage, client.asked))


def _judged(calls: list[Call], root: Path, asked: list[tuple[str, int]]) -> list[Operation]:
    unsynced = Unsynced(str(root), MAY_BE_LOST, NAME_MAY_BE_LOST)
    found: list[Operation] = []
    synced: list[Call] = []
    folders = {call.paths[0] for call in calls if call.name == "openat" and "O_DIRECTORY" in call.arguments}
    for call in calls:
        unsynced.see(call)
        if call.name == "fsync":
            synced.append(call)
        if call.status is not None and call.status >= 200:
            name, status = asked[len(found)]
            assert status == call.status
            assert all(each.end < call.begin for each in synced)
            of_folders = sum(each.paths[0] in folders for each in synced)
            found.append(
                Operation(name, status, Syncs(len(synced) - of_folders, of_folders), unsynced.faults())
            )
            synced = []
    assert len(found) == len(asked)
    return found


def test_nothing_unsynced_when_answered(operations: list[Operation]) -> None:
    """When an answer is sent, every file written and every name made or removed has been synced.

    What may be lost is what the page names: upload sessions, and our own lists, locks and hash states.
    """
    assert {operation.name: operation.faults for operation in operations if operation.faults} == {}


def test_syncs_are_those_of_the_page(operations: list[Operation]) -> None:
    """The page states how many files and folders each writing operation syncs; it does so each time."""
    counted = defaultdict(set)
    for operation in operations:
        if operation.name:
            counted[operation.name].add(operation.syncs)
    assert dict(counted) == {name: {syncs} for name, syncs in _stated().items()}


def _stated() -> dict[str, Syncs]:
    section = PAGE.read_text().partition("\n## What is synced\n")[2].partition("\n## ")[0]
    rows = re.findall(r"^\| (.+?) \| +(\d+) \| +(\d+) \|$", section, re.MULTILINE)
    return {name.strip(): Syncs(int(files), int(folders)) for name, files, folders in rows}
