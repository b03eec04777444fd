"""Referrers: what is listed, filtered, paged (spec.md, "Listing Referrers")."""

from __future__ import annotations

import re
from typing import Any

import pytest

from cargohold.types.oci import DOCKER_MANIFEST, OCI_INDEX, OCI_MANIFEST
from tests.registry.documents import (
    ABSENT,
    ABSENT_CONTENT,
    CONFIG_TYPE,
    descriptor,
    image,
    index,
    sha256,
    sha512,
)
from tests.routes.caller import Registry, Reply

SBOM, SIGNATURE = "application/vnd.example.sbom.v1", "application/vnd.example.signature.v1+json"
SUBJECT = {"mediaType": OCI_MANIFEST, "digest": ABSENT, "size": len(ABSENT_CONTENT)}
MOST = 4 * 2**20


@pytest.fixture
def registry() -> Registry:
    """With the blobs of an image in `app`."""
    made = Registry()
    made.push_layers("app")
    return made


def listed(
    registry: Registry, query: str = "", subject: str = ABSENT, repository: str = "app"
) -> list[dict[str, Any]]:
    """The descriptors of an answer whose form is checked."""
    return descriptors(registry.ask("GET", f"/v2/{repository}/referrers/{subject}{query}"))


def descriptors(reply: Reply) -> list[dict[str, Any]]:
    assert (reply.status, reply["content-type"]) == (200, OCI_INDEX)
    assert reply.json.keys() == {"schemaVersion", "mediaType", "manifests"}
    assert (reply.json["schemaVersion"], reply.json["mediaType"]) == (2, OCI_INDEX)
    found: list[dict[str, Any]] = reply.json["manifests"]
    return found


def test_nothing_refers_to_what_is_not_known(registry: Registry) -> None:
    """An unknown subject, of either algorithm, in a repository that is there or not, has an empty list, not 404."""
    for repository in ("app", "nowhere"):
        for subject in (ABSENT, sha512(ABSENT_CONTENT)):
            assert listed(registry, subject=subject, repository=repository) == []


def test_a_referrer_is_described(registry: Registry) -> None:
    """Each descriptor has type, digest, size, artifactType and all annotations, whether the subject is there or not."""
    content = image(subject=SUBJECT, artifactType=SBOM, annotations={"org.example": "a", "ключ": "значение"})
    registry.push("app", "sbom", content)
    expected = {
        "mediaType": OCI_MANIFEST,
        "digest": sha256(content),
        "size": len(content),
        "artifactType": SBOM,
        "annotations": {"org.example": "a", "ключ": "значение"},
    }
    assert listed(registry) == [expected]
    registry.push_blob("app", ABSENT_CONTENT)
    assert listed(registry) == [expected]


@pytest.mark.parametrize(
    ("content", "expected"),
    [
        (image(subject=SUBJECT), CONFIG_TYPE),
        (image(subject=SUBJECT, artifactType=""), CONFIG_TYPE),
        (image(subject=SUBJECT, artifactType=None), CONFIG_TYPE),
        (image(subject=SUBJECT, artifactType=SBOM), SBOM),
        (image(subject=SUBJECT, media_type=DOCKER_MANIFEST), CONFIG_TYPE),
        (image(subject=SUBJECT, media_type=None), CONFIG_TYPE),
        (index([], subject=SUBJECT, artifactType=SBOM), SBOM),
        (index([], subject=SUBJECT), None),
        (index([], subject=SUBJECT, artifactType="", media_type=None), None),
    ],
)
def test_the_type_of_a_referrer(registry: Registry, content: bytes, expected: str | None) -> None:
    """An image without an artifactType is listed with its config's type, an index without one has none."""
    registry.push("app", "v1", content)
    (found,) = listed(registry)
    assert found.get("artifactType") == expected
    assert ("artifactType" in found) == (expected is not None)
    assert "annotations" not in found


@pytest.mark.parametrize("subject", [sha256(ABSENT_CONTENT), sha512(ABSENT_CONTENT)])
def test_each_subject_has_its_own(registry: Registry, subject: str) -> None:
    """A referrer is listed under the digest that it names, in its repository, and nowhere else."""
    content = image(subject={**SUBJECT, "digest": subject})
    for reference in (sha256(content), sha512(content)):
        registry.push("app", reference, content)
    assert [each["digest"] for each in listed(registry, subject=subject)] == [
        sha256(content),
        sha512(content),
    ]
    (other,) = {sha256(ABSENT_CONTENT), sha512(ABSENT_CONTENT)} - {subject}
    assert listed(registry, subject=other) == []
    assert listed(registry, subject=sha256(content)) == []
    assert listed(registry, subject=subject, repository="other") == []


def test_a_push_again_is_no_second_referrer(registry: Registry) -> None:
    """The same manifest under several tags is one referrer."""
    content = image(subject=SUBJECT)
    for tag in ("a", "b", sha256(content)):
        registry.push("app", tag, content)
    assert [each["digest"] for each in listed(registry)] == [sha256(content)]


def test_a_deleted_referrer_is_gone(registry: Registry) -> None:
    """A manifest that is deleted leaves the list, and comes back with a push; one that lost its tag alone stays."""
    first, second = image(subject=SUBJECT, artifactType=SBOM), image(subject=SUBJECT, artifactType=SIGNATURE)
    for content in (first, second):
        registry.push("app", "v1", content)
    assert {each["digest"] for each in listed(registry)} == {sha256(first), sha256(second)}
    registry.ask("DELETE", f"/v2/app/manifests/{sha256(first)}")
    assert [each["digest"] for each in listed(registry)] == [sha256(second)]
    registry.push("app", "v1", first)
    assert {each["digest"] for each in listed(registry)} == {sha256(first), sha256(second)}


def test_referrers_outlive_their_subject(registry: Registry) -> None:
    """The subject may be pushed after what refers to it, and deleted before."""
    subject = image()
    named = descriptor(subject, OCI_MANIFEST)
    registry.push("app", "early", image(subject=named, artifactType=SBOM))
    registry.push("app", "v1", subject)
    registry.push("app", "late", image(subject=named, artifactType=SIGNATURE))
    assert len(listed(registry, subject=sha256(subject))) == 2
    registry.ask("DELETE", f"/v2/app/manifests/{sha256(subject)}")
    assert len(listed(registry, subject=sha256(subject))) == 2


def test_one_type_can_be_asked_for(registry: Registry) -> None:
    """`?artifactType=` lists that type alone, its plus encoded or not, and OCI-Filters-Applied says so."""
    for content in (
        image(subject=SUBJECT, artifactType=SBOM),
        image(subject=SUBJECT, artifactType=SIGNATURE),
        image(subject=SUBJECT),
        index([], subject=SUBJECT),
    ):
        registry.push("app", "v1", content)
    for asked, expected in (
        (SBOM, 1),
        (SIGNATURE.replace("+", "%2B"), 1),
        (SIGNATURE, 1),
        (CONFIG_TYPE.replace("+", "%2b"), 1),
        ("x", 0),
    ):
        reply = registry.ask("GET", f"/v2/app/referrers/{ABSENT}?artifactType={asked}")
        assert reply["oci-filters-applied"] == "artifactType"
        assert len(descriptors(reply)) == expected
    for query in ("", "?artifactType=", "?artifacttype=x"):
        reply = registry.ask("GET", f"/v2/app/referrers/{ABSENT}{query}")
        assert "oci-filters-applied" not in reply
        assert len(descriptors(reply)) == 4


@pytest.mark.parametrize("query", ["", f"?artifactType={SBOM}"])
def test_pages_are_as_large_as_a_manifest(registry: Registry, query: str) -> None:
    """A page is no larger than 4 MiB; the Link keeps the filter, and the pages together are the list."""
    contents = [
        image(
            subject=SUBJECT, artifactType=SBOM, annotations={"number": str(number), "padding": "x" * 700_000}
        )
        for number in range(13)
    ]
    for content in (*contents, image(subject=SUBJECT, artifactType=SIGNATURE)):
        registry.push("app", "v1", content)
    target: str | None = f"/v2/app/referrers/{ABSENT}{query}"
    found: list[str] = []
    sizes = []
    while target is not None:
        reply = registry.ask("GET", target)
        assert ("oci-filters-applied" in reply) == bool(query)
        sizes.append(len(reply.body))
        found += [each["digest"] for each in descriptors(reply)]
        link = (
            re.fullmatch(r'<(/v2/app/referrers/[^<>]+)>; rel="next"', reply["link"])
            if "link" in reply
            else None
        )
        target = link[1] if link else None
        assert len(sizes) < 10
    assert len(sizes) == 3
    assert all(MOST - 800_000 < size <= MOST for size in sizes[:-1])
    wanted = contents if query else [*contents, image(subject=SUBJECT, artifactType=SIGNATURE)]
    assert found == sorted(map(sha256, wanted))


def test_many_small_ones_are_one_page(registry: Registry) -> None:
    """Clients that read one page see all of a few thousand referrers: there is no Link below 4 MiB."""
    for number in range(300):
        registry.push("app", "v1", image([], subject=SUBJECT, annotations={"number": str(number)}))
    reply = registry.ask("GET", f"/v2/app/referrers/{ABSENT}?n=5")
    assert ("link" in reply, len(descriptors(reply))) == (False, 300)


def test_an_entry_as_large_as_a_page_is_a_page(registry: Registry) -> None:
    """Manifests of 4 MiB that are all annotations come one a page: none is left out, none makes a page too large."""
    contents = []
    for name in "ab":
        bare = index([], subject=SUBJECT, annotations={name: ""})
        contents.append(index([], subject=SUBJECT, annotations={name: "x" * (MOST - len(bare))}))
        assert len(contents[-1]) == MOST
        registry.push("app", name, contents[-1])
    first = registry.ask("GET", f"/v2/app/referrers/{ABSENT}")
    second = registry.ask("GET", first["link"].partition(">")[0].removeprefix("<"))
    assert [each["digest"] for page in (first, second) for each in descriptors(page)] == sorted(
        map(sha256, contents)
    )
    assert max(len(first.body), len(second.body)) <= MOST
    assert "link" not in second


@pytest.mark.parametrize("last", ["", "x", "sha256:", "%00", "zzz"])
def test_a_strange_last_is_no_error(registry: Registry, last: str) -> None:
    """`last` says after what to go on, whether anything is called so or not."""
    registry.push("app", "v1", image(subject=SUBJECT))
    assert len(listed(registry, f"?last={last}")) == (0 if last in ("x", "zzz") else 1)
