"""Which digests a text mentions: more than what a manifest refers to, never less, whatever kind of manifest it is."""

from __future__ import annotations

import re
from typing import Final

from cargohold.types.digest import Algorithm, Digest

_DIGEST: Final = re.compile(rb"sha(?:256:([0-9a-f]{64})|512:([0-9a-f]{128}))")
_ESCAPE: Final = re.compile(rb"\\u00([0-7][0-9A-Fa-f])")
_LENGTHS: Final = {32: Algorithm.SHA256, 64: Algorithm.SHA512}


def pack(digest: Digest) -> bytes:
    """A digest as the bytes of its hash, whose length tells the algorithm: a million of them take little room."""
    return bytes.fromhex(digest.hex)


def unpack(packed: bytes) -> Digest:
    """The digest that `pack` made these bytes of."""
    return Digest(f"{_LENGTHS[len(packed)].value}:{packed.hex()}")


def mentioned(content: bytes) -> set[bytes]:
    """The digests, packed, that stand anywhere in a JSON document, or in any other text.

    What a later version of a specification refers to by a field that is not known yet is found too. A digest within
    more hexadecimal digits is taken for one.
    """
    found = _find(content)
    if b"\\" in content:
        # A character may be written as an escape in JSON.
        found |= _find(_ESCAPE.sub(lambda escape: bytes([int(escape[1], 16)]), content))
    return found


def _find(text: bytes) -> set[bytes]:
    return {bytes.fromhex((short or long).decode()) for short, long in _DIGEST.findall(text)}
