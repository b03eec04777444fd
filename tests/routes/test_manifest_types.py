"""What a manifest must be: the four types, their fields, and what is refused (image-spec; Docker's schema 2)."""

from __future__ import annotations

import base64
import json
from typing import Any

import pytest

from cargohold.types.oci import (
    DOCKER_MANIFEST,
    DOCKER_MANIFEST_LIST,
    DOCKER_SCHEMA1,
    DOCKER_SCHEMA1_SIGNED,
    NONDISTRIBUTABLE,
    OCI_INDEX,
    OCI_MANIFEST,
)
from tests.registry.documents import ABSENT, CONFIG, EMPTY, LAYER, descriptor, image, index, sha256
from tests.routes.caller import Registry, Reply

IMAGES = [OCI_MANIFEST, DOCKER_MANIFEST]
INDEXES = [OCI_INDEX, DOCKER_MANIFEST_LIST]
ARTIFACT = "application/vnd.oci.artifact.manifest.v1+json"
EMPTY_TYPE = "application/vnd.oci.empty.v1+json"


@pytest.fixture
def registry() -> Registry:
    """With the blobs of an image, and the empty one, in `app`."""
    made = Registry()
    made.push_layers("app")
    made.push_blob("app", EMPTY)
    return made


def put(registry: Registry, content: bytes, media_type: str | None = None) -> Reply:
    headers = {} if media_type is None else {"content-type": media_type}
    return registry.ask("PUT", "/v2/app/manifests/v1", headers, content)


@pytest.mark.parametrize("lines", [[OCI_MANIFEST, OCI_INDEX], [f"{OCI_MANIFEST}; charset=\xfc"]])
def test_a_type_that_cannot_be_told_is_refused(registry: Registry, lines: list[str]) -> None:
    """Two lines of Content-Type, and one that is not ASCII, are MANIFEST_INVALID 400: neither is guessed at."""
    registry.push_layers("app")
    headers = [("content-type", line) for line in lines]
    reply = registry.ask("PUT", "/v2/app/manifests/v1", headers, image())
    assert reply.error == (400, "MANIFEST_INVALID")
    assert "Content-Type" in reply.errors[0]["message"]


def document_of(media_type: str, **more: Any) -> bytes:
    """The smallest whole document of a type."""
    if media_type in INDEXES:
        return index([], media_type=media_type, **more)
    return image(media_type=media_type, **more)


def with_field(name: str, value: object) -> bytes:
    return json.dumps(json.loads(image()) | {name: value}).encode()


def without(content: bytes, *fields: str) -> bytes:
    return json.dumps(
        {key: value for key, value in json.loads(content).items() if key not in fields}
    ).encode()


@pytest.mark.parametrize("media_type", IMAGES + INDEXES)
def test_each_type_is_taken(registry: Registry, media_type: str) -> None:
    """The four media types are pushed with their Content-Type, or without one, and pulled with it."""
    content = document_of(media_type)
    for declared in (media_type, None, "", f"{media_type}; charset=utf-8", f" {media_type.upper()} ;x"):
        assert put(registry, content, declared).status == 201
        reply = registry.ask("GET", "/v2/app/manifests/v1")
        assert (reply["content-type"], reply.body) == (media_type, content)


@pytest.mark.parametrize("media_type", IMAGES + INDEXES)
def test_the_content_type_is_that_of_the_body(registry: Registry, media_type: str) -> None:
    """A Content-Type other than the body's `mediaType` is MANIFEST_INVALID 400, whichever of the others it is."""
    for other in {*IMAGES, *INDEXES} - {media_type}:
        reply = put(registry, document_of(media_type), other)
        assert reply.error == (400, "MANIFEST_INVALID")
        assert "mediaType" in reply.errors[0]["message"]


@pytest.mark.parametrize("media_type", [OCI_MANIFEST, OCI_INDEX])
def test_an_oci_type_need_not_name_itself(registry: Registry, media_type: str) -> None:
    """OCI documents may leave `mediaType` out, or null: the Content-Type or else the fields say which it is."""
    for more in ({}, {"mediaType": None}):
        content = json.dumps(json.loads(without(document_of(media_type), "mediaType")) | more).encode()
        for declared in (media_type, None):
            assert put(registry, content, declared).status == 201
            assert registry.ask("HEAD", "/v2/app/manifests/v1")["content-type"] == media_type


@pytest.mark.parametrize("media_type", [DOCKER_MANIFEST, DOCKER_MANIFEST_LIST])
def test_a_docker_type_names_itself(registry: Registry, media_type: str) -> None:
    """Docker's documents need their `mediaType`."""
    reply = put(registry, without(document_of(media_type), "mediaType"), media_type)
    assert reply.error == (400, "MANIFEST_INVALID")
    assert reply.errors[0]["message"].startswith("mediaType: required")


@pytest.mark.parametrize(
    "media_type",
    [
        DOCKER_SCHEMA1,
        DOCKER_SCHEMA1_SIGNED,
        ARTIFACT,
        "application/json",
        "application/octet-stream",
        "text/html",
        "application/vnd.oci.image.manifest.v2+json",
        OCI_MANIFEST + "+json",
        "x" * 5000,
    ],
)
def test_another_type_is_refused(registry: Registry, media_type: str) -> None:
    """Any other Content-Type is MANIFEST_INVALID 400 and names the four: old clients fall back on that."""
    for content in (image(), image(media_type=None), image(media_type=media_type)):
        reply = put(registry, content, media_type)
        assert reply.error == (400, "MANIFEST_INVALID")
        for supported in IMAGES + INDEXES:
            assert supported in reply.errors[0]["message"]


def test_another_type_in_the_body_is_refused(registry: Registry) -> None:
    """What the body alone says to be of another type is refused too."""
    for media_type in (DOCKER_SCHEMA1, ARTIFACT):
        assert put(registry, image(media_type=media_type)).error == (400, "MANIFEST_INVALID")
    assert put(registry, image(media_type=ARTIFACT), OCI_MANIFEST).error == (400, "MANIFEST_INVALID")


def test_schema_1_is_refused(registry: Registry) -> None:
    """A manifest of schema 1, signed or not, whatever type it is sent with, is MANIFEST_INVALID 400."""
    old = {
        "schemaVersion": 1,
        "name": "app",
        "tag": "v1",
        "architecture": "amd64",
        "fsLayers": [],
        "history": [],
    }
    for document in (old, old | {"signatures": [{"protected": "x"}]}):
        for declared in (None, DOCKER_SCHEMA1, DOCKER_SCHEMA1_SIGNED, "application/json", OCI_MANIFEST):
            assert put(registry, json.dumps(document).encode(), declared).error == (400, "MANIFEST_INVALID")


@pytest.mark.parametrize("media_type", IMAGES)
@pytest.mark.parametrize("field", ["schemaVersion", "config", "layers"])
def test_an_image_has_its_fields(registry: Registry, media_type: str, field: str) -> None:
    """An image without schemaVersion, config or layers is MANIFEST_INVALID 400, and the message names the field."""
    reply = put(registry, without(document_of(media_type), field), media_type)
    assert reply.error == (400, "MANIFEST_INVALID")
    assert field in reply.errors[0]["message"]


@pytest.mark.parametrize("media_type", INDEXES)
@pytest.mark.parametrize("field", ["schemaVersion", "manifests"])
def test_an_index_has_its_fields(registry: Registry, media_type: str, field: str) -> None:
    """An index without schemaVersion or manifests is MANIFEST_INVALID 400, and the message names the field."""
    reply = put(registry, without(document_of(media_type), field), media_type)
    assert reply.error == (400, "MANIFEST_INVALID")
    assert field in reply.errors[0]["message"]


@pytest.mark.parametrize("version", [0, 1, 3, -2, "2", 2.5, True, None])
def test_there_is_one_schema_version(registry: Registry, version: object) -> None:
    """There is one `schemaVersion`, the number 2."""
    reply = put(registry, image(schemaVersion=version), OCI_MANIFEST)
    assert reply.error == (400, "MANIFEST_INVALID")
    assert "schemaVersion" in reply.errors[0]["message"]


@pytest.mark.parametrize(
    "content",
    [
        image(manifests=[]),
        index([], config=descriptor(CONFIG)),
        index([], layers=[]),
        index([], layers=[descriptor(LAYER)]),
    ],
)
def test_an_image_is_no_index(registry: Registry, content: bytes) -> None:
    """A body with both `manifests` and `config` or `layers` could be read two ways: MANIFEST_INVALID 400."""
    assert put(registry, content).error == (400, "MANIFEST_INVALID")
    assert put(registry, without(content, "mediaType"), OCI_INDEX).error == (400, "MANIFEST_INVALID")
    assert put(registry, without(content, "mediaType"), OCI_MANIFEST).error == (400, "MANIFEST_INVALID")


@pytest.mark.parametrize(
    "content",
    [
        b"",
        b" ",
        b"{",
        b"null",
        b"[]",
        b"2",
        b'"text"',
        b"\xff\xfe{}",
        image().replace(b"amd64", b"") + b"}",
        image()[:-1],
        b"\xef\xbb\xbf" + image(),
        image(annotations={"a": "\ud800"}).replace(b"\\ud800", b"\xed\xa0\x80"),
        b"[" * 500_000,
        b'{"schemaVersion":2,"x":' * 100_000,
    ],
)
def test_what_is_no_json_object_is_refused(registry: Registry, content: bytes) -> None:
    """A body that is empty, cut off, not UTF-8, no object or absurdly deep is MANIFEST_INVALID 400."""
    for declared in (OCI_MANIFEST, OCI_INDEX, None):
        assert put(registry, content, declared).error == (400, "MANIFEST_INVALID")


def test_an_empty_body_is_called_so(registry: Registry) -> None:
    """A push without a body says that it has none, which is what its sender must change."""
    assert put(registry, b"", OCI_MANIFEST).errors[0]["message"] == "the body is empty"


@pytest.mark.parametrize(
    ("place", "value"),
    [
        ("config", "text"),
        ("config", []),
        ("config", {}),
        ("config", {"mediaType": "x", "digest": "sha256:short", "size": 1}),
        ("config", {"mediaType": "x", "digest": ABSENT.upper(), "size": 1}),
        ("config", {"mediaType": "x", "digest": "../../etc/passwd", "size": 1}),
        ("config", {"mediaType": "x", "digest": ABSENT, "size": -1}),
        ("config", {"mediaType": "x", "digest": ABSENT, "size": 2**63}),
        ("config", {"mediaType": "x", "digest": ABSENT, "size": "1"}),
        ("config", {"mediaType": "x", "digest": ABSENT}),
        ("config", {"mediaType": "", "digest": ABSENT, "size": 1}),
        ("config", {"digest": ABSENT, "size": 1}),
        ("layers", {}),
        ("layers", "text"),
        ("layers", [None]),
        ("layers", [{"mediaType": "x", "digest": 5, "size": 1}]),
        ("layers", [{"mediaType": "x", "digest": "md5:" + "0" * 32, "size": 1}]),
        ("subject", "text"),
        ("subject", {"digest": ABSENT}),
        ("subject", {"mediaType": "x", "digest": "sha256:", "size": 1}),
        ("annotations", []),
        ("annotations", {"key": 5}),
        ("artifactType", 5),
        ("mediaType", 5),
    ],
)
def test_a_malformed_field_is_refused(registry: Registry, place: str, value: object) -> None:
    """A field of another kind than it must be is MANIFEST_INVALID 400, and the message starts with its place."""
    reply = put(registry, with_field(place, value), OCI_MANIFEST)
    assert reply.error == (400, "MANIFEST_INVALID")
    assert reply.errors[0]["message"].startswith(place)


def test_a_malformed_child_is_refused(registry: Registry) -> None:
    """The children of an index are descriptors like any other."""
    reply = put(registry, index([{"mediaType": OCI_MANIFEST, "digest": "sha256:x", "size": 1}]))
    assert reply.error == (400, "MANIFEST_INVALID")
    assert reply.errors[0]["message"].startswith("manifests[0]")


@pytest.mark.parametrize(
    "more",
    [
        {"artifactType": "application/vnd.example+json"},
        {"annotations": {}},
        {"annotations": {"org.opencontainers.image.created": "2026-11-21T00:00:00Z", "ключ": "значение"}},
        {"x-unknown": {"deep": [1, 2, {"er": None}]}},
        {"subject": None},
        {"layers": []},
        {"layers": None},
        {"layers": [descriptor(LAYER)] * 3},
        {"layers": [descriptor(LAYER, urls=["https://example.com/layer"], annotations={"a": "b"})]},
        {"layers": [descriptor(LAYER, data=base64.b64encode(LAYER).decode())]},
        {"layers": [descriptor(LAYER, "application/vnd.nobody.has.heard.of.v7")]},
        {"layers": [descriptor(LAYER, unknown=True, platform={"architecture": "amd64", "os": "linux"})]},
        {"config": descriptor(EMPTY, EMPTY_TYPE), "artifactType": "application/vnd.example"},
        {
            "config": descriptor(EMPTY, EMPTY_TYPE, data="e30="),
            "layers": [descriptor(EMPTY, EMPTY_TYPE, data="e30=")],
        },
        {"config": descriptor(CONFIG, "application/vnd.cncf.helm.config.v1+json")},
    ],
)
def test_what_the_specification_leaves_open_is_taken(registry: Registry, more: dict[str, Any]) -> None:
    """Artifacts, empty configs, no layers, data, urls, annotations and fields that nobody knows are accepted."""
    content = image(**more)
    assert put(registry, content, OCI_MANIFEST).status == 201
    assert registry.ask("GET", "/v2/app/manifests/v1").body == content


@pytest.mark.parametrize("data", ["e30=", "not base64!", "", 5])
def test_data_is_the_content(registry: Registry, data: object) -> None:
    """`data` that is not what digest and size name is MANIFEST_INVALID 400: clients use it in place of the blob."""
    reply = put(registry, image(layers=[descriptor(LAYER, data=data)]), OCI_MANIFEST)
    if data == "":
        assert reply.status == 201
        return
    assert reply.error == (400, "MANIFEST_INVALID")
    assert reply.errors[0]["message"].startswith("layers[0]")


@pytest.mark.parametrize("media_type", sorted(NONDISTRIBUTABLE))
def test_some_layers_may_stay_away(registry: Registry, media_type: str) -> None:
    """A layer that may not be distributed need not be in the repository; the config and other layers must."""
    away = descriptor(b"kept by its vendor", media_type, urls=["https://example.com/layer"])
    assert put(registry, image(layers=[away, descriptor(LAYER)]), OCI_MANIFEST).status == 201
    assert put(registry, image(layers=[away, descriptor(b"absent")]), OCI_MANIFEST).error == (
        404,
        "MANIFEST_BLOB_UNKNOWN",
    )


def test_other_letters_are_refused(registry: Registry) -> None:
    """A known field in other letters (`Layers`) is read by some clients and not by others: MANIFEST_INVALID 400."""
    reply = put(registry, image(Layers=[]), OCI_MANIFEST)
    assert reply.error == (400, "MANIFEST_INVALID")
    assert "'Layers'" in reply.errors[0]["message"]


def test_a_platform_index(registry: Registry) -> None:
    """An index of several platforms, whose children were pushed by digest, is taken and read back in both formats."""
    for media_type, child_type in ((OCI_INDEX, OCI_MANIFEST), (DOCKER_MANIFEST_LIST, DOCKER_MANIFEST)):
        children = []
        for architecture in ("amd64", "arm64"):
            child = image(media_type=child_type, annotations={"for": architecture})
            registry.push("app", sha256(child), child, child_type)
            children.append(
                descriptor(child, child_type, platform={"architecture": architecture, "os": "linux"})
            )
        content = index(children, media_type=media_type)
        assert put(registry, content, media_type).status == 201
        assert registry.ask("GET", "/v2/app/manifests/v1", {"accept": media_type}).body == content
