"""Nothing tells a user who may not pull a repository that it is there, or what is in it.

Neither status, body and headers of an answer do, nor the time that it takes.
"""

from __future__ import annotations

import base64
import hashlib
import http.client
import json
import random
import time
from bisect import bisect_left, bisect_right
from typing import TYPE_CHECKING, Any

import bcrypt
import pytest

from tests.e2e.medium import folder_in_memory

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from pathlib import Path

    from tests.e2e.conftest import Start
    from tests.e2e.server import Server

HIDDEN, ABSENT_REPOSITORY = "hidden/app", "absent/app"
SECRET = b"what nobody may know of"
SECRET_DIGEST = f"sha256:{hashlib.sha256(SECRET).hexdigest()}"
ABSENT = f"sha256:{hashlib.sha256(b'never pushed').hexdigest()}"
OCI_MANIFEST = "application/vnd.oci.image.manifest.v1+json"
EMPTY = b"{}"
EMPTY_DIGEST = f"sha256:{hashlib.sha256(EMPTY).hexdigest()}"

# Of two kinds of times that are drawn from one distribution, an entry of the first is above one of the second half of
# the time. With 10,000 of each the standard error is 0.4 per cent; this is five of it.
NO_DIFFERENCE = 0.02
ROUNDS = 10_000


class Client:
    """A client of its own connection; `login` stands in the Authorization header, where it is given."""

    def __init__(self, server: Server, login: str | None) -> None:
        self._connection = http.client.HTTPConnection(server.host, timeout=30)
        self._headers = {} if login is None else {"Authorization": login}

    def close(self) -> None:
        self._connection.close()

    def ask(
        self, method: str, target: str, body: bytes = b"", **headers: str
    ) -> tuple[int, dict[str, str], bytes]:
        self._connection.request(method, target, body or None, {**self._headers, **headers})
        answer = self._connection.getresponse()
        content = answer.read()
        return answer.status, {name.lower(): value for name, value in answer.getheaders()}, content

    def time(self, method: str, target: str) -> float:
        begun = time.perf_counter()
        self.ask(method, target)
        return time.perf_counter() - begun


def basic(name: str) -> str:
    return "Basic " + base64.b64encode(f"{name}:{name}".encode()).decode()


class Guarded:
    """A server, and its clients by their logins."""

    def __init__(self, server: Server) -> None:
        self._server = server
        self._clients: list[Client] = []

    def client(self, login: str | None) -> Client:
        client = Client(self._server, login)
        self._clients.append(client)
        return client

    def close(self) -> None:
        for client in self._clients:
            client.close()


@pytest.fixture
def memory(tmp_path: Path) -> Iterator[Path]:
    """Where the time of a disk neither hides anything nor is waited for ten thousands of times."""
    with folder_in_memory(otherwise=tmp_path) as folder:
        yield folder


@pytest.fixture
def guarded(memory: Path, start: Start, tmp_path: Path) -> Iterator[Guarded]:
    """Ann may do everything, eve everything in `eve/**`, and anybody may pull what is public.

    Of `drop/**` eve may pull nothing: what is there she may only add to, or delete.
    """
    users = tmp_path / "users"
    hashes = {name: bcrypt.hashpw(name.encode(), bcrypt.gensalt(4)).decode() for name in ("ann", "eve")}
    users.write_text("".join(f"{name}:{hashed}\n" for name, hashed in hashes.items()))
    rules = [
        {"repository": "eve/**", "users": ["eve"], "actions": ["pull", "push", "delete"]},
        {"repository": "drop/**", "users": ["eve"], "actions": ["push", "delete"]},
        {"repository": "public/**", "users": ["*", "anonymous"], "actions": ["pull"]},
        {"users": ["*"], "actions": ["catalog"]},
    ]
    server = start(
        {
            "auth.htpasswd": users,
            "auth.administrators": '["ann"]',
            "auth.rules": json.dumps(rules),
            "deletion": "true",
        },
        storage=memory / "data",
    )
    registry = Guarded(server)
    ann = registry.client(basic("ann"))
    for repository in (HIDDEN, "eve/own", "public/app"):
        push(ann, repository)
    yield registry
    registry.close()


def push(ann: Client, repository: str) -> str:
    """An image with the secret in it, tagged v1, and one that refers to it; the digest of the first."""
    for content, digest in ((EMPTY, EMPTY_DIGEST), (SECRET, SECRET_DIGEST)):
        assert ann.ask("POST", f"/v2/{repository}/blobs/uploads/?digest={digest}", content)[0] == 201
    image: dict[str, Any] = {
        "schemaVersion": 2,
        "mediaType": OCI_MANIFEST,
        "config": {"mediaType": "application/vnd.oci.empty.v1+json", "digest": EMPTY_DIGEST, "size": 2},
        "layers": [{"mediaType": "text/plain", "digest": SECRET_DIGEST, "size": len(SECRET)}],
    }
    body = json.dumps(image).encode()
    status, headers, _ = ann.ask(
        "PUT", f"/v2/{repository}/manifests/v1", body, **{"Content-Type": OCI_MANIFEST}
    )
    assert status == 201
    digest = headers["docker-content-digest"]
    subject = {"mediaType": OCI_MANIFEST, "digest": digest, "size": len(body)}
    signature = json.dumps({**image, "artifactType": "text/x-signature", "subject": subject}).encode()
    signed = f"sha256:{hashlib.sha256(signature).hexdigest()}"
    assert (
        ann.ask("PUT", f"/v2/{repository}/manifests/{signed}", signature, **{"Content-Type": OCI_MANIFEST})[0]
        == 201
    )
    return digest


def token_for(guarded: Guarded, login: str | None, *scopes: str) -> str:
    query = "&".join(["service=cargohold", *(f"scope={scope}" for scope in scopes)])
    status, _, content = guarded.client(login).ask("GET", f"/auth/token?{query}")
    assert status == 200, content
    return f"Bearer {json.loads(content)['token']}"


def everyone(guarded: Guarded) -> dict[str, str | None]:
    """All the ways to come without the right to pull."""
    scopes = [
        f"repository:{name}:pull,push,delete" for name in (HIDDEN, ABSENT_REPOSITORY, "eve/own", "eve/new")
    ]
    return {
        "nobody": None,
        "password": basic("eve"),
        "token": token_for(guarded, basic("eve"), *scopes, "registry:catalog:*"),
        "anonymous token": token_for(guarded, None, *scopes),
    }


def seen(answer: tuple[int, dict[str, str], bytes], repository: str) -> tuple[int, dict[str, str], bytes]:
    """An answer without what names the repository that was asked for, the session and the time."""
    status, headers, body = answer
    kept = {
        name: value.replace(repository, "REPOSITORY")
        for name, value in headers.items()
        if name not in ("date", "x-request-id")
    }
    session = kept.pop("docker-upload-uuid", None)
    if session:
        kept["location"] = kept["location"].replace(session, "SESSION")
    return status, kept, body.replace(repository.encode(), b"REPOSITORY")


def requests(repository: str, digest: str) -> list[tuple[str, str]]:
    """What can be asked of a repository, in which `digest` may be."""
    return [
        *((method, f"/v2/{repository}/manifests/v1") for method in ("GET", "HEAD", "PUT", "DELETE")),
        *((method, f"/v2/{repository}/manifests/{digest}") for method in ("GET", "HEAD", "PUT", "DELETE")),
        *((method, f"/v2/{repository}/blobs/{digest}") for method in ("GET", "HEAD", "DELETE")),
        ("GET", f"/v2/{repository}/tags/list"),
        ("GET", f"/v2/{repository}/tags/list?n=1&last=a"),
        ("GET", f"/v2/{repository}/referrers/{digest}"),
        ("POST", f"/v2/{repository}/blobs/uploads/"),
        ("POST", f"/v2/{repository}/blobs/uploads/?mount={digest}&from=public/app"),
    ]


def test_what_is_hidden_answers_as_what_is_not_there(guarded: Guarded) -> None:
    """Status, headers and body of every request for a hidden repository are those of one that does not exist."""
    manifest = guarded.client(basic("ann")).ask("HEAD", f"/v2/{HIDDEN}/manifests/v1")[1][
        "docker-content-digest"
    ]
    for way, login in everyone(guarded).items():
        client = guarded.client(login)
        for digest in (SECRET_DIGEST, manifest, ABSENT):
            for (method, hidden), (_, absent) in zip(
                requests(HIDDEN, digest), requests(ABSENT_REPOSITORY, digest), strict=True
            ):
                answers = client.ask(method, hidden), client.ask(method, absent)
                assert answers[0][0] in {401, 403}, (way, method, hidden)
                assert seen(answers[0], HIDDEN) == seen(answers[1], ABSENT_REPOSITORY), (way, method, hidden)
    ann = guarded.client(basic("ann"))
    assert ann.ask("GET", f"/v2/{HIDDEN}/tags/list")[2] == b'{"name":"hidden/app","tags":["v1"]}'


def test_who_may_push_or_delete_learns_what_is_there(guarded: Guarded) -> None:
    """Who may add to a repository hears what is missing, who may delete what was there; its content is not shown."""
    push(guarded.client(basic("ann")), "drop/app")
    eve = guarded.client(basic("eve"))
    image = {
        "schemaVersion": 2,
        "mediaType": OCI_MANIFEST,
        "config": {"mediaType": "application/vnd.oci.empty.v1+json", "digest": EMPTY_DIGEST, "size": 2},
        "layers": [],
    }
    for repository, status in (("drop/app", 201), ("drop/none", 404)):
        body = json.dumps(image).encode()
        put = eve.ask("PUT", f"/v2/{repository}/manifests/mine", body, **{"Content-Type": OCI_MANIFEST})
        assert put[0] == status
    assert eve.ask("DELETE", f"/v2/drop/app/blobs/{ABSENT}")[0] == 404
    assert eve.ask("DELETE", f"/v2/drop/app/blobs/{SECRET_DIGEST}")[0] == 202
    for path in (f"blobs/{EMPTY_DIGEST}", "manifests/v1", "tags/list"):
        assert eve.ask("GET", f"/v2/drop/app/{path}")[0] == 403


def test_a_mount_does_not_tell_what_is_hidden(guarded: Guarded) -> None:
    """To mount what is hidden is answered as to mount what is not there: by a session, nothing is mounted."""
    for way, login in everyone(guarded).items():
        if way in {"nobody", "anonymous token"}:
            continue  # they may push nowhere
        client = guarded.client(login)
        queries = [
            f"mount={EMPTY_DIGEST if source == 'none' else digest}{'' if source == 'none' else f'&from={source}'}"
            for digest in (SECRET_DIGEST, ABSENT)
            for source in (HIDDEN, ABSENT_REPOSITORY)
        ]
        answers = [
            seen(client.ask("POST", f"/v2/eve/new/blobs/uploads/?{query}"), "eve/new") for query in queries
        ]
        assert answers == [answers[0]] * len(answers), way
        assert answers[0][0] == 202


def test_a_mount_from_anywhere_does_not_find_what_is_hidden(guarded: Guarded) -> None:
    """Without a source, a blob of hidden repositories alone is not found; one that may be pulled is."""
    ann, eve = guarded.client(basic("ann")), guarded.client(basic("eve"))
    only_hidden = b"in the hidden repository alone"
    digest = f"sha256:{hashlib.sha256(only_hidden).hexdigest()}"
    assert ann.ask("POST", f"/v2/{HIDDEN}/blobs/uploads/?digest={digest}", only_hidden)[0] == 201
    answers = [
        seen(eve.ask("POST", f"/v2/eve/new/blobs/uploads/?mount={each}"), "eve/new")
        for each in (digest, ABSENT)
    ]
    assert answers[0] == answers[1]
    assert answers[0][0] == 202
    assert eve.ask("POST", f"/v2/eve/new/blobs/uploads/?mount={SECRET_DIGEST}")[0] == 201


def test_a_token_mounts_what_its_user_may_pull(guarded: Guarded) -> None:
    """Clients ask a token for the target alone; what its user may not pull is not there, named or not."""
    for number, (source, status) in enumerate(
        [("&from=eve/own", 201), ("&from=public/app", 201), ("", 201), (f"&from={HIDDEN}", 202)]
    ):
        target = f"eve/mounted{number}"
        client = guarded.client(token_for(guarded, basic("eve"), f"repository:{target}:pull,push"))
        assert client.ask("POST", f"/v2/{target}/blobs/uploads/?mount={SECRET_DIGEST}{source}")[0] == status
        assert client.ask("GET", f"/v2/eve/own/blobs/{SECRET_DIGEST}")[0] == 401


def test_the_catalog_shows_what_may_be_pulled(guarded: Guarded) -> None:
    """Names, page lengths and links are those of a registry that holds nothing else."""
    ann, eve = guarded.client(basic("ann")), guarded.client(basic("eve"))
    every = ["eve/own", HIDDEN, "public/app"]
    assert json.loads(ann.ask("GET", "/v2/_catalog")[2])["repositories"] == every
    for login in (basic("eve"), token_for(guarded, basic("eve"), "registry:catalog:*")):
        eve = guarded.client(login)
        assert json.loads(eve.ask("GET", "/v2/_catalog")[2])["repositories"] == ["eve/own", "public/app"]
        status, headers, body = eve.ask("GET", "/v2/_catalog?n=1")
        assert (status, json.loads(body)["repositories"]) == (200, ["eve/own"])
        assert headers["link"] == '</v2/_catalog?n=1&last=eve%2Fown>; rel="next"'
        assert "link" not in eve.ask("GET", "/v2/_catalog?n=1&last=eve/own")[1]
        assert "link" not in eve.ask("GET", "/v2/_catalog?n=2")[1]


def above(first: list[float], second: list[float]) -> float:
    """How often a time of the first is above one of the second: one half where they are alike."""
    ordered = sorted(second)
    counted = sum(bisect_left(ordered, each) + bisect_right(ordered, each) for each in first)
    return counted / (2 * len(first) * len(second))


def compare(first: Callable[[], float], second: Callable[[], float], rounds: int = ROUNDS) -> float:
    """How far from one half `above` is, of so many times of each, taken in an order of chance."""
    order = random.Random(0)
    times: tuple[list[float], list[float]] = [], []
    for _ in range(100):
        first(), second()
    for _ in range(rounds):
        for which in order.sample((0, 1), 2):
            times[which].append((first, second)[which]())
    return abs(above(*times) - 0.5)


@pytest.mark.slow
@pytest.mark.parametrize("way", ["nobody", "password", "token", "anonymous token"])
@pytest.mark.parametrize(
    "kind", ["tags/list", f"referrers/{SECRET_DIGEST}", "manifests/v1", f"blobs/{SECRET_DIGEST}"]
)
def test_time_does_not_tell_what_is_hidden(guarded: Guarded, way: str, kind: str) -> None:
    """Of 10,000 requests of each, those for a hidden repository take as long as those for one that does not exist."""
    client = guarded.client(everyone(guarded)[way])
    difference = compare(
        lambda: client.time("GET", f"/v2/{HIDDEN}/{kind}"),
        lambda: client.time("GET", f"/v2/{ABSENT_REPOSITORY}/{kind}"),
    )
    assert difference < NO_DIFFERENCE


@pytest.mark.slow
@pytest.mark.parametrize("way", ["password", "token"])
@pytest.mark.parametrize("source", ["&from=", ""])
def test_time_does_not_tell_what_could_be_mounted(guarded: Guarded, way: str, source: str) -> None:
    """As above, of mounts: from a repository that is named, and from any."""
    only_hidden = b"in the hidden repository alone"
    digest = f"sha256:{hashlib.sha256(only_hidden).hexdigest()}"
    ann = guarded.client(basic("ann"))
    assert ann.ask("POST", f"/v2/{HIDDEN}/blobs/uploads/?digest={digest}", only_hidden)[0] == 201
    client = guarded.client(everyone(guarded)[way])

    def mount(each: str, repository: str) -> float:
        query = f"mount={each}{source}{repository if source else ''}"
        begun = time.perf_counter()
        status, headers, _ = client.ask("POST", f"/v2/eve/new/blobs/uploads/?{query}")
        taken = time.perf_counter() - begun
        assert status == 202
        assert client.ask("DELETE", headers["location"])[0] == 204
        return taken

    difference = compare(lambda: mount(digest, HIDDEN), lambda: mount(ABSENT, ABSENT_REPOSITORY))
    assert difference < NO_DIFFERENCE


@pytest.mark.slow
@pytest.mark.parametrize("way", ["password", "token"])
def test_time_does_not_tell_what_the_catalog_hides(guarded: Guarded, way: str) -> None:
    """As above, of the catalog: of two pages with the same entries, one passes over a hidden repository."""
    client = guarded.client(everyone(guarded)[way])
    before, after = "/v2/_catalog?last=hidden/aaa", "/v2/_catalog?last=hidden/zzz"
    assert client.ask("GET", before)[2] == client.ask("GET", after)[2] == b'{"repositories":["public/app"]}'
    difference = compare(lambda: client.time("GET", before), lambda: client.time("GET", after))
    assert difference < NO_DIFFERENCE
