"""Digests: which algorithm, which hash, and a hasher whose state can be kept (image-spec, descriptor.md, "Digests")."""

from __future__ import annotations

import ctypes
import hashlib
import hmac
import re
import sys
from enum import Enum
from typing import Self

from cargohold.types.errors import DigestInvalid


class Algorithm(Enum):
    """The registered algorithms, by the name that stands before the colon."""

    SHA256 = "sha256"
    SHA512 = "sha512"

    @classmethod
    def parse(cls, name: str) -> Algorithm:
        """The algorithm of that name; raises DigestInvalid for any other."""
        try:
            return cls(name)
        except ValueError:
            raise DigestInvalid(f"the digest algorithm must be sha256 or sha512, not {name[:32]!r}") from None


_GRAMMAR = re.compile(r"sha256:[0-9a-f]{64}|sha512:[0-9a-f]{128}")


class Digest(str):
    """`algorithm:hex` in lower case, whole and valid: no other value of this type exists.

    Raises DigestInvalid, saying what is wrong with the text.
    """

    __slots__ = ()

    def __new__(cls, text: str) -> Self:
        """Take the text if it is valid."""
        if _GRAMMAR.fullmatch(text) is None:
            raise DigestInvalid(_complaint(text))
        return str.__new__(cls, text)

    @property
    def algorithm(self) -> Algorithm:
        """The algorithm that the hash was made with."""
        return Algorithm.SHA256 if self[3] == "2" else Algorithm.SHA512

    @property
    def hex(self) -> str:
        """The hash, 64 or 128 hexadecimal characters."""
        return self[7:]

    @classmethod
    def of(cls, content: bytes | memoryview, algorithm: Algorithm = Algorithm.SHA256) -> Digest:
        """The digest of content that is in memory."""
        if algorithm is Algorithm.SHA256:
            return str.__new__(cls, f"sha256:{hashlib.sha256(content).hexdigest()}")
        return str.__new__(cls, f"sha512:{hashlib.sha512(content).hexdigest()}")

    def names(self, content: bytes) -> bool:
        """Whether it is the digest of content that is in memory."""
        hashed = hashlib.sha256(content) if self[3] == "2" else hashlib.sha512(content)
        return hashed.hexdigest() == self[7:]

    def equals(self, other: Digest) -> bool:
        """Whether two digests are the same, in a time that does not tell where they differ."""
        return hmac.compare_digest(self, other)


def _complaint(text: str) -> str:
    algorithm, colon, encoded = text.partition(":")
    if not colon:
        return "a digest is written algorithm:hex"
    if algorithm not in ("sha256", "sha512"):
        return f"the digest algorithm must be sha256 or sha512, not {algorithm[:32]!r}"
    if encoded != encoded.lower():
        return "a digest is written in lower case"
    return f"a {algorithm} digest has {'64' if algorithm == 'sha256' else '128'} hexadecimal characters"


class Hasher:
    """Hashes content piece by piece. Not to be used by two threads at once; releases the GIL on large pieces."""

    __slots__ = ("_hash", "algorithm", "length")

    def __init__(self, algorithm: Algorithm) -> None:
        self.algorithm = algorithm
        self.length = 0
        self._hash: _Native | hashlib._Hash = _native(algorithm) or hashlib.new(algorithm.value)

    def update(self, piece: bytes | memoryview) -> None:
        """Take in the next bytes; a view must be one of memory that may be written to."""
        self._hash.update(piece)
        self.length += len(piece)

    def digest(self) -> Digest:
        """The digest of all that was taken in; more may follow."""
        return Digest(f"{self.algorithm.value}:{self._hash.hexdigest()}")

    def save(self) -> bytes | None:
        """The state, from which `restore` goes on in any process on this machine; None where it cannot be had."""
        return self._hash.save() if isinstance(self._hash, _Native) else None

    @classmethod
    def restore(cls, algorithm: Algorithm, length: int, state: bytes) -> Hasher | None:
        """A hasher that goes on after `length` bytes.

        None where this process cannot take up such a state, and where it is not the state after so many bytes.
        """
        hasher = cls(algorithm)
        if not isinstance(hasher._hash, _Native) or not hasher._hash.load(state, length):
            return None
        hasher.length = length
        return hasher


class _Native:
    """libcrypto's low-level SHA-2, whose whole state is one plain struct: hashlib's own cannot be copied out.

    The struct (112 bytes for SHA-256, 216 for SHA-512) has not changed since OpenSSL 0.9.8; a saved state still
    bears the library's version, and no other version takes it up.
    """

    __slots__ = ("_algorithm", "_context", "_library", "_update")

    SIZES = {Algorithm.SHA256: 112, Algorithm.SHA512: 216}  # noqa: RUF012 - a constant, not a default

    def __init__(self, library: ctypes.CDLL, algorithm: Algorithm) -> None:
        self._library = library
        self._algorithm = algorithm.value.upper()
        self._update = getattr(library, f"{self._algorithm}_Update")
        self._context = ctypes.create_string_buffer(self.SIZES[algorithm])
        getattr(library, f"{self._algorithm}_Init")(self._context)

    def update(self, piece: bytes | memoryview) -> None:
        if piece:
            content = piece if isinstance(piece, bytes) else ctypes.byref(ctypes.c_char.from_buffer(piece))
            self._update(self._context, content, ctypes.c_size_t(len(piece)))

    def hexdigest(self) -> str:
        context = ctypes.create_string_buffer(self._context.raw, len(self._context))
        out = ctypes.create_string_buffer(64)
        self._library[f"{self._algorithm}_Final"](out, context)
        return out.raw[: 32 if self._algorithm == "SHA256" else 64].hex()

    def save(self) -> bytes:
        return _version(self._library) + self._context.raw

    def load(self, state: bytes, length: int) -> bool:
        version = _version(self._library)
        context = state.removeprefix(version)
        if context == state or len(context) != len(self._context) or not _counts(context, length):
            return False
        ctypes.memmove(self._context, context, len(context))
        return True


def _counts(context: bytes, length: int) -> bool:
    """Whether the struct says of itself that it took in so many bytes: with a wrong fill, libcrypto writes beyond it.

    It is: eight words of hash, the bits taken in (low word, high word), one block, and as 32-bit numbers how much
    of the block is filled and how long the hash is. A block has 16 words; a word, 4 or 8 bytes.
    """
    word = 4 if len(context) == _Native.SIZES[Algorithm.SHA256] else 8

    def number(start: int, stop: int) -> int:
        return int.from_bytes(context[start:stop], sys.byteorder)

    bits = number(8 * word, 9 * word) + (number(9 * word, 10 * word) << 8 * word)
    end = len(context)
    return (bits, number(end - 8, end - 4), number(end - 4, end)) == (
        8 * length,
        length % (16 * word),
        8 * word,
    )


def _version(library: ctypes.CDLL) -> bytes:
    return b"%s-%x:" % (
        ctypes.sizeof(ctypes.c_void_p).to_bytes(1, "little").hex().encode(),
        library.OpenSSL_version_num(),
    )


_library: ctypes.CDLL | bool | None = False


def _native(algorithm: Algorithm) -> _Native | None:
    global _library  # noqa: PLW0603 - found once a process
    if _library is False:
        _library = _find_library()
    return _Native(_library, algorithm) if isinstance(_library, ctypes.CDLL) else None


def _find_library() -> ctypes.CDLL | None:
    """The libcrypto that is there, if it hashes a known text rightly, from a state that was saved and loaded."""
    for name in ("libcrypto.so.3", "libcrypto.so.1.1", "libcrypto.3.dylib"):
        try:
            library = ctypes.CDLL(name)
            library.OpenSSL_version_num.restype = ctypes.c_ulong
            if all(_proves_itself(library, algorithm) for algorithm in Algorithm):
                return library
        except (OSError, AttributeError):
            continue
    return None


def _proves_itself(library: ctypes.CDLL, algorithm: Algorithm) -> bool:
    first, text = _Native(library, algorithm), bytes(range(200))
    first.update(text)
    second = _Native(library, algorithm)
    if not second.load(first.save(), len(text)):
        return False
    second.update(text)
    return second.hexdigest() == hashlib.new(algorithm.value, text + text).hexdigest()
