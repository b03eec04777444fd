from __future__ import annotations

import asyncio
import base64
import json
import os
import re
import time
from typing import TYPE_CHECKING, Any

import pytest
from cryptography.hazmat.primitives.asymmetric import dsa, rsa
from cryptography.hazmat.primitives.serialization import Encoding, PublicFormat
from joserfc.jwk import OctKey, thumbprint

from cargohold.auth import key_files
from cargohold.auth.jwks import ALGORITHMS, MOST_KEYS, Keys, parse_jwks, parse_pem
from cargohold.auth.key_files import JwksFile, PemKeys
from tests.auth.idp import Clock, SigningKey, encode, jwks

if TYPE_CHECKING:
    from pathlib import Path

MESSAGE = b"what was signed"


def only(keys: Keys, kid: str | None = None) -> Any:
    (key,) = keys.named(kid)
    return key


def entry(**members: object) -> bytes:
    """A JWK set of one key, an RSA key with other members."""
    return json.dumps({"keys": [{**SigningKey().jwk, **members}]}).encode()


@pytest.mark.parametrize("algorithm", sorted(ALGORITHMS))
def test_key_verifies_what_it_has_signed(algorithm: str) -> None:
    """A signature holds by the key and the algorithm that it was made with, for the message that was signed."""
    signer = SigningKey(algorithm=algorithm)
    key = only(parse_jwks(jwks(signer)), "one")
    signature = signer.sign(MESSAGE)
    assert key.verifies(algorithm, MESSAGE, signature)
    assert not key.verifies(algorithm, MESSAGE + b".", signature)
    assert not key.verifies(algorithm, MESSAGE, b"")
    other = only(parse_jwks(jwks(SigningKey(algorithm=algorithm, number=1))), "one")
    assert not other.verifies(algorithm, MESSAGE, signature)


@pytest.mark.parametrize(
    ("form", "fitting"),
    [
        ("2048", {"RS256", "RS384", "RS512", "PS256", "PS384", "PS512"}),
        ("P-256", {"ES256"}),
        ("P-384", {"ES384"}),
        ("Ed25519", {"EdDSA"}),
        ("Ed448", {"EdDSA"}),
    ],
)
def test_key_is_used_only_by_algorithms_of_its_type(form: str, fitting: set[str]) -> None:
    """Which algorithms a key may verify follows from what it is: no MAC, no `none`, no other curve."""
    key = only(parse_jwks(jwks(SigningKey(form=form))), "one")
    assert key.algorithms == fitting <= ALGORITHMS
    for algorithm in ["none", "HS256", "HS512", "ES512", "ES256K", *(ALGORITHMS - fitting)]:
        assert not key.verifies(algorithm, MESSAGE, b"")


def test_key_that_names_its_algorithm_is_used_by_no_other() -> None:
    """RFC 7517, section 4.4: `alg` says which algorithm a key is for."""
    key = only(parse_jwks(entry(alg="RS512")), "one")
    assert key.algorithms == {"RS512"}
    assert only(parse_jwks(entry(alg="HS256")), "one").algorithms == frozenset()


def test_key_is_named_by_its_kid() -> None:
    """A key of a set is found by its `kid` and by nothing else where it has one."""
    keys = parse_jwks(jwks(SigningKey("a"), SigningKey("b", number=1)))
    assert only(keys, "a") != only(keys, "b")
    assert keys.named("c") == keys.named("") == ()
    assert keys.named(thumbprint(SigningKey().key.as_dict(private=False))) == ()


def test_token_without_a_kid_means_the_only_key() -> None:
    """Without a name there must be exactly one key, or it would be a matter of luck which one is meant."""
    assert only(parse_jwks(jwks(SigningKey("a"))))
    assert parse_jwks(jwks(SigningKey("a"), SigningKey("b", number=1))).named(None) == ()
    assert Keys().named(None) == ()


def test_keys_of_one_name_are_all_found() -> None:
    """RFC 7517, section 4.5: keys of different types may have the same `kid`."""
    keys = parse_jwks(jwks(SigningKey("a"), SigningKey("a", "ES256")))
    assert [min(key.algorithms) for key in keys.named("a")] == ["PS256", "ES256"]


@pytest.mark.parametrize("source", [parse_pem, parse_jwks])
def test_key_without_a_name_is_called_by_its_thumbprints(source: Any) -> None:
    """Where nothing names a key, its RFC 7638 thumbprint does, and the fingerprint that libtrust makes of it."""
    signer = SigningKey(None, "ES256")
    keys = source(signer.pem if source is parse_pem else jwks(signer))
    (fingerprint,) = (name for name in only(keys).names if ":" in name)
    assert [len(part) for part in fingerprint.split(":")] == [4] * 12
    assert only(keys, fingerprint) is only(keys, signer.key.thumbprint()) is only(keys)


def test_libtrust_fingerprint_is_the_one_that_openssl_and_base32_make() -> None:
    """The first 240 bits of SHA-256 of the public key in DER, in base32, in groups of four."""
    # A P-256 key, and its fingerprint as made by `openssl pkey -pubin -outform DER | sha256sum` and `base32`.
    pem = (
        b"-----BEGIN PUBLIC KEY-----\n"
        b"MFkwEwYHKoZIzj0CAQYIKoZIzj0DAQcDQgAEIaFyU1T/Hjhhhl4XmkZ6EtM+1MqW\n"
        b"IB3E0LgD7gqOV8FDxjIHc2zn9vOdiB+qUnYB3v/nDtvLrtW30eOabTr63w==\n"
        b"-----END PUBLIC KEY-----\n"
    )
    assert "3ZVF:LSMH:RM6I:2UI3:4SMZ:KRSE:UCHO:SR77:XEHI:XLVP:Z3M4:R34J" in only(parse_pem(pem)).names


def test_pem_file_holds_several_keys_and_certificates() -> None:
    """Keys and certificates stand one after the other, with any text between them; each key counts once."""
    first, second, third = SigningKey("a"), SigningKey("b", "ES256"), SigningKey("c", number=1)
    text = b"Ours:\n%b\n%b\nand theirs\n%b%b" % (
        first.pem,
        first.certificate(),
        second.pem,
        third.certificate(),
    )
    keys = parse_pem(text)
    for signer in (first, second, third):
        assert only(keys, signer.key.thumbprint()).verifies(signer.algorithm, MESSAGE, signer.sign(MESSAGE))
    assert only(parse_pem(first.pem + first.certificate()))


def _public_pem(key: Any) -> bytes:
    pem: bytes = key.public_key().public_bytes(Encoding.PEM, PublicFormat.SubjectPublicKeyInfo)
    return pem


def _of_another_version() -> bytes:
    """A certificate that says it is one of X.509's version 8."""
    _, body, _ = re.split(rb"-----[A-Z ]+-----", SigningKey().certificate())
    content = base64.b64decode(body)
    version, other = b"\xa0\x03\x02\x01\x02", b"\xa0\x03\x02\x01\x07"
    assert content.count(version) == 1
    written = base64.encodebytes(content.replace(version, other))
    return b"-----BEGIN CERTIFICATE-----\n" + written + b"-----END CERTIFICATE-----\n"


def _short_rsa() -> bytes:
    return _public_pem(rsa.generate_private_key(65537, 1024))


@pytest.mark.parametrize(
    ("text", "complaint"),
    [
        (b"", "no public key"),
        (b"-----BEGIN PUBLIC KEY-----\n", "not whole"),
        (SigningKey().pem + SigningKey().pem[:-30], "not whole"),
        (SigningKey().key.as_pem(private=True), "private key"),
        (SigningKey(algorithm="ES256").key.as_pem(private=True, password="secret"), "private key"),
        (SigningKey().pem + SigningKey(algorithm="ES256").key.as_pem(private=True), "private key"),
        (b"-----BEGIN RSA PRIVATE KEY-----\nProc-Type: 4,ENCRYPTED\n", "private key"),
        (b"-----BEGIN PUBLIC KEY-----\nAAAA\n-----END PUBLIC KEY-----\n", "cannot be read"),
        (b"-----BEGIN CERTIFICATE-----\nAAAA\n-----END CERTIFICATE-----\n", "cannot be read"),
        (_of_another_version(), "a CERTIFICATE cannot be read"),
        (b"-----BEGIN X509 CRL-----\nAAAA\n-----END X509 CRL-----\n", "no public key and no certificate"),
        (SigningKey(form="P-521").pem, "neither RSA nor"),
        (SigningKey(form="X25519").pem, "neither RSA nor"),
        (_public_pem(dsa.generate_private_key(1024)), "neither RSA nor"),
        (_short_rsa(), "2048"),
    ],
)
def test_pem_that_cannot_be_used_is_refused(text: bytes, complaint: str) -> None:
    """Whoever configures a file hears what is wrong with it, without a word of what is in it."""
    with pytest.raises(ValueError, match=complaint) as caught:
        parse_pem(text)
    assert len(str(caught.value)) < 120


def test_private_and_symmetric_keys_of_a_set_are_left_out(caplog: pytest.LogCaptureFixture) -> None:
    """What can sign is no key to verify with; the log says so and shows nothing of it."""
    secret, private = (
        OctKey.generate_key(256).as_dict(private=True),
        SigningKey("b").key.as_dict(private=True),
    )
    good = SigningKey("c", "ES256")
    keys = parse_jwks(
        json.dumps({"keys": [{**secret, "kid": "a"}, {**private, "kid": "b"}, good.jwk]}).encode()
    )
    assert keys.named("a") == keys.named("b") == ()
    assert only(keys, "c") is only(keys)
    assert "key 1 of a JWK set is left out: it is symmetric" in caplog.text
    assert "key 2 of a JWK set is left out: it is private" in caplog.text
    assert str(secret["k"]) not in caplog.text
    assert str(private["d"]) not in caplog.text


def test_short_rsa_key_of_a_set_is_left_out(caplog: pytest.LogCaptureFixture) -> None:
    """RSA keys of less than 2,048 bits are broken by those who can afford it."""
    modulus = rsa.generate_private_key(65537, 1024).public_key().public_numbers().n
    assert not parse_jwks(entry(n=encode(modulus.to_bytes(128, "big"))))
    assert "2048 to 8192 bits, and this one 1024" in caplog.text


@pytest.mark.parametrize(
    "members",
    [
        {"n": None},
        {"n": 5},
        {"n": ""},
        {"n": "="},
        {"n": "A" * 100_000},
        {"e": "AQ"},
        {"e": "Ag"},
        {"alg": ["RS256"]},
        {"kid": 5},
        {"kid": {"a": 1}},
        {"kty": "EC"},
        {"kty": "EC", "crv": "P-256", "x": "AA", "y": "AA"},
        {"kty": "EC", "crv": "P-256", "x": "A" * 43, "y": "A" * 43},
        {"kty": "OKP", "crv": "Ed25519", "x": "AA"},
    ],
)
def test_malformed_key_of_a_set_is_left_out(
    members: dict[str, object], caplog: pytest.LogCaptureFixture
) -> None:
    """One bad key does not take the others with it."""
    good = SigningKey("good", "ES256").jwk
    keys = parse_jwks(json.dumps({"keys": [{**SigningKey().jwk, **members}, good]}).encode())
    assert only(keys) is only(keys, "good")
    assert "key 1 of a JWK set is left out" in caplog.text


@pytest.mark.parametrize(
    "members",
    [
        {"use": "enc"},
        {"key_ops": ["encrypt"]},
        {"key_ops": "verify"},
        {"kty": "AKP"},
        {"kty": None},
        {"kty": 5},
        {"kty": "EC", "crv": "P-999", "x": "AA", "y": "AA"},
        {"kty": "OKP", "crv": "nothing", "x": "AA"},
    ],
)
def test_key_for_something_else_is_left_out_in_silence(
    members: dict[str, object], caplog: pytest.LogCaptureFixture
) -> None:
    """RFC 7517, section 5: keys that are not understood, or are for something else, are no error."""
    assert not parse_jwks(entry(**members))
    assert caplog.text == ""


@pytest.mark.parametrize(
    "text", [b"", b"[]", b"{}", b'{"keys": {}}', b'{"keys": [1]}', b"\xff", b'{"keys":' + b"[" * 100_000]
)
def test_what_is_no_jwk_set_is_refused(text: bytes) -> None:
    """Anything but an object with a list of objects is an error, not an empty set."""
    with pytest.raises(ValueError, match="no JWK set"):
        parse_jwks(text)


def test_set_of_too_many_keys_is_cut(caplog: pytest.LogCaptureFixture) -> None:
    """A set that is out of hand costs no more than its first hundred keys."""
    good = SigningKey("good").jwk
    empty = [{"kty": "none"}] * (MOST_KEYS - 1)
    assert parse_jwks(json.dumps({"keys": [*empty, good]}).encode()).named("good")
    assert not parse_jwks(json.dumps({"keys": [*empty, {}, good]}).encode()).named("good")
    assert "those after the first 100 are left out" in caplog.text


def _finds(source: Any, kid: str) -> bool:
    return bool(asyncio.run(source.find(kid)))


def test_file_is_read_again_when_it_changes(tmp_path: Path) -> None:
    """New keys are in use within a second of their coming, and old ones are gone; its version tells."""
    path, clock = tmp_path / "keys", Clock()
    path.write_bytes(jwks(SigningKey("a")))
    source = JwksFile(str(path), clock=clock)
    before = source.version()
    path.write_bytes(jwks(SigningKey("b", number=1)))
    assert _finds(source, "a")
    assert source.version() == before
    clock.now += 1
    assert source.version() != before
    assert not _finds(source, "a")
    assert _finds(source, "b")


def test_file_that_keeps_its_time_and_size_is_read_again(tmp_path: Path) -> None:
    """Two changes within a step of the file system's clock look the same from outside (Linux before 6.13)."""
    path, clock = tmp_path / "keys", Clock()
    for _ in range(30):
        path.write_bytes(jwks(SigningKey("a")))
        source = JwksFile(str(path), clock=clock)
        path.write_bytes(jwks(SigningKey("b")))
        clock.now += 1
        assert _finds(source, "b")


def test_file_that_does_not_change_keeps_its_version(tmp_path: Path) -> None:
    """The version moves with the keys alone: logins that are remembered by it stay remembered."""
    path, clock = tmp_path / "keys", Clock()
    path.write_bytes(SigningKey().pem)
    source = PemKeys(str(path), clock=clock)
    before = source.version()
    for age in (0, 0, 3600, 3600):
        os.utime(path, (time.time() - age, time.time() - age))
        clock.now += 1
        assert source.version() == before


@pytest.mark.parametrize("bad", [b"", b"half a ke", None, b"x" * (key_files.LONGEST_BYTES + 1)])
def test_change_that_cannot_be_read_keeps_the_keys(
    tmp_path: Path, bad: bytes | None, caplog: pytest.LogCaptureFixture
) -> None:
    """A file that is gone or half written is complained about once, and read when it is whole again."""
    path, clock = tmp_path / "keys", Clock()
    path.write_bytes(jwks(SigningKey("a")))
    source = JwksFile(str(path), clock=clock)
    before = source.version()
    if bad is None:
        path.unlink()
    else:
        path.write_bytes(bad)
    for _ in range(3):
        clock.now += 1
        assert source.version() == before
        assert _finds(source, "a")
    assert caplog.text.count("the keys from before stay in use") == 1
    path.write_bytes(jwks(SigningKey("b")))
    clock.now += 1
    assert _finds(source, "b")
    path.unlink()
    if bad is not None:
        path.write_bytes(bad)
    clock.now += 1
    assert _finds(source, "b")
    assert caplog.text.count("the keys from before stay in use") == 2


@pytest.mark.parametrize("source", [PemKeys, JwksFile])
def test_file_that_cannot_be_read_at_first_is_an_error(tmp_path: Path, source: Any) -> None:
    """A registry does not start with keys that it does not have; the message names the file."""
    path = tmp_path / "keys"
    with pytest.raises(ValueError, match=f"{path}: No such file or directory"):
        source(str(path))
    path.mkdir()
    with pytest.raises(ValueError, match=f"{path}: Is a directory"):
        source(str(path))
    path.rmdir()
    path.write_bytes(b"nothing of the sort")
    with pytest.raises(ValueError, match=f"{path}: "):
        source(str(path))


def test_file_without_a_key_for_signatures_is_an_error(tmp_path: Path) -> None:
    """A JWK set that is empty, or has only keys for encryption, verifies nothing."""
    path = tmp_path / "keys"
    path.write_bytes(entry(use="enc"))
    with pytest.raises(ValueError, match="no key that verifies signatures"):
        JwksFile(str(path))
