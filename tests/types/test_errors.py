"""The table of codes."""

from __future__ import annotations

import re

import pytest

from cargohold.types import errors
from cargohold.types.digest import Digest
from cargohold.types.errors import (
    ManifestBlobUnknown,
    ManifestUnknown,
    RangeInvalid,
    RegistryError,
    Unsupported,
)

# spec.md, "Error Codes"; PAGINATION_NUMBER_INVALID, UNAVAILABLE and UNKNOWN are those of the older Docker table.
SPECIFIED = {
    *(
        "BLOB_UNKNOWN",
        "BLOB_UPLOAD_INVALID",
        "BLOB_UPLOAD_UNKNOWN",
        "DIGEST_INVALID",
        "MANIFEST_BLOB_UNKNOWN",
    ),
    *("MANIFEST_INVALID", "MANIFEST_UNKNOWN", "NAME_INVALID", "NAME_UNKNOWN", "SIZE_INVALID", "UNSUPPORTED"),
    *("UNAUTHORIZED", "DENIED", "TOOMANYREQUESTS"),
    *("PAGINATION_NUMBER_INVALID", "UNAVAILABLE", "UNKNOWN"),
}


def tree(root: type[RegistryError]) -> list[type[RegistryError]]:
    return [root, *(found for child in root.__subclasses__() for found in tree(child))]


EVERY_ERROR = [error for error in tree(RegistryError) if error.__module__ == errors.__name__]


def test_the_tree_is_the_one_that_is_drawn() -> None:
    """The module's docstring shows each error with its code, its status, and what it is a kind of."""
    parents: dict[int, str] = {}
    drawn = {}
    for line in (errors.__doc__ or "").splitlines():
        row = re.fullmatch(r"( +[│├└─ ]*)(\w+)(?: +([A-Z_]+) +(\d{3}))?", line)
        if row:
            depth = len(row[1])
            parents[depth] = row[2]
            if row[3]:
                drawn[row[2]] = (parents[depth - 4], row[3], int(row[4]))
    assert drawn == {
        error.__name__: (error.__bases__[0].__name__, error.code, error.status)
        for error in EVERY_ERROR
        if error is not RegistryError
    }


@pytest.mark.parametrize("error", EVERY_ERROR, ids=lambda error: error.__name__)
def test_every_error_has_a_code_a_status_and_a_message(error: type[RegistryError]) -> None:
    """The codes are the specification's, the statuses errors, the messages not empty."""
    assert error.code in SPECIFIED
    assert 400 <= error.status <= 599
    assert error.message
    assert error.__doc__


def test_a_message_can_be_more_exact() -> None:
    """What the place that raises says replaces the class's own message, which stays as it was."""
    assert Unsupported().entries() == [{"code": "UNSUPPORTED", "message": Unsupported.message}]
    assert Unsupported("not by tag").entries() == [{"code": "UNSUPPORTED", "message": "not by tag"}]
    assert str(Unsupported("not by tag")) == "not by tag"
    assert Unsupported().message != "not by tag"


def test_detail_and_headers_go_with_the_answer() -> None:
    """A detail stands in the entry where there is one; headers are the caller's, in order."""
    error = ManifestUnknown(detail={"tag": "v1"}, headers=[("a", "1"), ("a", "2")])
    assert error.entries()[0]["detail"] == {"tag": "v1"}
    assert error.headers == [("a", "1"), ("a", "2")]
    assert RangeInvalid().headers == []
    assert "detail" not in RangeInvalid().entries()[0]


def test_each_missing_blob_has_its_own_entry() -> None:
    """MANIFEST_BLOB_UNKNOWN names every digest that is missing, in the order given."""
    digests = [Digest.of(b"1"), Digest.of(b"2")]
    assert ManifestBlobUnknown(digests).entries() == [
        {"code": "MANIFEST_BLOB_UNKNOWN", "message": "blob unknown to registry", "detail": {"digest": digest}}
        for digest in digests
    ]
