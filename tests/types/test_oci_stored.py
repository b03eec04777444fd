"""Content that is stored already: its type, and how it is listed (spec.md, "Listing Referrers")."""

from __future__ import annotations

import json
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from cargohold.types.digest import Algorithm, Digest
from cargohold.types.oci import (
    DOCKER_MANIFEST,
    DOCKER_SCHEMA1,
    DOCKER_SCHEMA1_SIGNED,
    OCI_INDEX,
    OCI_MANIFEST,
    OCTET_STREAM,
    descriptor_artifact_type,
    detect_media_type,
    referrer_of,
    referrers_index,
)
from tests.types.documents import (
    CHILD,
    CONFIG,
    SUBJECT,
    UNTYPED_IMAGE,
    UNTYPED_INDEX,
    Document,
    image,
    index,
    without,
    written,
)

OWN = Digest.of(b"own")


@pytest.mark.parametrize(
    ("document", "media_type"),
    [
        (image(), OCI_MANIFEST),
        (image(mediaType=DOCKER_MANIFEST), DOCKER_MANIFEST),
        (index(mediaType="application/vnd.example+json"), "application/vnd.example+json"),
        (UNTYPED_IMAGE, OCI_MANIFEST),
        (UNTYPED_INDEX, OCI_INDEX),
        (image(mediaType=None), OCI_MANIFEST),
        (image(mediaType=""), OCI_MANIFEST),
        (index(mediaType=7), OCI_INDEX),
        (index(mediaType="text"), OCI_INDEX),
        (index(mediaType="a/b\r\nSet-Cookie: c"), OCI_INDEX),
        (index(mediaType="application/b; c=d"), OCI_INDEX),
        (index(mediaType=f"application/{'b' * 128}"), OCI_INDEX),
        (index(mediaType="text/html"), OCI_INDEX),
        ({"schemaVersion": 2, "manifests": None}, OCI_INDEX),
        ({**UNTYPED_IMAGE, "manifests": None}, OCI_MANIFEST),
        ({**UNTYPED_IMAGE, "manifests": [CHILD]}, OCI_INDEX),
        ({"schemaVersion": 1, "fsLayers": [], "signatures": [{}]}, DOCKER_SCHEMA1_SIGNED),
        ({"schemaVersion": 1, "fsLayers": []}, DOCKER_SCHEMA1),
        ({"schemaVersion": 1, "mediaType": DOCKER_SCHEMA1_SIGNED}, DOCKER_SCHEMA1_SIGNED),
        ({}, OCI_MANIFEST),
    ],
)
def test_content_has_the_type_that_it_names_or_looks_like(document: Document, media_type: str) -> None:
    """A name that can stand in a header counts, then schema 1 and whether it was signed, then the fields."""
    assert detect_media_type(written(document)) == media_type


@pytest.mark.parametrize("content", [b"", b"[]", b"null", b'"x"', b"{", b"\0" * 100, b'{"x":' + b"[" * 10**6])
def test_content_that_cannot_be_read_is_bytes(content: bytes) -> None:
    """What is no JSON object has no type of its own, and is nobody's referrer."""
    assert detect_media_type(content) == OCTET_STREAM
    assert referrer_of(OWN, content) is None


def test_fields_that_do_not_matter_are_not_read() -> None:
    """Other servers took what we do not: numbers out of range, text in no encoding."""
    content = written(image(x="\xff", y=0)).replace(b"\\u00ff", b"\xff").replace(b'"y": 0', b'"y": 1e999')
    assert detect_media_type(content) == OCI_MANIFEST


@pytest.mark.parametrize(
    ("document", "listed"),
    [
        (image(), {"mediaType": OCI_MANIFEST, "artifactType": CONFIG["mediaType"]}),
        (image(artifactType="a/b"), {"mediaType": OCI_MANIFEST, "artifactType": "a/b"}),
        (image(artifactType=""), {"mediaType": OCI_MANIFEST, "artifactType": CONFIG["mediaType"]}),
        (image(artifactType=5), {"mediaType": OCI_MANIFEST}),
        (image(config=5), {"mediaType": OCI_MANIFEST}),
        (image(config={"mediaType": ""}), {"mediaType": OCI_MANIFEST}),
        (without(image(), "config"), {"mediaType": OCI_MANIFEST}),
        (index(), {"mediaType": OCI_INDEX}),
        (index(artifactType="a/b"), {"mediaType": OCI_INDEX, "artifactType": "a/b"}),
        (index(annotations={}), {"mediaType": OCI_INDEX}),
        (
            index(annotations={"a": "\u00e9", "b": ""}),
            {"mediaType": OCI_INDEX, "annotations": {"a": "\u00e9", "b": ""}},
        ),
        (
            index(annotations={"a": "b", "c": 5, "d": None}),
            {"mediaType": OCI_INDEX, "annotations": {"a": "b"}},
        ),
        (index(annotations=["a"]), {"mediaType": OCI_INDEX}),
    ],
)
def test_a_referrer_is_listed_as_the_specification_says(document: Document, listed: Document) -> None:
    """Its type, digest and size; its artifact type or an image's config type; its own annotations; nothing empty."""
    content = written({**document, "subject": SUBJECT})
    referrer = referrer_of(OWN, content)
    assert referrer is not None
    assert referrer.subject == SUBJECT["digest"]
    assert json.loads(referrer.descriptor) == {"digest": OWN, "size": len(content), **listed}
    assert descriptor_artifact_type(referrer.descriptor) == listed.get("artifactType")


@pytest.mark.parametrize(
    "subject",
    [
        None,
        {},
        [],
        "x",
        5,
        SUBJECT["digest"],
        {"digest": None},
        {"digest": 5},
        {"digest": "latest"},
        {"digest": "sha256:" + "A" * 64},
        {"size": 5},
    ],
)
def test_what_has_no_valid_subject_is_no_referrer(subject: Any) -> None:
    """A subject that names no digest is none; the other fields of its descriptor do not matter here."""
    assert referrer_of(OWN, written(image(subject=subject))) is None
    digest = str(Digest.of(b"subject", Algorithm.SHA512))
    referrer = referrer_of(OWN, written(image(subject={"digest": digest})))
    assert referrer is not None
    assert referrer.subject == digest


def test_a_list_of_referrers_is_an_index() -> None:
    """The descriptors as they were made, in their order, within an image index; none make an empty one."""
    whole = {"schemaVersion": 2, "mediaType": OCI_INDEX}
    made = [referrer_of(Digest.of(name), written(image(subject=SUBJECT))) for name in (b"1", b"2")]
    descriptors = [referrer.descriptor for referrer in made if referrer]
    assert json.loads(referrers_index([])) == {**whole, "manifests": []}
    assert json.loads(referrers_index(descriptors)) == {**whole, "manifests": [*map(json.loads, descriptors)]}
    assert detect_media_type(referrers_index(descriptors)) == OCI_INDEX


fields = st.sampled_from([*image(), "subject", "annotations", "artifactType", "manifests", "signatures"])
values = st.recursive(
    st.one_of(st.none(), st.booleans(), st.integers(), st.text(), st.just(SUBJECT["digest"])),
    lambda inner: st.one_of(
        st.lists(inner, max_size=3),
        st.dictionaries(st.one_of(st.text(), st.sampled_from(["digest", "mediaType"])), inner, max_size=3),
    ),
    max_leaves=8,
)


@given(st.one_of(st.binary(), st.dictionaries(fields, values).map(written)))
def test_any_content_is_served_and_listed(content: bytes) -> None:
    """Whatever lies in a tree, its type can stand in a header, and a referrer's descriptor is JSON."""
    kind, _, subtype = detect_media_type(content).partition("/")
    assert kind.isprintable()
    assert subtype.isprintable()
    assert f"{kind}{subtype}".isascii()
    referrer = referrer_of(OWN, content)
    if referrer is not None:
        listed = json.loads(referrer.descriptor)
        assert (listed["digest"], listed["size"]) == (OWN, len(content))
        assert listed["mediaType"] == f"{kind}/{subtype}"
