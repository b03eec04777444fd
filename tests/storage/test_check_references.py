"""What a stored document names, read from whatever lies there."""

from __future__ import annotations

import json
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from cargohold.storage.filesystem.checking.references import Named, References, references
from cargohold.types.digest import Algorithm, Digest

ONE, TWO, LONG = Digest.of(b"1"), Digest.of(b"2"), Digest.of(b"3", Algorithm.SHA512)
FOREIGN = "application/vnd.docker.image.rootfs.foreign.diff.tar.gzip"


def entry(digest: object, size: object = 1, **more: object) -> dict[str, object]:
    return {"digest": digest, "size": size, **more}


def read(**document: Any) -> References | None:
    return references(json.dumps(document).encode())


@pytest.mark.parametrize(
    ("document", "expected"),
    [
        (
            {"config": entry(ONE), "layers": [entry(TWO, 2), entry(LONG, 3)]},
            References((Named(ONE, 1), Named(TWO, 2), Named(LONG, 3))),
        ),
        ({"manifests": [entry(ONE), entry(TWO)]}, References((), (Named(ONE, 1), Named(TWO, 1)))),
        (
            {"fsLayers": [{"blobSum": ONE}, {"blobSum": TWO}]},
            References((Named(ONE, None), Named(TWO, None))),
        ),
        ({"layers": [entry(ONE), entry(ONE)]}, References((Named(ONE, 1),))),
        ({"layers": [entry(ONE, mediaType=FOREIGN), entry(TWO)]}, References((Named(TWO, 1),))),
        ({"layers": [entry("sha256:short"), entry(7), entry(None), {}]}, References()),
        ({"layers": [entry(ONE, "big", mediaType=["odd"])]}, References((Named(ONE, None),))),
        ({"layers": None, "manifests": None, "config": None}, References()),
        ({"subject": entry(ONE), "schemaVersion": 2}, References()),
    ],
)
def test_documents(document: dict[str, Any], expected: References) -> None:
    """Config and layers, children, and the layers of Docker's first form, each once; no subject, nothing foreign."""
    assert read(**document) == expected


@pytest.mark.parametrize("content", [b"", b"<xml/>", b"[1]", b"\xff", b"{", b'{"layers": 3}', b"[" * 100_000])
def test_no_manifest(content: bytes) -> None:
    """What has no known form is told apart from what names nothing."""
    assert references(content) is None


ANYTHING = st.recursive(
    st.none()
    | st.booleans()
    | st.integers()
    | st.floats()
    | st.text()
    | st.sampled_from([str(ONE), str(LONG)]),
    lambda inner: (
        st.lists(inner)
        | st.dictionaries(
            st.sampled_from(["digest", "size", "mediaType", "blobSum", "layers"]) | st.text(), inner
        )
    ),
)


@given(
    st.dictionaries(st.sampled_from(["config", "layers", "manifests", "fsLayers", "subject"]), ANYTHING)
    | ANYTHING
)
def test_anything(document: object) -> None:
    """Nothing is raised, and what is named is a digest."""
    found = references(json.dumps(document).encode())
    assert found is None or all(isinstance(each.digest, Digest) for each in found.blobs + found.manifests)


@given(st.binary())
def test_any_bytes(content: bytes) -> None:
    """Nothing is raised."""
    assert references(content) is None or content.strip()
