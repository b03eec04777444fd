"""Which tags never move, and what is said of it."""

from __future__ import annotations

import pytest

from cargohold.registry.immutable import ImmutableTags
from cargohold.storage.protocols import TagFixed
from cargohold.types.digest import Digest
from cargohold.types.names import RepositoryName, Tag

PROD, CI = RepositoryName("prod/app"), RepositoryName("ci/app")
TAGS = ImmutableTags([("prod/*", ["v*", "stable"]), ("prod/**", ["release-?"]), ("ci/**", ["*"])])


@pytest.mark.parametrize(
    ("repository", "fixed"),
    [
        ("prod/app", ["v1", "stable", "release-1"]),
        ("prod/app/tool", ["release-1"]),
        ("ci/app", ["v1", "stable", "release-1", "release-10", "edge"]),
    ],
)
def test_which(repository: str, fixed: list[str]) -> None:
    """A tag is immutable if a pattern of any rule that matches the repository matches it."""
    is_fixed = TAGS.within(RepositoryName(repository))
    assert is_fixed is not None
    tags = ["v1", "stable", "release-1", "release-10", "edge"]
    assert [tag for tag in tags if is_fixed(Tag(tag))] == fixed


def test_elsewhere() -> None:
    """Where no rule matches the repository, and where there are no rules, nothing is to be looked at."""
    assert TAGS.within(RepositoryName("team/app")) is None
    assert ImmutableTags([]).within(PROD) is None


def test_what_is_said() -> None:
    """The refusal names the tag, what it points to, the patterns that are the reason, and what to do."""
    digest = Digest.of(b"")
    refusal = TAGS.refusal(PROD, TagFixed(Tag("release-1"), digest))
    assert (refusal.code, refusal.status) == ("DENIED", 403)
    assert refusal.message == (
        f"the tag release-1 is immutable here (release-? in prod/**) and points to {digest}: push another tag"
    )
    assert refusal.detail == {"tag": "release-1", "digest": digest}


@pytest.mark.parametrize("rule", [("Prod", ["*"]), ("prod", ["v 1"])])
def test_no_pattern(rule: tuple[str, list[str]]) -> None:
    """What is no pattern is refused."""
    with pytest.raises(ValueError, match="is no pattern"):
        ImmutableTags([rule])
