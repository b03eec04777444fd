"""What attackers make of keys, algorithms and signatures.

Each test first sees that the honest token, of which its own is made, is accepted.
"""

from __future__ import annotations

import base64
import hmac
from typing import TYPE_CHECKING, Any

import pytest
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric.ec import ECDSA

from cargohold.auth.key_files import JwksFile, PemKeys
from cargohold.auth.published_keys import JwksUrl
from tests.auth.idp import Issuer, SigningKey, as_json, compact, encode, jwks, signed
from tests.auth.tokens import (
    HEADER,
    NOW,
    OURS,
    OURS_TOO,
    THEIRS,
    claims,
    refusal,
    service,
    trusting,
    verified,
    with_claims,
    with_header,
)

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

    from cargohold.auth.bearer import ForeignTokens


@pytest.fixture
def tokens(tmp_path: Path) -> ForeignTokens:
    """A verifier that accepts the honest issuer's tokens."""
    return trusting(tmp_path, OURS, OURS_TOO)


@pytest.fixture
def pinned(tmp_path: Path) -> ForeignTokens:
    """One key in PEM, so that a token need not name it."""
    path = tmp_path / "key.pem"
    path.write_bytes(OURS.pem)
    made = service(PemKeys(str(path)))
    assert verified(made, signed(SigningKey(None), claims()))[0].name == "ann"
    return made


def nobody(_: bytes) -> bytes:
    """No signature."""
    return b""


def mac(key: bytes, name: str = "sha256") -> Callable[[bytes], bytes]:
    return lambda message: hmac.digest(key, message, name)


@pytest.mark.parametrize("name", ["none", "None", "NONE", "nOnE", "", " none", "null"])
def test_alg_none(tokens: ForeignTokens, pinned: ForeignTokens, name: str) -> None:
    """A token that is not signed is no token, however its algorithm is spelt."""
    for signature in (nobody, OURS.sign):
        for header in ({**HEADER, "alg": name}, {"alg": name}):
            token = compact(header, claims(), signature)
            assert "algorithm" in refusal(tokens, token)
            assert "algorithm" in refusal(pinned, token)


@pytest.mark.parametrize(
    "value", [None, 5, True, ["RS256"], {"RS256": 1}, "RS256 ", "rs256", "RS257", "RS256\0"]
)
def test_alg_that_is_no_algorithm(tokens: ForeignTokens, value: object) -> None:
    """The algorithm is one of those that are accepted, letter by letter."""
    assert "algorithm" in refusal(tokens, compact({**HEADER, "alg": value}, claims(), OURS.sign))
    header = {name: member for name, member in HEADER.items() if name != "alg"}
    assert "algorithm" in refusal(tokens, compact(header, claims(), OURS.sign))


@pytest.mark.parametrize("size", [256, 384, 512])
@pytest.mark.parametrize("form", ["pem", "pem without newline", "der", "jwk", "modulus", "empty"])
def test_hs_signed_with_the_public_key(
    tokens: ForeignTokens, pinned: ForeignTokens, form: str, size: int
) -> None:
    """Key confusion: the public key, which everyone knows, is never the secret of a MAC, in whatever form."""
    public: Any = OURS.jwk
    modulus = base64.urlsafe_b64decode(public["n"] + "==")
    secret = {
        "pem": OURS.pem,
        "pem without newline": OURS.pem.rstrip(),
        "der": OURS.der,
        "jwk": as_json(public),
        "modulus": modulus,
        "empty": b"",
    }[form]
    token = compact({**HEADER, "alg": f"HS{size}"}, claims(), mac(secret, f"sha{size}"))
    assert "algorithm" in refusal(tokens, token)
    assert "algorithm" in refusal(pinned, token)


def test_mac_with_the_public_key_under_an_accepted_algorithm(tokens: ForeignTokens) -> None:
    """A MAC that is called RS256 is verified as RS256."""
    assert "signed with none" in refusal(tokens, compact(HEADER, claims(), mac(OURS.pem)))


def test_no_kid(tokens: ForeignTokens) -> None:
    """Where the issuer has several keys, a token says which one; none is tried for luck."""
    assert "signed with none" in refusal(tokens, with_header(kid=None))
    assert "signed with none" in refusal(tokens, compact({**HEADER, "kid": None}, claims(), OURS.sign))


@pytest.mark.parametrize("kid", ["theirs", "", "OURS", "ours ", "ours\0", "our", "*", "ours-too"])
def test_unknown_kid(tokens: ForeignTokens, kid: str) -> None:
    """A key that is not among the issuer's verifies nothing, nor does another of them."""
    assert "signed with none" in refusal(tokens, with_header(kid=kid))
    assert "signed with none" in refusal(tokens, signed(THEIRS, claims(), {"kid": kid}))


def test_unknown_kid_where_there_is_one_key(pinned: ForeignTokens) -> None:
    """A name that is given must be that of the key, though there is only one."""
    assert "signed with none" in refusal(pinned, with_header(kid="ours"))


@pytest.mark.parametrize(
    "kid",
    [
        "../../../../etc/passwd",
        "/dev/null",
        "file:///etc/passwd",
        "https://evil.example.com/key",
        "' OR 1=1 --",
        "$(touch /tmp/x)",
        "ours\r\nX-Header: 1",
        "%2e%2e%2f",
        "a" * 1024,
        "\ud800",
        "__proto__",
    ],
)
def test_kid_that_would_be_something_else(tokens: ForeignTokens, kid: str) -> None:
    """A kid is looked up among names and used for nothing else."""
    assert "signed with none" in refusal(tokens, with_header(kid=kid))


@pytest.mark.parametrize("kid", [5, True, ["ours"], {"ours": 1}, "a" * 1025])
def test_kid_that_is_no_name(tokens: ForeignTokens, kid: object) -> None:
    """A kid is a string of sensible length."""
    assert "kid is no name" in refusal(tokens, with_header(kid=kid))


def test_kid_of_100_kb(tokens: ForeignTokens) -> None:
    """A header that is out of hand is too long before it is read."""
    assert "at most" in refusal(tokens, with_header(kid="a" * 100_000))


def test_jwk_in_the_header(tokens: ForeignTokens, pinned: ForeignTokens) -> None:
    """A token is not its own witness: the key that it brings along is not used, whatever it is called."""
    for key in (THEIRS, SigningKey("ours", number=1), SigningKey(None, "ES256", number=1)):
        for kid in ("ours", "theirs", None):
            token = signed(key, claims(), {"jwk": key.jwk, "kid": kid})
            assert "carries a key" in refusal(tokens, token)
            assert "carries a key" in refusal(pinned, token)


@pytest.mark.parametrize("name", ["jku", "x5u"])
def test_address_of_a_key_in_the_header(tokens: ForeignTokens, name: str) -> None:
    """Nothing is fetched because a token says so."""
    with Issuer(THEIRS) as evil:
        token = signed(THEIRS, claims(), {name: evil.keys_url})
        assert "carries a key" in refusal(tokens, token)
        assert "carries a key" in refusal(tokens, with_header(**{name: evil.keys_url}))
        assert evil.asked == []


def test_x5c_in_the_header(tokens: ForeignTokens, pinned: ForeignTokens) -> None:
    """A chain of certificates that a token brings along is not followed."""
    lines = THEIRS.certificate().decode().splitlines()[1:-1]
    for kid in ("ours", "theirs", None):
        token = signed(THEIRS, claims(), {"x5c": ["".join(lines)], "kid": kid})
        assert "carries a key" in refusal(tokens, token)
        assert "carries a key" in refusal(pinned, token)


@pytest.mark.parametrize("critical", [["exp"], ["b64"], [], "exp", None, ["x"]])
def test_critical_header(tokens: ForeignTokens, critical: object) -> None:
    """RFC 7515, section 4.1.11: whatever must be understood is not, for nothing such is known here."""
    token = compact({**HEADER, "crit": critical}, claims(), OURS.sign)
    assert "not known here" in refusal(tokens, token)


def test_payload_that_is_not_encoded(tokens: ForeignTokens) -> None:
    """RFC 7797: a token whose claims are not base64url is another message to others than to us."""
    text = as_json(claims()).decode().replace(".", "")
    for extra in ({"b64": False}, {"b64": False, "crit": ["b64"]}, {"b64": True}):
        header = {**HEADER, **extra}
        message = f"{encode(as_json(header))}.{text}"
        refusal(tokens, f"{message}.{encode(OURS.sign(message.encode()))}")
        assert "not known here" in refusal(tokens, compact(header, claims(), OURS.sign))


def test_encrypted_and_compressed(tokens: ForeignTokens) -> None:
    """A token of five parts is encrypted, which none of ours is; nothing is inflated."""
    assert "three parts" in refusal(tokens, f"{with_claims()}.AAAA.AAAA")
    for extra in ({"zip": "DEF"}, {"enc": "A128GCM"}, {"cty": "JWT"}):
        assert "not known here" in refusal(tokens, with_header(**extra))


@pytest.mark.parametrize("algorithm", ["RS256", "PS256", "ES256", "EdDSA"])
def test_signature_of_another_key_with_the_same_kid(tokens: ForeignTokens, algorithm: str) -> None:
    """The name of a key is no proof of having it."""
    for kid in ("ours", "ours-too"):
        assert "signed with none" in refusal(tokens, signed(SigningKey(kid, algorithm, number=1), claims()))


@pytest.mark.parametrize(
    "signature", [b"\0" * 64, b"\0" * 96, b"\0" * 8, b"", b"\xff" * 64, b"\0" * 63 + b"\1"]
)
def test_signature_of_zeros(tokens: ForeignTokens, signature: bytes) -> None:
    """The signature of zeros, which held for any message in a known library (CVE-2022-21449), holds for none here."""
    order = 0xFFFFFFFF00000000FFFFFFFFFFFFFFFFBCE6FAADA7179E84F3B9CAC2FC632551
    for made in (signature, order.to_bytes(32, "big") * 2, (order + 1).to_bytes(32, "big") * 2):
        token = compact({**HEADER, "alg": "ES256", "kid": "ours-too"}, claims(), lambda _, made=made: made)  # type: ignore[misc]
        assert "signed with none" in refusal(tokens, token)


def test_es256_signature_in_der(tokens: ForeignTokens) -> None:
    """JWS has r and s side by side (RFC 7518, section 3.4); the form of certificates is another spelling of a token."""
    private: Any = OURS_TOO.key.private_key
    header = {**HEADER, "alg": "ES256", "kid": "ours-too"}
    token = compact(header, claims(), lambda message: bytes(private.sign(message, ECDSA(hashes.SHA256()))))
    assert "signed with none" in refusal(tokens, token)


def test_rs256_key_used_as_ps256(tmp_path: Path) -> None:
    """Where only RS256 is accepted, the same key cannot be used in another way, nor called by another name."""
    path = tmp_path / "keys"
    path.write_bytes(jwks(OURS))
    made = service(JwksFile(str(path)), algorithms=["RS256"])
    verified(made, signed(OURS, claims()))
    for name in ("PS256", "RS384", "RS512"):
        assert "algorithm" in refusal(made, signed(SigningKey("ours", name), claims()))
        called = compact(HEADER, claims(), SigningKey("ours", name).sign)
        assert "signed with none" in refusal(made, called)


def test_key_of_one_type_used_by_the_algorithm_of_another(tokens: ForeignTokens) -> None:
    """An RSA key verifies no ES256 and no EdDSA, a curve no RS256, and P-256 no ES384."""
    for kid, name in [
        ("ours", "ES256"),
        ("ours", "EdDSA"),
        ("ours-too", "RS256"),
        ("ours-too", "ES384"),
        ("ours-too", "EdDSA"),
    ]:
        assert "signed with none" in refusal(tokens, signed(SigningKey(kid, name), claims()))
        assert "signed with none" in refusal(
            tokens, compact({**HEADER, "alg": name, "kid": kid}, claims(), OURS.sign)
        )


def test_eddsa(tmp_path: Path, tokens: ForeignTokens) -> None:
    """EdDSA is refused where it is not accepted; signatures of zeros and of points of small order hold for nothing."""
    path = tmp_path / "edwards"
    own = SigningKey("ours", "EdDSA")
    path.write_bytes(jwks(own))
    made = service(JwksFile(str(path)))
    verified(made, signed(own, claims()))
    neutral = b"\x01" + b"\0" * 31
    for signature in (b"", b"\0" * 64, neutral + b"\0" * 32, b"\xff" * 64):
        token = compact({**HEADER, "alg": "EdDSA"}, claims(), lambda _, made=signature: made)  # type: ignore[misc]
        assert "signed with none" in refusal(made, token)
    assert "signed with none" in refusal(tokens, signed(own, claims()))
    strict = service(JwksFile(str(path)), algorithms=["RS256"])
    assert "algorithm" in refusal(strict, signed(own, claims()))


def test_forged_tokens_do_not_make_us_ask_the_issuer() -> None:
    """Tokens that are refused for what they say cost the issuer no request."""
    with Issuer(OURS) as idp:
        made = service(JwksUrl(idp.keys_url))
        for token in (
            signed(THEIRS, claims(iss="https://evil.example.com")),
            signed(THEIRS, claims(exp=NOW - 1000)),
            signed(THEIRS, claims(aud="other")),
            compact({"alg": "none"}, claims(), nobody),
            signed(THEIRS, claims(), {"jku": idp.keys_url}),
        ):
            refusal(made, token)
        assert idp.asked == []
