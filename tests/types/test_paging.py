"""Pages and links (spec.md, "Listing Tags")."""

from __future__ import annotations

import re
from urllib.parse import parse_qs, unquote, urlsplit

import pytest
from hypothesis import given
from hypothesis import strategies as st

from cargohold.types.errors import PaginationInvalid
from cargohold.types.paging import Page, next_link, parse_page

MOST = 10**18 - 1
BEYOND = 2**63


def parse(query: str) -> Page:
    return parse_page(parse_qs(query, keep_blank_values=True))


@pytest.mark.parametrize(
    ("query", "page"),
    [
        ("", Page(None, "")),
        ("n=10", Page(10, "")),
        ("n=0", Page(0, "")),
        ("n=007", Page(7, "")),
        ("last=v1", Page(None, "v1")),
        ("n=2&last=a%2Fb", Page(2, "a/b")),
        ("last=", Page(None, "")),
        (f"n={MOST}", Page(MOST, "")),
        (f"n={'0' * 100_000}7", Page(7, "")),
        (f"n={MOST + 1}", Page(BEYOND, "")),
        (f"n={'9' * 100_000}", Page(BEYOND, "")),
        ("n=1&n=2&last=a&last=b", Page(1, "a")),
        ("n=1&n=x", Page(1, "")),
        ("N=1&limit=5&page=2", Page(None, "")),
    ],
)
def test_a_query_names_a_page(query: str, page: Page) -> None:
    """`n` and `last` are both optional, the first value counts, unknown parameters do not; any number is one."""
    assert parse(query) == page


@pytest.mark.parametrize(
    "n",
    [
        "",
        "-1",
        "%2B1",
        "+1",
        "1.0",
        "1e3",
        "0x10",
        "ten",
        " 1",
        "1%0A",
        "1_000",
        "%D9%A1",
        "%C2%B2",
        "1,2",
        "9" * 100000 + "x",
        "0" * 100000 + "x",
        "%00",
    ],
)
def test_a_bad_n_is_refused(n: str) -> None:
    """What is no whole number in plain digits is PAGINATION_NUMBER_INVALID; long ones cost nothing."""
    with pytest.raises(PaginationInvalid, match=r"^n must be a whole number, 0 or more$"):
        parse(f"n={n}")


@given(
    path=st.text(st.characters(codec="utf-8")).map(lambda text: f"/v2/{text}"),
    n=st.integers(0, MOST),
    last=st.text(st.characters(codec="utf-8")),
    extra=st.dictionaries(st.sampled_from(["artifactType", "ns"]), st.text(st.characters(codec="utf-8"))),
)
def test_a_link_leads_to_the_page_that_it_was_made_for(
    path: str, n: int, last: str, extra: dict[str, str]
) -> None:
    """Whatever stands in the path and the parameters, the link is plain ASCII and is read back as it was."""
    name, value = next_link(path, n=n, last=last, extra=extra)
    link = re.fullmatch(r'<([!#-;=?-~]+)>; rel="next"', value)
    assert name == "link"
    assert link is not None
    target = urlsplit(f"http://registry{link[1]}")
    assert unquote(target.path) == path
    assert parse(target.query) == Page(n, last)
    query = parse_qs(target.query, keep_blank_values=True)
    assert {key: query[key] for key in extra} == {key: [text] for key, text in extra.items()}


def test_a_link_looks_as_the_specification_shows_it() -> None:
    """A relative reference in angle brackets, and its relation."""
    assert next_link("/v2/a/b/tags/list", n=2, last="v1.0") == (
        "link",
        '</v2/a/b/tags/list?n=2&last=v1.0>; rel="next"',
    )
    assert next_link("/v2/a/referrers/sha256:00", n=1, last="b", extra={"artifactType": "a/b+c"}) == (
        "link",
        '</v2/a/referrers/sha256:00?n=1&last=b&artifactType=a%2Fb%2Bc>; rel="next"',
    )
