"""Tags, catalog and referrers over HTTP, whichever worker answers (spec.md, "Content Discovery")."""

from __future__ import annotations

import json
import re
from typing import TYPE_CHECKING, Any

import pytest

from cargohold.types.oci import OCI_INDEX
from tests.http.wire import Wire
from tests.registry.documents import descriptor, digest_of, index, sha256, sha512

if TYPE_CHECKING:
    from collections.abc import Iterator

    from tests.e2e.conftest import Start
    from tests.e2e.server import Server

CONTENT = index([])
SBOM, SIGNATURE = "application/vnd.example.sbom.v1", "application/vnd.example.signature.v1+json"


@pytest.fixture
def server(start: Start) -> Server:
    """One of the test's own, with two workers and nothing in it."""
    return start({"workers": 2})


@pytest.fixture
def wires(server: Server) -> Iterator[list[Wire]]:
    """Several connections, which the workers share among them."""
    wires = [Wire(server.url) for _ in range(6)]
    yield wires
    for wire in wires:
        wire.socket.close()


def push(wire: Wire, repository: str, reference: str, content: bytes = CONTENT) -> None:
    response = wire.ask("PUT", f"/v2/{repository}/manifests/{reference}", body=content)
    assert response.status == 201, response


def asked(wire: Wire, target: str) -> dict[str, Any]:
    response = wire.ask("GET", target)
    assert (response.status, wire.ask("HEAD", target)["content-length"]) == (200, str(len(response.body)))
    document = json.loads(response.body)
    assert isinstance(document, dict)
    return document


def follow(wires: list[Wire], target: str, member: str) -> list[Any]:
    """The members of all pages, each page asked of another connection."""
    found: list[Any] = []
    for turn in range(1000):
        response = wires[turn % len(wires)].ask("GET", target)
        assert response.status == 200
        found += json.loads(response.body)[member]
        if "link" not in response:
            return found
        link = re.fullmatch(r'<(/v2/[^<>]+)>; rel="next"', response["link"])
        assert link
        target = link[1]
    raise AssertionError("the list has no end")


def test_a_change_is_listed_at_once(wires: list[Wire]) -> None:
    """After each push and each delete every worker lists the tags and repositories as they are then."""
    tags: set[str] = set()
    for number in range(40):
        content = index([], annotations={"number": str(number % 8)})
        if number % 5 == 4:
            deleted = index([], annotations={"number": str((number + 3) % 8)})
            status = wires[number % 6].ask("DELETE", f"/v2/lists/app/manifests/{sha256(deleted)}").status
            assert status in (202, 404)
            tags -= {tag for tag in tags if int(tag[1:]) % 8 == (number + 3) % 8}
        push(wires[number % 6], "lists/app", f"t{number:02}", content)
        tags.add(f"t{number:02}")
        for wire in wires:
            assert asked(wire, "/v2/lists/app/tags/list") == {"name": "lists/app", "tags": sorted(tags)}
    for wire in wires:
        assert asked(wire, "/v2/_catalog") == {"repositories": ["lists/app"]}


def test_lists_are_sorted_by_bytes_and_paged(wires: list[Wire]) -> None:
    """Tags and repositories come in the order of their bytes, and the Links lead through all of them."""
    tags = ["1", "10", "2", "A", "Z", "_", "a", "a-b", "a.b", "a_b", "b"]
    names = ["a", "a-b", "a.b", "a/b", "a/b/c", "a0", "a_b", "b", "b/tags"]
    for name in names:
        push(wires[0], name, f"{sha256(CONTENT)}?{'&'.join(f'tag={tag}' for tag in reversed(tags))}")
    for n in (1, 2, 4, 100):
        assert follow(wires, f"/v2/a/b/tags/list?n={n}", "tags") == sorted(tags)
        assert follow(wires, f"/v2/_catalog?n={n}", "repositories") == sorted(names)
    assert asked(wires[1], "/v2/a/tags/list?n=3&last=A")["tags"] == ["Z", "_", "a"]
    assert asked(wires[2], "/v2/_catalog?n=2&last=a%2Fb")["repositories"] == ["a/b/c", "a0"]
    assert asked(wires[3], "/v2/a/tags/list?n=0")["tags"] == []


def test_a_repository_goes_with_its_last_manifest(wires: list[Wire]) -> None:
    """It is listed from its first manifest to its last, and its tags are unknown before and after."""
    for _ in range(3):
        assert wires[0].ask("GET", "/v2/lists/gone/tags/list").status == 404
        push(wires[1], "lists/gone", "v1")
        assert asked(wires[2], "/v2/_catalog")["repositories"] == ["lists/gone"]
        assert wires[3].ask("DELETE", f"/v2/lists/gone/manifests/{sha256(CONTENT)}").status == 202
        assert asked(wires[4], "/v2/_catalog")["repositories"] == []
    assert b'"NAME_UNKNOWN"' in wires[5].ask("GET", "/v2/lists/gone/tags/list").body


@pytest.mark.parametrize("algorithm", ["sha256", "sha512"])
def test_referrers_come_and_go(wires: list[Wire], algorithm: str) -> None:
    """A referrer is listed from its push to its delete, before and after its subject, of either algorithm, by type."""
    subject = descriptor(CONTENT, OCI_INDEX, algorithm=algorithm)
    path = f"/v2/lists/app/referrers/{digest_of(CONTENT, algorithm)}"
    assert asked(wires[0], path) == {"schemaVersion": 2, "mediaType": OCI_INDEX, "manifests": []}
    sbom = index([], subject=subject, artifactType=SBOM, annotations={"of": "the image"})
    signature = index([], subject=subject, artifactType=SIGNATURE)
    for turn, (reference, content) in enumerate(((sha256(sbom), sbom), (sha512(signature), signature))):
        response = wires[turn].ask("PUT", f"/v2/lists/app/manifests/{reference}", body=content)
        assert (response.status, response["oci-subject"]) == (201, subject["digest"])
    listed = {each["digest"]: each for each in asked(wires[2], path)["manifests"]}
    assert listed.keys() == {sha256(sbom), sha512(signature)}
    assert listed[sha256(sbom)] == {
        **descriptor(sbom, OCI_INDEX),
        "artifactType": SBOM,
        "annotations": {"of": "the image"},
    }
    push(wires[3], "lists/app", str(subject["digest"]))
    response = wires[4].ask("GET", f"{path}?artifactType={SIGNATURE.replace('+', '%2B')}")
    assert response["content-type"] == OCI_INDEX
    assert response["oci-filters-applied"] == "artifactType"
    assert [each["digest"] for each in json.loads(response.body)["manifests"]] == [sha512(signature)]
    assert wires[5].ask("DELETE", f"/v2/lists/app/manifests/{sha256(sbom)}").status == 202
    for wire in wires:
        assert [each["digest"] for each in asked(wire, path)["manifests"]] == [sha512(signature)]
    assert wires[0].ask("DELETE", f"/v2/lists/app/manifests/{subject['digest']}").status == 202
    assert len(asked(wires[1], path)["manifests"]) == 1


def test_many_referrers_come_by_pages(wires: list[Wire]) -> None:
    """A list beyond 4 MiB is paged by Link; the pages together are all referrers, each once, with the filter kept."""
    subject = descriptor(CONTENT, OCI_INDEX)
    digests = []
    for number in range(10):
        annotations = {"number": str(number), "padding": "x" * 1_000_000}
        content = index([], subject=subject, artifactType=SBOM, annotations=annotations)
        push(wires[number % 6], "lists/app", sha256(content), content)
        digests.append(sha256(content))
    path = f"/v2/lists/app/referrers/{sha256(CONTENT)}"
    for target in (path, f"{path}?artifactType={SBOM}"):
        first = wires[0].ask("GET", target)
        assert len(first.body) <= 4 * 2**20
        assert ("artifactType" in first["link"]) == ("?" in target)
        assert sorted(each["digest"] for each in follow(wires, target, "manifests")) == sorted(digests)


def test_a_bad_page_is_refused(wires: list[Wire]) -> None:
    """A number that is none, and a digest that is none, are 400 in the form of every error."""
    push(wires[0], "lists/app", "v1")
    for target, code in (
        ("/v2/lists/app/tags/list?n=x", "PAGINATION_NUMBER_INVALID"),
        ("/v2/_catalog?n=-1", "PAGINATION_NUMBER_INVALID"),
        ("/v2/lists/app/referrers/latest", "DIGEST_INVALID"),
    ):
        response = wires[0].ask("GET", target)
        assert (response.status, response["content-type"]) == (400, "application/json")
        assert f'"code":"{code}"'.encode() in response.body
