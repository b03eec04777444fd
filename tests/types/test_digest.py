"""Digests (image-spec, descriptor.md, "Digests") and the hasher that makes them."""

from __future__ import annotations

import ctypes
import hashlib
import re
import sys

import pytest
from hypothesis import given
from hypothesis import strategies as st

from cargohold.types import digest
from cargohold.types.digest import Algorithm, Digest, Hasher
from cargohold.types.errors import DigestInvalid

ALGORITHMS = list(Algorithm)
GRAMMAR = re.compile(r"(sha256:[0-9a-f]{64}|sha512:[0-9a-f]{128})\Z")
EMPTY_SHA256 = "sha256:e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855"

algorithms = st.sampled_from(ALGORITHMS)
NEARLY_DIGESTS = st.from_regex(r"(sha|SHA)(256|512|384):?[0-9a-fA-F]{63,65}\n?", fullmatch=True)


@pytest.mark.parametrize("text", [EMPTY_SHA256, "sha512:" + "0123456789abcdef" * 8])
def test_a_digest_is_its_own_text(text: str) -> None:
    """A valid digest is a string that equals what was written, with its parts at hand."""
    name, _, encoded = text.partition(":")
    assert Digest(text) == text
    assert Digest(text).algorithm is Algorithm(name)
    assert Digest(text).hex == encoded


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("", "a digest is written algorithm:hex"),
        ("latest", "a digest is written algorithm:hex"),
        ("a" * 64, "a digest is written algorithm:hex"),
        ("md5:" + "a" * 32, "the digest algorithm must be sha256 or sha512, not 'md5'"),
        ("SHA256:" + "a" * 64, "the digest algorithm must be sha256 or sha512, not 'SHA256'"),
        ("x" * 9999 + ":", f"the digest algorithm must be sha256 or sha512, not '{'x' * 32}'"),
        ("sha256:" + "A" * 64, "a digest is written in lower case"),
        ("sha256:", "a sha256 digest has 64 hexadecimal characters"),
        ("sha256:" + "a" * 63, "a sha256 digest has 64 hexadecimal characters"),
        ("sha256:" + "a" * 65, "a sha256 digest has 64 hexadecimal characters"),
        ("sha256:" + "g" * 64, "a sha256 digest has 64 hexadecimal characters"),
        (EMPTY_SHA256 + "\n", "a sha256 digest has 64 hexadecimal characters"),
        ("sha256:../../" + "a" * 58, "a sha256 digest has 64 hexadecimal characters"),
        ("sha512:" + "a" * 64, "a sha512 digest has 128 hexadecimal characters"),
        ("sha256:" + "\u0661" * 64, "a sha256 digest has 64 hexadecimal characters"),
    ],
)
def test_what_is_no_digest_is_refused_with_the_reason(text: str, message: str) -> None:
    """Any other text is DIGEST_INVALID, and the message tells what to change."""
    with pytest.raises(DigestInvalid) as refused:
        Digest(text)
    assert refused.value.message == message


@given(st.one_of(st.text(), NEARLY_DIGESTS, st.from_regex(GRAMMAR)))
def test_a_digest_matches_the_grammar_and_nothing_else_does(text: str) -> None:
    """A digest exists exactly for the texts of the grammar of a registered algorithm that we know."""
    if GRAMMAR.match(text):
        assert Digest(text) == text
    else:
        with pytest.raises(DigestInvalid):
            Digest(text)


@given(st.binary(), algorithms)
def test_the_digest_of_content_is_its_hash(content: bytes, algorithm: Algorithm) -> None:
    """`of` is what hashlib says, and is a valid digest."""
    made = Digest.of(content, algorithm)
    assert made == Digest(f"{algorithm.value}:{hashlib.new(algorithm.value, content).hexdigest()}")
    assert made.algorithm is algorithm
    assert made.equals(Digest(str(made)))
    assert not made.equals(Digest.of(content + b".", algorithm))


def test_algorithms_are_known_by_their_registered_names() -> None:
    """`sha256` and `sha512`, in lower case, and no other."""
    assert [Algorithm.parse("sha256"), Algorithm.parse("sha512")] == ALGORITHMS
    for name in ("", "SHA256", "sha-256", "md5", "sha256 ", "x" * 999):
        with pytest.raises(
            DigestInvalid, match=r"^the digest algorithm must be sha256 or sha512, not '.{0,32}'$"
        ):
            Algorithm.parse(name)


pieces = st.lists(st.binary(max_size=300), max_size=8)


@given(pieces, algorithms)
def test_a_hasher_hashes_what_it_is_given_piece_by_piece(parts: list[bytes], algorithm: Algorithm) -> None:
    """However content is cut, the digest after each piece is that of all that was given."""
    hasher, taken = Hasher(algorithm), b""
    for part in parts:
        hasher.update(part)
        taken += part
        assert hasher.digest() == Digest.of(taken, algorithm)
        assert hasher.length == len(taken)


@pytest.mark.parametrize("has_library", [True, False])
@given(pieces, algorithms)
def test_views_of_memory_are_hashed_as_bytes(
    has_library: bool, parts: list[bytes], algorithm: Algorithm
) -> None:
    """A piece may be a view of a part of something longer, which may be used for something else afterwards."""
    with pytest.MonkeyPatch.context() as patch:
        if not has_library:
            patch.setattr(digest, "_library", None)
        hasher = Hasher(algorithm)
    for part in parts:
        room = bytearray(b"<" + part + b">")
        hasher.update(memoryview(room)[1:-1])
        room.clear()
    assert hasher.digest() == Digest.of(b"".join(parts), algorithm)


@given(pieces, algorithms)
def test_a_saved_hasher_goes_on_where_it_was(parts: list[bytes], algorithm: Algorithm) -> None:
    """After any split, a hasher restored from the saved state equals one that was never put away."""
    hasher, taken = Hasher(algorithm), b""
    for part in parts:
        hasher.update(part)
        taken += part
        state = hasher.save()
        assert (state is None) == (digest._find_library() is None)
        if state is not None:
            restored = Hasher.restore(algorithm, len(taken), state)
            assert restored is not None
            assert (restored.length, restored.digest()) == (len(taken), Digest.of(taken, algorithm))
            hasher = restored


@pytest.fixture(params=ALGORITHMS, ids=lambda algorithm: algorithm.value)
def algorithm(request: pytest.FixtureRequest) -> Algorithm:
    assert isinstance(request.param, Algorithm)
    return request.param


@pytest.fixture
def state(algorithm: Algorithm) -> bytes:
    """The state after 1,000 bytes."""
    hasher = Hasher(algorithm)
    hasher.update(bytes(1000))
    saved = hasher.save()
    assert saved is not None, "libcrypto 3 or 1.1 must be installed where this is tested"
    return saved


def test_a_state_is_taken_up_only_where_it_belongs(algorithm: Algorithm, state: bytes) -> None:
    """Another version, algorithm, size or length of content is refused, and never reaches libcrypto."""
    other = Algorithm.SHA512 if algorithm is Algorithm.SHA256 else Algorithm.SHA256
    assert Hasher.restore(algorithm, 1000, state) is not None
    assert Hasher.restore(other, 1000, state) is None
    assert Hasher.restore(algorithm, 1000, b"0" + state) is None
    assert Hasher.restore(algorithm, 1000, state[:-1]) is None
    assert Hasher.restore(algorithm, 1000, state + b"\0") is None
    assert Hasher.restore(algorithm, 1000, state[state.index(b":") + 1 :]) is None
    assert Hasher.restore(algorithm, 1000, b"") is None
    for length in (0, 999, 1001, 1064, 1128, 2000, 2**64 + 1000, -1000):
        assert Hasher.restore(algorithm, length, state) is None


def test_a_damaged_state_is_refused_where_it_could_do_harm(algorithm: Algorithm, state: bytes) -> None:
    """A fill beyond the block, or a longer hash, would make libcrypto write where it must not."""
    for place in (-8, -4):
        for number in (64, 128, 2**31):
            at = len(state) + place
            damaged = state[:at] + number.to_bytes(4, sys.byteorder) + state[at + 4 :]
            assert damaged == state or Hasher.restore(algorithm, 1000, damaged) is None


def test_without_libcrypto_a_hasher_hashes_and_cannot_be_saved(
    monkeypatch: pytest.MonkeyPatch, algorithm: Algorithm, state: bytes
) -> None:
    """Without it hashlib does the work: the same digests, while states are neither given nor taken."""
    monkeypatch.setattr(digest, "_library", None)
    hasher = Hasher(algorithm)
    hasher.update(b"content")
    assert hasher.digest() == Digest.of(b"content", algorithm)
    assert hasher.save() is None
    assert Hasher.restore(algorithm, 1000, state) is None


class _Deaf(ctypes.CDLL):
    """A libcrypto that takes nothing in."""

    def __getitem__(self, name: str) -> ctypes._NamedFuncPointer:
        return super().__getitem__(name.replace("_Update", "_Init"))


@pytest.mark.parametrize("broken", ["absent", "another library", "hashes wrongly"])
def test_a_library_is_used_only_if_it_hashes_rightly(monkeypatch: pytest.MonkeyPatch, broken: str) -> None:
    """A libcrypto that is not there, is something else, or fails the known text is passed over."""

    def load(name: str) -> ctypes.CDLL:
        if broken == "absent":
            raise OSError(name)
        return real(None) if broken == "another library" else _Deaf(digest_library)

    real, digest_library = ctypes.CDLL, _name_of_libcrypto()
    monkeypatch.setattr(ctypes, "CDLL", load)
    assert digest._find_library() is None


def _name_of_libcrypto() -> str:
    library = digest._find_library()
    assert library is not None, "libcrypto 3 or 1.1 must be installed where this is tested"
    return library._name


@pytest.mark.parametrize("algorithm", list(Algorithm))
def test_it_names_one_content(algorithm: Algorithm) -> None:
    """A digest is that of one content, and of none that differs in a byte or is longer."""
    digest = Digest.of(b"content", algorithm)
    assert digest.names(b"content")
    for other in (b"", b"Content", b"content\0"):
        assert not digest.names(other)
