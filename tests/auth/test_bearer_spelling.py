"""Texts that are no tokens, or not written as tokens are."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING

import pytest
from hypothesis import given
from hypothesis import strategies as st

from cargohold.auth.jwt import LONGEST
from tests.auth.idp import SigningKey, as_json, compact, encode, signed
from tests.auth.tokens import (
    HEADER,
    OURS,
    OURS_TOO,
    THEIRS,
    claims,
    refusal,
    service,
    trusting,
    verified,
    with_claims,
)

if TYPE_CHECKING:
    from pathlib import Path

    from cargohold.auth.bearer import ForeignTokens


@pytest.fixture
def tokens(tmp_path: Path) -> ForeignTokens:
    """A verifier that accepts the honest issuer's tokens."""
    return trusting(tmp_path, OURS, OURS_TOO)


@pytest.mark.parametrize("signer", [OURS, OURS_TOO], ids=["RS256", "ES256"])
def test_truncated(tokens: ForeignTokens, signer: SigningKey) -> None:
    """A token that ends anywhere before its end, or begins after its beginning, is refused."""
    token = signed(signer, claims())
    for cut in range(len(token)):
        refusal(tokens, token[:cut])
        refusal(tokens, token[cut + 1 :])


def test_every_changed_character(tokens: ForeignTokens) -> None:
    """No character of a token can be another."""
    token = with_claims()
    for place, character in enumerate(token):
        refusal(tokens, token[:place] + ("A" if character != "A" else "B") + token[place + 1 :])


def test_one_megabyte(tokens: ForeignTokens) -> None:
    """A token has at most 16 KiB; a longer one is refused before anything is made of it."""
    for text in ("a" * 2**20, "." * 2**20, with_claims(own="a" * 2**20), f"{with_claims()}.{'A' * 2**20}"):
        assert refusal(tokens, text) == f"a token has at most {LONGEST} characters"
    room = LONGEST - len(with_claims(own=""))
    longest = with_claims(own="a" * (room * 3 // 4 - 4))
    assert LONGEST - 16 < len(longest) <= LONGEST
    assert verified(tokens, longest)[0].name == "ann"


@pytest.mark.parametrize(
    "sign", ["\0", " ", "\n", "\t", "\r\n", "\u00a0", "\u200b", "\ufeff", "=", "==", "%00", "\ud800", "é"]
)
def test_characters_that_do_not_belong(tokens: ForeignTokens, sign: str) -> None:
    """A token is base64url and two dots: nothing before, within or after it is skipped."""
    token = with_claims()
    header, payload, signature = token.split(".")
    places = [
        sign + token,
        token + sign,
        f"{header}{sign}.{payload}.{signature}",
        f"{header}.{sign}{payload}.{signature}",
        f"{header}.{payload}{sign}.{signature}",
        f"{header}.{payload}.{sign}{signature}",
        token[:10] + sign + token[10:],
        token[:-10] + sign + token[-10:],
    ]
    for text in places:
        assert "base64url" in refusal(tokens, text)


def test_other_spellings_of_the_same_bytes(tokens: ForeignTokens) -> None:
    """A token has one spelling: no padding, no `+` and `/`, no stray bits in the last character."""
    token = with_claims()
    for part in range(3):
        parts = token.split(".")
        for padding in ("=", "==", "==="):
            padded = [*parts[:part], parts[part] + padding, *parts[part + 1 :]]
            assert "base64url" in refusal(tokens, ".".join(padded))
    other = token.replace("-", "+").replace("_", "/")
    assert other != token
    assert "base64url" in refusal(tokens, other)
    # 256 bytes leave 4 bits unused in their last character.
    alphabet = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789-_"
    stray = token[:-1] + alphabet[alphabet.index(token[-1]) | 1]
    assert stray != token
    assert "written" in refusal(tokens, stray)


def test_json_serialisation(tokens: ForeignTokens) -> None:
    """RFC 7515, section 7.2: the forms in JSON, in which a token may have several signatures, are not read."""
    header, payload, signature = with_claims().split(".")
    one = {"protected": header, "signature": signature}
    for form in ({"payload": payload, **one}, {"payload": payload, "signatures": [one, one]}):
        refusal(tokens, json.dumps(form))
        refusal(tokens, encode(as_json(form)))
        refusal(tokens, f"{encode(as_json(form))}..")


def test_token_within_a_token(tokens: ForeignTokens) -> None:
    """A token in the place of claims is no set of claims, though both be signed."""
    inner = with_claims().encode()
    assert "no JSON" in refusal(tokens, compact(HEADER, inner, OURS.sign))
    assert "no object" in refusal(tokens, compact(HEADER, json.dumps(inner.decode()).encode(), OURS.sign))
    assert "not known here" in refusal(tokens, compact({**HEADER, "cty": "JWT"}, claims(), OURS.sign))


@pytest.mark.parametrize("count", [1, 2, 4, 5, 1000])
def test_number_of_parts(tokens: ForeignTokens, count: int) -> None:
    """Three parts, no more and no less."""
    assert "three parts" in refusal(tokens, ".".join([*with_claims().split("."), *["AAAA"] * count][-count:]))


@pytest.mark.parametrize(
    "part",
    [
        b"",
        b"{",
        b"[]",
        b"null",
        b'"x"',
        b"5",
        b"\xff\xfe",
        b'{"a": "\xff"}',
        b"{'alg': 'RS256'}",
        b'{"alg": "RS256"} {}',
        b'{"alg": "RS256",}',
        b"\xef\xbb\xbf{}",
        b'{"a": NaN}',
        b'{"a": -Infinity}',
        b'{"a":' * 1500,
        b"[" * 9000,
        b'{"a":' + b"[" * 2000 + b"]" * 2000 + b"}",
        '{"alg": "RS256"}'.encode("utf-16"),
    ],
)
def test_parts_that_are_no_object(tokens: ForeignTokens, part: bytes) -> None:
    """Header and claims are one JSON object each, in UTF-8, and nesting breaks nothing."""
    said = ("a part of the token is no JSON, or names a member twice", "a part of the token is no object")
    assert refusal(tokens, compact(part, claims(), OURS.sign)) in said
    assert refusal(tokens, compact(HEADER, part, OURS.sign)) in said


@pytest.mark.parametrize("name", ["alg", "kid", "iss", "aud", "exp", "access", "sub"])
def test_member_that_is_there_twice(tokens: ForeignTokens, name: str) -> None:
    """Whoever reads the first and whoever reads the last would see different tokens."""

    def doubled(members: dict[str, object]) -> bytes:
        text = as_json(members)
        if name not in members:
            return text
        return text[:-1] + b", " + as_json({name: members[name]})[1:]

    token = compact(doubled(dict(HEADER)), doubled(claims()), OURS.sign)
    assert "twice" in refusal(tokens, token)
    inner = compact(HEADER, as_json(claims())[:-1] + b', "own": {"a": 1, "a": 1}}', OURS.sign)
    assert "twice" in refusal(tokens, inner)


def test_refusals_show_nothing_of_the_token(tokens: ForeignTokens) -> None:
    """What is written to a log about a token is no part of it."""
    for token in (
        with_claims(exp=1),
        with_claims(aud="x"),
        signed(THEIRS, claims()),
        f"{with_claims()}x",
        "a.b.c",
    ):
        said = refusal(tokens, token)
        assert not any(part in said for part in token.split(".") if len(part) > 1)
        assert "ann" not in said


@given(text=st.text(max_size=200) | st.binary(max_size=200).map(encode))
def test_anything_is_refused_without_a_fault(text: str) -> None:
    """Whatever is sent in the place of a token, the answer is a refusal and no error of ours."""
    made = service(_NoKeys())
    refusal(made, text)
    refusal(made, f"{encode(as_json(HEADER))}.{text}.AAAA")
    refusal(made, f"{text}.{text}.{text}")


class _NoKeys:
    async def find(self, kid: str | None) -> tuple[()]:  # noqa: ARG002
        return ()

    def version(self) -> int:
        return 0
