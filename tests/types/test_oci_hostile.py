"""Manifests that are pushed to confuse or to hurt."""

from __future__ import annotations

import tracemalloc
from typing import TYPE_CHECKING, Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from cargohold.types.digest import Digest
from cargohold.types.errors import ManifestInvalid
from cargohold.types.oci import (
    DOCKER_MANIFEST,
    INDEX_TYPES,
    MANIFEST_TYPES,
    OCI_INDEX,
    OCI_MANIFEST,
    detect_media_type,
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
    digests,
    image,
    index,
    refusal,
    written,
)

if TYPE_CHECKING:
    from collections.abc import Iterator


@pytest.mark.parametrize(
    ("document", "place", "key"),
    [
        (image(Config=FIRST), "config", "Config"),
        (image(MANIFESTS=[]), "manifests", "MANIFESTS"),
        ({**image(), "manife\u017fts": []}, "manifests", "manife\u017fts"),
        (image(config={**CONFIG, "Digest": FIRST["digest"]}), "config.digest", "Digest"),
        (image(layers=[FIRST, {**FIRST, "SIZE": 1}]), "layers[1].size", "SIZE"),
        (image(subject={**SUBJECT, "mediatype": "a/b"}), "subject.mediaType", "mediatype"),
        (index(manifests=[{**CHILD, "DATA": "e30="}]), "manifests[0].data", "DATA"),
    ],
)
def test_known_fields_in_other_letters_are_refused(document: Document, place: str, key: str) -> None:
    """Clients written in Go would take them for the field itself, and see another image than we do."""
    expected = f"{place}: written in other letters, {key!r}, which clients read differently"
    assert refusal(written(document), None) == expected


def test_of_equal_keys_the_last_counts() -> None:
    """As in Go's decoder, at the top and in descriptors."""
    twice = written(image(layers=[FIRST]))[:-1] + b', "layers": [' + written(SECOND) + b"]}"
    assert parse_manifest(twice, None).blobs == digests(CONFIG, SECOND)
    again = written(image(layers=[FIRST]))[:-3] + b', "digest": "' + SECOND["digest"].encode() + b'"}]}'
    assert parse_manifest(again, None).blobs == digests(CONFIG, SECOND)


@pytest.mark.parametrize(
    "content",
    [
        b"",
        b"{",
        b"not JSON",
        b"\xef\xbb\xbf" + written(image()),
        written(image()) + b" {}",
        written(image(x="\xff")).replace(b"\\u00ff", b"\xff"),
        written(image(config="\xff")).replace(b"\\u00ff", b"\xff"),
        written(image(mediaType="\ud800")),
        written(image(annotations={"a": "\udc00"})),
        written(image(x=float("nan"))),
        written(image(x=float("inf"))),
        written(image()).decode().encode("utf-16"),
        written(image(x="\n")).replace(b"\\n", b"\n"),
    ],
)
def test_what_is_not_json_in_utf8_is_refused(content: bytes) -> None:
    """Cut short, with more behind it, in another encoding, with NaN or half a surrogate pair."""
    assert refusal(content, OCI_MANIFEST).startswith("the manifest is not JSON in UTF-8: ")


@pytest.mark.parametrize(
    "content",
    [
        b'{"x":' + b"[" * 2_000_000,
        b'{"x":' + b"[" * 2_000_000 + b"]" * 2_000_000 + b"}",
        b'{"x":' * 500_000,
        b'{"schemaVersion":2,"config":{"x":' + b"[" * 2_000_000,
        b'{"schemaVersion":2,"layers":[{"platform":' + b'{"x":' * 500_000,
    ],
)
def test_brackets_without_end_are_refused(content: bytes) -> None:
    """Nesting that no document needs is told so; it neither crashes nor goes further."""
    assert refusal(content, OCI_MANIFEST) == "the manifest is nested too deeply"


def test_four_megabytes_of_layers_are_read() -> None:
    """As many layers as a manifest of 4 MiB can name: all are taken up, or the one that is wrong is named."""
    many = [{"mediaType": "a", "digest": f"sha256:{n:064x}", "size": n} for n in range(35_000)]
    content = written(image(layers=many))
    assert 3 * 2**20 < len(content) < 4 * 2**20
    assert parse_manifest(content, None).blobs == digests(CONFIG, *many)
    many[-1]["Size"] = 1
    assert refusal(written(image(layers=many)), None).startswith(
        "layers[34999].size: written in other letters"
    )
    assert refusal(written(image(layers=[{}] * 1_000_000)), None).startswith("layers[0]: object missing")


@pytest.mark.parametrize("place", ["config", "layers", "subject"])
def test_a_platform_is_passed_over(place: str) -> None:
    """What nobody reads takes no memory, whatever it holds: twice the body is enough to read it."""
    platform: Document = {"x": [[]] * 1_000_000}
    described = {**FIRST, "platform": platform}
    content = written(image(**{place: [described] if place == "layers" else described}))
    tracemalloc.start()
    try:
        parse_manifest(content, None)
        _, peak = tracemalloc.get_traced_memory()
    finally:
        tracemalloc.stop()
    assert peak < 2 * len(content)


json_values = st.recursive(
    st.one_of(
        *(
            st.none(),
            st.booleans(),
            st.integers(),
            st.floats(allow_nan=False, allow_infinity=False),
            st.text(),
        ),
        st.sampled_from(
            [FIRST["digest"], OCI_MANIFEST, OCI_INDEX, DOCKER_MANIFEST, 2, CONFIG, [CHILD], [FIRST]]
        ),
    ),
    lambda inner: st.one_of(
        st.lists(inner, max_size=3),
        st.dictionaries(
            st.one_of(st.text(), st.sampled_from([*image(), *FIRST, "Config"])), inner, max_size=4
        ),
    ),
    max_leaves=12,
)
content_types = st.sampled_from([None, "", "application/json", *sorted(MANIFEST_TYPES)])


def places(value: Any) -> Iterator[tuple[Any, ...]]:
    """The path to every value within a document."""
    members = (
        value.items() if isinstance(value, dict) else enumerate(value) if isinstance(value, list) else ()
    )
    for key, member in members:
        yield (key,)
        yield from ((key, *path) for path in places(member))


def changed(value: Any, path: tuple[Any, ...], new: Any) -> Any:
    if not path:
        return new
    copy = value.copy()
    copy[path[0]] = changed(value[path[0]], path[1:], new)
    return copy


WHOLE = [image(subject=SUBJECT, annotations={"a": "b"}), UNTYPED_IMAGE, index(), UNTYPED_INDEX, ARTIFACT]
nearly_valid = st.sampled_from(WHOLE).flatmap(
    lambda document: st.builds(
        changed, st.just(document), st.sampled_from(list(places(document))), json_values
    )
)


@given(st.one_of(json_values, nearly_valid).map(written), content_types)
def test_any_json_is_a_manifest_or_refused(content: bytes, content_type: str | None) -> None:
    """Nothing but ManifestInvalid is ever raised; what is accepted is found again as what it was accepted as."""
    try:
        manifest = parse_manifest(content, content_type)
    except ManifestInvalid:
        return
    assert manifest.content == content
    assert detect_media_type(content) == manifest.media_type
    assert bool(manifest.blobs) != (manifest.media_type in INDEX_TYPES)
    referrer = manifest.referrer(Digest.of(content))
    assert (referrer.subject if referrer else None) == manifest.subject


@given(st.binary(), content_types)
def test_any_bytes_are_refused(content: bytes, content_type: str | None) -> None:
    """Bytes that were not made to be a manifest are ManifestInvalid, whatever they are."""
    with pytest.raises(ManifestInvalid):
        parse_manifest(content, content_type)
