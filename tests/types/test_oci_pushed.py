"""Manifests as they are pushed (image-spec: manifest.md, image-index.md, descriptor.md)."""

from __future__ import annotations

from typing import Any

import pytest

from cargohold.types.digest import Digest
from cargohold.types.oci import (
    DOCKER_MANIFEST,
    DOCKER_MANIFEST_LIST,
    DOCKER_SCHEMA1,
    DOCKER_SCHEMA1_SIGNED,
    MANIFEST_TYPES,
    NONDISTRIBUTABLE,
    OCI_INDEX,
    OCI_MANIFEST,
    parse_manifest,
)
from tests.types.documents import (
    ARTIFACT,
    CHILD,
    CONFIG,
    FIRST,
    SECOND,
    SUBJECT,
    UNTYPED_IMAGE,
    UNTYPED_INDEX,
    Document,
    descriptor,
    digests,
    image,
    index,
    refusal,
    without,
    written,
)

SUPPORTED = ", ".join(sorted(MANIFEST_TYPES))
NO_TYPE = f"the media type of a manifest must be one of {SUPPORTED}; not "


@pytest.mark.parametrize("media_type", [OCI_MANIFEST, DOCKER_MANIFEST])
def test_an_image_references_its_config_and_its_layers(media_type: str) -> None:
    """Both kinds of image: the config first, then the layers; each digest once; the bytes as they were sent."""
    content = written(image(mediaType=media_type, layers=[FIRST, SECOND, FIRST, CONFIG]))
    manifest = parse_manifest(content, media_type)
    assert manifest.media_type == media_type
    assert manifest.content == content
    assert manifest.blobs == digests(CONFIG, FIRST, SECOND)
    assert (manifest.manifests, manifest.subject) == ((), None)


@pytest.mark.parametrize("media_type", [OCI_INDEX, DOCKER_MANIFEST_LIST])
def test_an_index_references_its_children(media_type: str) -> None:
    """Both kinds of index: whatever the children are (BuildKit lists layers there); each digest once."""
    nested = descriptor(b"nested", OCI_INDEX, platform={"os": "linux", "architecture": "amd64"})
    content = written(index(mediaType=media_type, manifests=[CHILD, nested, FIRST, CHILD]))
    manifest = parse_manifest(content, media_type)
    assert manifest.media_type == media_type
    assert manifest.manifests == digests(CHILD, nested, FIRST)
    assert (manifest.blobs, manifest.subject) == ((), None)


@pytest.mark.parametrize(
    "document",
    [
        image(layers=[]),
        image(layers=None),
        ARTIFACT,
        without(ARTIFACT, "artifactType"),
        image(manifests=None, subject=None, annotations=None, artifactType=None),
        image(annotations={}, artifactType=""),
        image(annotations={"a": "", "Config": "\U0001f600"}),
        image(unknown={"deep": [1, None, 1e308, 10**30]}, fsLayers="x"),
        image(config={**CONFIG, "unknown": 1}, layers=[{**FIRST, "size": 2**63 - 1}]),
        image(
            layers=[{**FIRST, "urls": ["https://example.com"], "annotations": {"a": "b"}, "platform": None}]
        ),
        image(layers=[{**FIRST, "data": ""}, {**FIRST, "data": None}, descriptor(b"", data="")]),
        image(layers=[descriptor(b"x", "no-type-at-all")]),
        image(
            layers=[descriptor(b"12", digest=str(Digest.of(b"12", Digest("sha512:" + "0" * 128).algorithm)))]
        ),
        index(manifests=[]),
        index(manifests=None),
        index(config=None, layers=None),
        index(manifests=[CHILD], artifactType="application/vnd.example", annotations={"a": "b"}),
    ],
    ids=str,
)
def test_what_the_specification_allows_is_accepted(document: Document) -> None:
    """Artifacts, empty lists, null for absent, embedded data, unknown fields and types."""
    assert parse_manifest(written(document), document["mediaType"]).media_type == document["mediaType"]


@pytest.mark.parametrize("media_type", sorted(NONDISTRIBUTABLE))
def test_layers_that_may_not_be_distributed_need_not_be_here(media_type: str) -> None:
    """They are no blobs of the manifest, unless an ordinary layer has the same digest."""
    foreign = descriptor(b"windows", media_type, urls=["https://example.com/layer"])
    same = descriptor(b"first", media_type)
    assert parse_manifest(written(image(layers=[foreign, FIRST, same])), None).blobs == digests(CONFIG, FIRST)


@pytest.mark.parametrize("document", [image(subject=SUBJECT), index(subject=SUBJECT)], ids=["image", "index"])
def test_a_subject_is_taken_up(document: Document) -> None:
    """It need not be here, and is neither blob nor child."""
    manifest = parse_manifest(written(document), None)
    assert manifest.subject == SUBJECT["digest"]
    assert manifest.subject not in manifest.blobs + manifest.manifests
    referrer = manifest.referrer(Digest.of(manifest.content))
    assert referrer is not None
    assert referrer.subject == SUBJECT["digest"]


def test_without_a_subject_there_is_no_referrer() -> None:
    """Neither an absent subject nor a null one makes a referrer."""
    for document in (image(), image(subject=None), index()):
        manifest = parse_manifest(written(document), None)
        assert manifest.subject is None
        assert manifest.referrer(Digest.of(manifest.content)) is None


@pytest.mark.parametrize(
    ("document", "content_type", "media_type"),
    [
        (image(), OCI_MANIFEST.upper(), OCI_MANIFEST),
        (image(), f" {OCI_MANIFEST} ; charset=utf-8", OCI_MANIFEST),
        (image(), None, OCI_MANIFEST),
        (image(), "", OCI_MANIFEST),
        (image(), " ; charset=utf-8", OCI_MANIFEST),
        (UNTYPED_IMAGE, OCI_MANIFEST, OCI_MANIFEST),
        (UNTYPED_IMAGE, None, OCI_MANIFEST),
        (image(mediaType=None), None, OCI_MANIFEST),
        (image(mediaType=""), OCI_MANIFEST, OCI_MANIFEST),
        (index(), None, OCI_INDEX),
        (UNTYPED_INDEX, OCI_INDEX, OCI_INDEX),
        (UNTYPED_INDEX, None, OCI_INDEX),
        (image(mediaType=DOCKER_MANIFEST), None, DOCKER_MANIFEST),
        (index(mediaType=DOCKER_MANIFEST_LIST), None, DOCKER_MANIFEST_LIST),
    ],
)
def test_header_and_body_name_the_type(document: Document, content_type: str | None, media_type: str) -> None:
    """The header's parameters and case do not count; OCI bodies may leave it to the header, or to their fields."""
    assert parse_manifest(written(document), content_type).media_type == media_type


@pytest.mark.parametrize(
    ("document", "content_type", "message"),
    [
        (image(), OCI_INDEX, f"mediaType: must be the Content-Type, {OCI_INDEX}; not '{OCI_MANIFEST}'"),
        (
            image(mediaType=DOCKER_MANIFEST),
            OCI_MANIFEST,
            f"mediaType: must be the Content-Type, {OCI_MANIFEST}; not '{DOCKER_MANIFEST}'",
        ),
        (
            image(mediaType=OCI_MANIFEST.upper()),
            OCI_MANIFEST,
            f"mediaType: must be the Content-Type, {OCI_MANIFEST}; not '{OCI_MANIFEST.upper()}'",
        ),
        (UNTYPED_IMAGE, DOCKER_MANIFEST, f"mediaType: required in {DOCKER_MANIFEST}"),
        (UNTYPED_INDEX, DOCKER_MANIFEST_LIST, f"mediaType: required in {DOCKER_MANIFEST_LIST}"),
        (image(), "application/json", f"{NO_TYPE}'application/json'"),
        (image(), f"{OCI_MANIFEST}, {OCI_INDEX}", f"{NO_TYPE}'{OCI_MANIFEST}, {OCI_INDEX}'"),
        (image(), "x" * 500, f"{NO_TYPE}'{'x' * 100}'"),
        (image(mediaType="a/b"), None, f"{NO_TYPE}'a/b'"),
        (
            {"schemaVersion": 2, "mediaType": "application/vnd.oci.artifact.manifest.v1+json", "blobs": []},
            None,
            f"{NO_TYPE}'application/vnd.oci.artifact.manifest.v1+json'",
        ),
        (
            {"schemaVersion": 1, "signatures": [{}]},
            DOCKER_SCHEMA1_SIGNED,
            f"{NO_TYPE}'{DOCKER_SCHEMA1_SIGNED}'",
        ),
        ({"schemaVersion": 1, "signatures": [{}]}, None, f"{NO_TYPE}'{DOCKER_SCHEMA1_SIGNED}'"),
        ({"schemaVersion": 1}, None, f"{NO_TYPE}'{DOCKER_SCHEMA1}'"),
    ],
)
def test_a_type_that_is_unknown_or_mismatched_is_refused(
    document: Document, content_type: str | None, message: str
) -> None:
    """The message names what is supported, or what the header said; old clients fall back on it."""
    assert refusal(written(document), content_type) == message


@pytest.mark.parametrize(
    ("document", "message"),
    [
        ([], "the manifest: expected `object`, got `array`"),
        (None, "the manifest: expected `object`, got `null`"),
        ("x", "the manifest: expected `object`, got `str`"),
        (without(image(), "schemaVersion"), "the manifest: object missing required field `schemaVersion`"),
        (image(schemaVersion=1), "schemaVersion: must be 2"),
        (image(schemaVersion=10**30), "schemaVersion: must be 2"),
        (image(schemaVersion=2.0), "schemaVersion: expected `int`, got `float`"),
        (image(schemaVersion=True), "schemaVersion: expected `int`, got `bool`"),
        (image(schemaVersion="2"), "schemaVersion: expected `int`, got `str`"),
        (image(schemaVersion=None), "schemaVersion: expected `int`, got `null`"),
        (image(mediaType=2), "mediaType: expected `str | null`, got `int`"),
        (image(artifactType=[]), "artifactType: expected `str | null`, got `array`"),
        (image(annotations={"a": 1}), "annotations[...]: expected `str`, got `int`"),
        (image(annotations=[]), "annotations: expected `object | null`, got `array`"),
        (without(image(), "config"), f"config: required in {OCI_MANIFEST}"),
        (image(config=None), f"config: required in {OCI_MANIFEST}"),
        (image(config=[]), "config: expected `object | null`, got `array`"),
        (without(image(), "layers"), f"layers: required in {OCI_MANIFEST}"),
        (image(layers={}), "layers: expected `array | null`, got `object`"),
        (image(layers=[FIRST, None]), "layers[1]: expected `object`, got `null`"),
        (without(index(), "manifests"), f"manifests: required in {OCI_INDEX}"),
        (index(manifests=CHILD), "manifests: expected `array | null`, got `object`"),
        (image(subject="sha256:0"), "subject: expected `object | null`, got `str`"),
        (image(subject={}), "subject: object missing required field `mediaType`"),
        (image(manifests=[]), "a body has either manifests, or config and layers, not both"),
        (index(config=CONFIG), "a body has either manifests, or config and layers, not both"),
        (index(layers=[]), "a body has either manifests, or config and layers, not both"),
    ],
    ids=str,
)
def test_a_document_that_its_type_does_not_allow_is_refused(document: Any, message: str) -> None:
    """Fields that are missing, of another kind, or of the other sort of document; the message says where."""
    media_type = document.get("mediaType") if isinstance(document, dict) else None
    assert refusal(written(document), media_type if isinstance(media_type, str) else OCI_MANIFEST) == message


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"mediaType": ""}, ".mediaType: expected `str` of length >= 1"),
        ({"mediaType": None}, ".mediaType: expected `str`, got `null`"),
        ({"digest": None}, ".digest: a digest is a string"),
        ({"digest": 5}, ".digest: a digest is a string"),
        ({"digest": "latest"}, ".digest: a digest is written algorithm:hex"),
        ({"digest": "sha256:" + "A" * 64}, ".digest: a digest is written in lower case"),
        ({"digest": "sha256:00"}, ".digest: a sha256 digest has 64 hexadecimal characters"),
        (
            {"digest": "x - at `$.y`:0"},
            ".digest: the digest algorithm must be sha256 or sha512, not 'x - at `$.y`'",
        ),
        ({"size": -1}, ".size: expected `int` >= 0"),
        ({"size": 2**63}, ".size: expected `int` <= 9223372036854775807"),
        ({"size": 10**100}, ".size: expected `int` <= 9223372036854775807"),
        ({"size": 1.0}, ".size: expected `int`, got `float`"),
        ({"size": True}, ".size: expected `int`, got `bool`"),
        ({"size": "1"}, ".size: expected `int`, got `str`"),
        ({"size": None}, ".size: expected `int`, got `null`"),
        ({"data": "e30"}, ".data: invalid base64 encoded string"),
        ({"data": "!"}, ".data: invalid base64 encoded string"),
        ({"data": "Zmlyc3Q"}, ".data: invalid base64 encoded string"),
        ({"data": "e30="}, ": the data is not the content that digest and size name"),
        ({"data": "Zmlyc3Q=", "size": 4}, ": the data is not the content that digest and size name"),
        ({"data": "Zmlyc3Q=", "size": 5, "digest": SECOND["digest"]}, None),
        ({"annotations": {"a": None}}, ".annotations[...]: expected `str`, got `null`"),
        ({"urls": "https://example.com"}, ".urls: expected `array | null`, got `str`"),
        ({"platform": "linux"}, ".platform: expected `object | null`, got `str`"),
        ({"artifactType": 1}, ".artifactType: expected `str | null`, got `int`"),
    ],
    ids=str,
)
@pytest.mark.parametrize("place", ["config", "layers[1]", "manifests[2]", "subject"])
def test_a_descriptor_that_is_not_valid_is_refused_where_it_stands(
    place: str, change: Document, message: str | None
) -> None:
    """Type, digest and size are demanded of every descriptor, and embedded data must be what it stands for."""
    bad = {**FIRST, **change}
    documents = {
        "config": image(config=bad),
        "layers[1]": image(layers=[FIRST, bad]),
        "manifests[2]": index(manifests=[CHILD, CHILD, bad]),
        "subject": image(subject=bad),
    }
    expected = message or ": the data is not the content that digest and size name"
    assert refusal(written(documents[place]), None) == place + expected


@pytest.mark.parametrize("field", ["mediaType", "digest", "size"])
def test_a_descriptor_has_its_three_fields(field: str) -> None:
    """Each is required, and its absence is named with the place."""
    expected = f"layers[0]: object missing required field `{field}`"
    assert refusal(written(image(layers=[without(FIRST, field)])), None) == expected
