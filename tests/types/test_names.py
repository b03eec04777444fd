"""Names (spec.md, "Pulling manifests")."""

from __future__ import annotations

import re
import uuid

import pytest
from hypothesis import given
from hypothesis import strategies as st

from cargohold.types.digest import Digest
from cargohold.types.errors import BlobUploadUnknown, DigestInvalid, NameInvalid, TagInvalid
from cargohold.types.names import (
    LONGEST_USER,
    RepositoryName,
    Tag,
    UploadId,
    check_user_name,
    parse_reference,
)

# As the specification writes them.
NAME = r"[a-z0-9]+((\.|_|__|-+)[a-z0-9]+)*(\/[a-z0-9]+((\.|_|__|-+)[a-z0-9]+)*)*"
TAG = r"[a-zA-Z0-9_][a-zA-Z0-9._-]{0,127}"
DIGEST = "sha256:" + "0" * 64


@pytest.mark.parametrize(
    "text", ["a", "0", "library/alpine", "a.b_c__d-e---f/g", "9/9/9", "a" * 255, "/".join(["a"] * 128)]
)
def test_a_repository_name_is_its_own_text(text: str) -> None:
    """Components of lower-case letters and digits, their separators, slashes, up to 255 characters."""
    assert RepositoryName(text) == text


@pytest.mark.parametrize(
    "text",
    [
        "",
        "/",
        "a/",
        "/a",
        "a//b",
        "A",
        "a b",
        ".a",
        "a.",
        "a..b",
        "a___b",
        "-a",
        "a-",
        "_a",
        "a._b",
        "a\n",
        "\na",
        "..",
        ".",
        "../a",
        "a/../b",
        "a/./b",
        "a\\b",
        "a%2fb",
        "a:b",
        "a@b",
        "a\x00",
        "\u0430",
        "a\u0661",
        "\u212a",
    ],
)
def test_what_is_no_repository_name_is_refused(text: str) -> None:
    """Anything else is NAME_INVALID: no name leads out of a folder, or is two names in one."""
    with pytest.raises(NameInvalid, match="a repository name is made of components"):
        RepositoryName(text)


@pytest.mark.parametrize("text", ["a" * 256, "a/" * 5000 + "a", "a" + "-" * 100_000])
def test_a_repository_name_has_at_most_255_characters(text: str) -> None:
    """A longer one is NAME_INVALID, and told so."""
    with pytest.raises(NameInvalid, match="a repository name has at most 255 characters"):
        RepositoryName(text)


near_names = st.text("ab0._-/A \n", max_size=12)


@given(st.one_of(st.text(), near_names, st.from_regex(NAME, fullmatch=True)))
def test_a_repository_name_matches_the_grammar_and_nothing_else_does(text: str) -> None:
    """A name exists exactly for the texts of the specification's expression that are not too long."""
    if re.fullmatch(NAME, text) and len(text) <= 255:
        assert RepositoryName(text) == text
    else:
        with pytest.raises(NameInvalid):
            RepositoryName(text)


@given(st.one_of(st.text(), st.text("aZ9._-:/\n", max_size=5), st.from_regex(TAG, fullmatch=True)))
def test_a_tag_matches_the_grammar_and_nothing_else_does(text: str) -> None:
    """A tag exists exactly for the texts of the specification's expression."""
    if re.fullmatch(TAG, text):
        assert Tag(text) == text
        assert parse_reference(text) == text
    else:
        with pytest.raises(TagInvalid):
            Tag(text)


@pytest.mark.parametrize(
    "text", ["", ".", "..", "-a", ".a", "a b", "a/b", "a" * 129, "latest\n", "a:b", "\u00e9", "a\0"]
)
def test_what_is_no_tag_is_refused(text: str) -> None:
    """Anything else is MANIFEST_INVALID, with the rule."""
    with pytest.raises(TagInvalid, match="a tag has at most 128 letters, digits") as refused:
        Tag(text)
    assert (refused.value.code, refused.value.status) == ("MANIFEST_INVALID", 400)


def test_a_reference_with_a_colon_is_a_digest() -> None:
    """No tag has a colon: with one it is a digest or DIGEST_INVALID, without a tag or a bad tag."""
    assert isinstance(parse_reference(DIGEST), Digest)
    assert isinstance(parse_reference("sha256-" + "0" * 64), Tag)
    assert isinstance(parse_reference("a" * 128), Tag)
    with pytest.raises(DigestInvalid):
        parse_reference(DIGEST.upper())
    with pytest.raises(DigestInvalid):
        parse_reference("a:b")
    with pytest.raises(TagInvalid):
        parse_reference("-a")


def test_upload_ids_are_uuids_that_differ() -> None:
    """A new name parses as a UUID and as an upload's name, and is never given out twice."""
    made = [UploadId.new() for _ in range(1000)]
    assert len(set(made)) == len(made)
    assert all(str(uuid.UUID(name)) == UploadId(name) for name in made)


@pytest.mark.parametrize(
    "text",
    [
        "",
        "..",
        "0" * 32,
        "0" * 36,
        "A0000000-0000-4000-8000-000000000000",
        "00000000-0000-4000-8000-000000000000\n",
    ],
)
def test_what_is_no_upload_id_is_unknown(text: str) -> None:
    """A name that was never given out is BLOB_UPLOAD_UNKNOWN, whatever is wrong with it."""
    with pytest.raises(BlobUploadUnknown):
        UploadId(text)


@pytest.mark.parametrize(
    "name",
    [
        *("", "a:b", "#ann", " ann", "ann ", "a\tb", "a\nb", "\u2028", "\udcff", "\ufeffa"),
        "x" * (LONGEST_USER + 1),
    ],
)
def test_what_is_no_name_of_a_user(name: str) -> None:
    """A name that would not be read back from its line in a file of users is refused."""
    with pytest.raises(ValueError, match="name"):
        check_user_name(name)
