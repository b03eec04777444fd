"""Which quotas a repository is under."""

from __future__ import annotations

import pytest

from cargohold.types.names import RepositoryName
from cargohold.types.quotas import Quota, Quotas

TEAM = Quota("team/**", 1_000)
EACH = Quota("team/*", 100, each=True)
ALL = Quota("**", 10_000)


def of(quotas: Quotas, name: str) -> tuple[Quota, ...]:
    return quotas.of(RepositoryName(name))


def test_every_quota_that_matches_holds() -> None:
    """A repository is under every quota whose pattern it matches, in their order, whenever it is asked."""
    quotas = Quotas([TEAM, EACH, ALL])
    for _ in range(2):
        assert of(quotas, "team/app") == (TEAM, EACH, ALL)
        assert of(quotas, "team/app/web") == (TEAM, ALL)
        assert of(quotas, "team") == (TEAM, ALL)
        assert of(quotas, "teams/app") == (ALL,)


def test_no_quota() -> None:
    """Without a quota that matches there is none, and without any at all neither."""
    assert of(Quotas([TEAM]), "other") == of(Quotas(), "team/app") == ()


def test_more_repositories_than_are_remembered() -> None:
    """The answer is the same for the first of very many repositories as for the last."""
    quotas = Quotas([EACH])
    for number in [*range(10_000), 0, 9_999]:
        assert of(quotas, f"team/{number}") == (EACH,)
        assert of(quotas, f"other/{number}") == ()


def test_no_pattern() -> None:
    """What is no pattern is refused."""
    with pytest.raises(ValueError, match="no pattern of repositories"):
        Quotas([Quota("Team/**", 1)])


@pytest.mark.parametrize(
    ("quota", "repository", "said"),
    [
        (
            TEAM,
            None,
            "the repositories team/** together may hold 1,000 bytes, of which 990 are used: 11 more do not fit",
        ),
        (
            EACH,
            "team/app",
            (
                "the repository team/app, by the quota of each in team/*, may hold 100 bytes, of which 990 are used:"
                " nothing is left"
            ),
        ),
        (
            Quota("team/app", 990, each=True),
            "team/app",
            "the repository team/app may hold 990 bytes, of which 990 are used: nothing is left",
        ),
    ],
)
def test_what_is_said(quota: Quota, repository: str | None, said: str) -> None:
    """Of which repositories the quota is, how much they may hold, how much is used, and what does not fit."""
    assert quota.shortage(RepositoryName(repository) if repository else None, 990, 11) == said
