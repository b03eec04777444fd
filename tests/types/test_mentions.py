"""Every digest that a manifest refers to is found in it, however it is written, and whatever else is there."""

from __future__ import annotations

import json

import pytest
from hypothesis import given
from hypothesis import strategies as st

from cargohold.types.digest import Algorithm, Digest
from cargohold.types.mentions import mentioned, pack, unpack

A, B = Digest.of(b"a"), Digest.of(b"b", Algorithm.SHA512)


@pytest.mark.parametrize("digest", [A, B])
def test_packed_and_unpacked(digest: Digest) -> None:
    """The bytes tell the algorithm by their number."""
    assert unpack(pack(digest)) == digest


def test_wherever_it_stands() -> None:
    """In a field that is known or not, in a name, within text."""
    text = json.dumps({"layers": [{"digest": A}], "later": {B: [1]}, "note": f"of {A}."})
    assert mentioned(text.encode()) == {pack(A), pack(B)}
    assert mentioned(b"no json " + A.encode()) == {pack(A)}
    assert mentioned(b'{"digest":"sha256:abc"}') == set()


@given(st.lists(st.integers(0, len(A) - 1)), st.booleans())
def test_escapes(places: list[int], upper: bool) -> None:
    """Each character may be an escape in JSON; what else the document holds does not matter."""
    escaped = "".join(
        f"\\u{ord(each):04{'X' if upper else 'x'}}" if place in places else each
        for place, each in enumerate(A)
    )
    text = f'{{"digest":"{escaped}","x":1e999,"y":{"1" * 5000}}}'
    assert mentioned(text.encode()) == {pack(A)}
