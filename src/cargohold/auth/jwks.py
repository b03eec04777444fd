"""Public keys that tokens are signed with: what they are read from, and for what each may be used.

A key is taken for what it is and for nothing that a token says of it: which algorithms it may verify follows from its
own type, so that no public key can ever serve as the secret of a MAC.
"""

from __future__ import annotations

import base64
import hashlib
import logging
import re
from typing import TYPE_CHECKING, Any, Protocol

import msgspec
from cryptography.exceptions import UnsupportedAlgorithm
from cryptography.hazmat.primitives.asymmetric.ec import EllipticCurvePublicKey
from cryptography.hazmat.primitives.asymmetric.ed448 import Ed448PublicKey
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PublicKey
from cryptography.hazmat.primitives.asymmetric.rsa import RSAPublicKey
from cryptography.hazmat.primitives.serialization import Encoding, PublicFormat, load_pem_public_key
from cryptography.x509 import InvalidVersion, load_pem_x509_certificate
from joserfc.jwk import ECKey, OKPKey, RSAKey
from joserfc.jws import JWSRegistry

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable

SHORTEST_RSA, LONGEST_RSA = 2048, 8192
MOST_KEYS = 100

_RSA = ("RS256", "RS384", "RS512", "PS256", "PS384", "PS512")
_CURVES = {"secp256r1": ("ES256",), "secp384r1": ("ES384",)}
_EDWARDS = ("EdDSA",)
ALGORITHMS = frozenset((*_RSA, "ES256", "ES384", *_EDWARDS))
"""The signature algorithms that can be allowed (RFC 7518, section 3.1): all of them with a public key."""

_KINDS: dict[str, tuple[tuple[str, ...], Callable[[Any], object]]] = {
    "RSA": (("n", "e"), RSAKey.binding.import_public_key),
    "EC": (("crv", "x", "y"), ECKey.binding.import_public_key),
    "OKP": (("crv", "x"), OKPKey.binding.import_public_key),
}
_LONGEST_MEMBER = 2 * LONGEST_RSA // 8
_BLOCK = re.compile(rb"-----BEGIN ([A-Z0-9 ]{1,40})-----\s[^-]*-----END \1-----")
_LOADERS: dict[bytes, Callable[[bytes], object]] = {
    b"CERTIFICATE": lambda block: load_pem_x509_certificate(block).public_key(),
    b"PUBLIC KEY": load_pem_public_key,
    b"RSA PUBLIC KEY": load_pem_public_key,
}
_PRIVATE = re.compile(rb"-----BEGIN [A-Z0-9 ]{0,40}PRIVATE KEY")

_log = logging.getLogger(__name__)


class Unusable(ValueError):
    """A key that verifies no token here; the message says why, and shows nothing of the key."""


class PublicKey(msgspec.Struct, frozen=True):
    """A key, the names that a token may call it by (`kid`), and the algorithms that it may verify."""

    names: frozenset[str]
    key: RSAKey | ECKey | OKPKey
    algorithms: frozenset[str]

    def verifies(self, algorithm: str, message: bytes, signature: bytes) -> bool:
        """Whether this key has signed the message, by an algorithm that it may be used for."""
        return algorithm in self.algorithms and JWSRegistry.algorithms[algorithm].verify(
            message, signature, self.key
        )


class Keys:
    """The keys of one source at one time."""

    def __init__(self, keys: Iterable[PublicKey] = ()) -> None:
        self._keys = tuple(keys)

    def __bool__(self) -> bool:
        return bool(self._keys)

    def named(self, kid: str | None) -> tuple[PublicKey, ...]:
        """Those of that name; without a name, the only one that there is."""
        if kid is None:
            return self._keys if len(self._keys) == 1 else ()
        return tuple(key for key in self._keys if kid in key.names)


class KeySource(Protocol):
    """Where the keys of an issuer are found."""

    async def find(self, kid: str | None) -> tuple[PublicKey, ...]:
        """The keys that a token with this `kid` may be signed with: none where it names none of them.

        A token without a `kid` is verified only by a source that has exactly one key.
        """
        ...

    def version(self) -> int:
        """Another number once the keys have changed. Asked at every request, in the event loop."""
        ...


def parse_pem(text: bytes) -> Keys:
    """The public keys, and the keys of the certificates, of a PEM file. Raises ValueError where one cannot be used.

    A certificate is a form in which a key is written here, no more: whom it names and when it ends is not looked at.
    PEM has no names for keys: a token calls them by their RFC 7638 thumbprint, or by the fingerprint that Docker's
    libtrust makes (`ABCD:EFGH:...`).
    """
    if _PRIVATE.search(text):
        raise Unusable(
            "there is a private key: give the public key alone, and keep the private one elsewhere"
        )
    blocks = list(_BLOCK.finditer(text))
    if not blocks or len(blocks) != text.count(b"-----BEGIN "):
        raise Unusable("there is no public key and no certificate in PEM, or one of them is not whole")
    keys = [_from_block(block[1], block[0]) for block in blocks]
    return Keys({key.names: key for key in keys}.values())


def _from_block(label: bytes, block: bytes) -> PublicKey:
    load = _LOADERS.get(label)
    if load is None:
        raise Unusable(f"a {label.decode()} is no public key and no certificate")
    try:
        raw = load(block)
    except (ValueError, UnsupportedAlgorithm, InvalidVersion):
        raise Unusable(f"a {label.decode()} cannot be read") from None
    return _public_key(raw)


def parse_jwks(text: bytes) -> Keys:
    """The keys of a JWK set (RFC 7517, section 5) that verify signatures. Raises ValueError where it is no such set.

    Keys of kinds that are not known are left out, as the RFC asks; so are private and symmetric ones, ones that are too
    short and all beyond `MOST_KEYS`, with a warning.
    """
    try:
        entries = msgspec.json.decode(text, type=_JwkSet).keys
    except (msgspec.DecodeError, RecursionError, UnicodeError):
        raise Unusable('this is no JWK set: an object with a list of "keys"') from None
    if len(entries) > MOST_KEYS:
        _log.warning("a JWK set has %d keys; those after the first %d are left out", len(entries), MOST_KEYS)
    found = []
    for number, entry in enumerate(entries[:MOST_KEYS], 1):
        try:
            found += _from_jwk(entry)
        except Unusable as error:
            _log.warning("key %d of a JWK set is left out: %s", number, error)
    return Keys(found)


class _JwkSet(msgspec.Struct):
    keys: list[dict[str, Any]]


def _from_jwk(entry: dict[str, Any]) -> list[PublicKey]:
    """The key of an entry; nothing where it is for something else than signatures, or of a kind that is not known."""
    kind = entry.get("kty")
    if kind == "oct":
        raise Unusable("it is symmetric: who can verify with it can sign with it")
    if "d" in entry:
        raise Unusable("it is private, and has been published: replace it")
    if not isinstance(kind, str) or kind not in _KINDS or not _is_for_signatures(entry):
        return []
    names, build = _KINDS[kind]
    members = {name: entry.get(name) for name in names}
    if not all(isinstance(value, str) and len(value) <= _LONGEST_MEMBER for value in members.values()):
        raise Unusable("one of its members is missing, or no string of a sensible length")
    algorithm, kid = entry.get("alg"), entry.get("kid")
    if not isinstance(algorithm, str | None) or not isinstance(kid, str | None):
        raise Unusable("its alg or its kid is no string")
    try:
        raw = build(members)
    except (KeyError, UnsupportedAlgorithm):
        return []  # A curve that is not known.
    except ValueError:
        raise Unusable("its numbers are those of no key") from None
    key = _public_key(raw)
    return [
        PublicKey(
            key.names if kid is None else frozenset((kid,)),
            key.key,
            key.algorithms if algorithm is None else key.algorithms & {algorithm},
        )
    ]


def _is_for_signatures(entry: dict[str, Any]) -> bool:
    operations = entry.get("key_ops", ["verify"])
    return entry.get("use", "sig") == "sig" and isinstance(operations, list) and "verify" in operations


def _public_key(raw: object) -> PublicKey:
    """A key of the cryptography library as one of ours, called by its thumbprints. Raises Unusable."""
    match raw:
        case RSAPublicKey(key_size=size):
            if not SHORTEST_RSA <= size <= LONGEST_RSA:
                raise Unusable(f"an RSA key has {SHORTEST_RSA} to {LONGEST_RSA} bits, and this one {size}")
            return PublicKey(_names(raw, key := RSAKey(raw, raw)), key, frozenset(_RSA))
        case EllipticCurvePublicKey(curve=curve) if curve.name in _CURVES:
            return PublicKey(_names(raw, own := ECKey(raw, raw)), own, frozenset(_CURVES[curve.name]))
        case Ed25519PublicKey() | Ed448PublicKey():
            return PublicKey(_names(raw, edwards := OKPKey(raw, raw)), edwards, frozenset(_EDWARDS))
    raise Unusable("it is neither RSA nor on one of the curves P-256, P-384, Ed25519 and Ed448")


def _names(
    raw: RSAPublicKey | EllipticCurvePublicKey | Ed25519PublicKey | Ed448PublicKey,
    key: RSAKey | ECKey | OKPKey,
) -> frozenset[str]:
    written = raw.public_bytes(Encoding.DER, PublicFormat.SubjectPublicKeyInfo)
    letters = base64.b32encode(hashlib.sha256(written).digest()[:30]).decode()
    fingerprint = ":".join(letters[start : start + 4] for start in range(0, len(letters), 4))
    return frozenset((key.thumbprint(), fingerprint))
