"""Tags and the catalog, page by page (spec.md, "Listing Tags"; RFC 8288)."""

from __future__ import annotations

import re

import pytest
from hypothesis import given
from hypothesis import strategies as st

from cargohold.config import Settings
from cargohold.config.sections import Lists
from tests.registry.documents import index, sha256
from tests.routes.caller import Registry, Reply

TAGS = ["1.0", "1.10", "1.2", "A", "B", "_", "a", "a-b", "a.b", "b"]
NAMES = ["a", "a-b", "a/b", "a/b/c", "a0", "b", "b/a", "library/app"]
EMPTY = index([])


def tagged(tags: list[str], settings: Settings | None = None) -> Registry:
    """A registry in which `app` has these tags."""
    registry = Registry(settings)
    registry.push("app", sha256(EMPTY), EMPTY)
    for some in range(0, len(tags), 100):
        query = "&".join(f"tag={tag}" for tag in tags[some : some + 100])
        registry.push("app", f"{sha256(EMPTY)}?{query}", EMPTY)
    return registry


def named(names: list[str], settings: Settings | None = None) -> Registry:
    """A registry with these repositories."""
    registry = Registry(settings)
    for name in names:
        registry.push(name, "v1", EMPTY)
    return registry


def linked(reply: Reply) -> str | None:
    """Where the Link to the next page leads; None without one."""
    if "link" not in reply:
        return None
    found = re.fullmatch(r'<([^<>"]+)>; rel="next"', reply["link"])
    assert found, reply["link"]
    return found[1]


def follow(registry: Registry, target: str, member: str) -> list[list[str]]:
    """The pages of a list, the Link followed to the end."""
    pages: list[list[str]] = []
    following: str | None = target
    while following is not None:
        assert len(pages) < 100
        reply = registry.ask("GET", following)
        assert reply.status == 200
        pages.append(reply.json[member])
        following = linked(reply)
    return pages


def test_tags_are_listed() -> None:
    """200 with the name and every tag, in the order of their bytes, whatever the order of the pushes."""
    registry = tagged(TAGS[::-1])
    reply = registry.ask("GET", "/v2/app/tags/list")
    assert (reply.status, reply["content-type"]) == (200, "application/json")
    assert reply.json == {"name": "app", "tags": sorted(TAGS)} == {"name": "app", "tags": TAGS}
    assert "link" not in reply


def test_a_nested_repository_has_tags_of_its_own() -> None:
    """The tags of `app` are not those of `app/inner`."""
    registry = tagged(["outer"])
    registry.push("app/inner", "inner", EMPTY)
    assert registry.ask("GET", "/v2/app/tags/list").json == {"name": "app", "tags": ["outer"]}
    assert registry.ask("GET", "/v2/app/inner/tags/list").json == {"name": "app/inner", "tags": ["inner"]}


@pytest.mark.parametrize("query", ["", "?n=0", "?n=5", "?last=x"])
def test_an_unknown_repository_has_no_list(query: str) -> None:
    """A repository that holds no manifest is NAME_UNKNOWN 404, though blobs were pushed to it."""
    registry = Registry()
    registry.push_blob("blobs", b"content")
    for name in ("nowhere", "blobs"):
        reply = registry.ask("GET", f"/v2/{name}/tags/list{query}")
        assert reply.error == (404, "NAME_UNKNOWN")
        assert reply.errors[0]["detail"] == {"name": name}


def test_a_repository_without_tags_has_an_empty_list() -> None:
    """Manifests without tags make a repository whose list is empty, not null."""
    registry = tagged([])
    assert registry.ask("GET", "/v2/app/tags/list").body == b'{"name":"app","tags":[]}'


@pytest.mark.parametrize("n", [1, 2, 3, 7, 9])
def test_pages_of_tags_make_the_list(n: int) -> None:
    """Each page but the last has `n` tags and a Link to the next, a path; together they are the list."""
    pages = follow(tagged(TAGS), f"/v2/app/tags/list?n={n}", "tags")
    assert [len(page) for page in pages[:-1]] == [n] * (len(pages) - 1)
    assert 0 < len(pages[-1]) <= n
    assert [tag for page in pages for tag in page] == TAGS


@pytest.mark.parametrize("n", [10, 11, 1000, 1001, 10**17, 10**20])
def test_a_page_that_holds_all_has_no_link(n: int) -> None:
    """Where nothing follows there is no Link, however large the page may be."""
    reply = tagged(TAGS).ask("GET", f"/v2/app/tags/list?n={n}")
    assert (reply.json["tags"], linked(reply)) == (TAGS, None)


def test_the_link_is_a_path_with_n_and_last() -> None:
    """The Link bears `n` and `last`, and no host."""
    assert linked(tagged(TAGS).ask("GET", "/v2/app/tags/list?n=2")) == "/v2/app/tags/list?n=2&last=1.10"


@pytest.mark.parametrize("path", ["/v2/app/tags/list", "/v2/_catalog"])
@pytest.mark.parametrize("last", ["", "&last=1", "&last=zzz"])
def test_no_entries_can_be_asked_for(path: str, last: str) -> None:
    """`n=0` is an empty list without a Link."""
    reply = tagged(TAGS).ask("GET", f"{path}?n=0{last}")
    assert reply.status == 200
    assert (reply.json.get("tags", reply.json.get("repositories")), linked(reply)) == ([], None)


@pytest.mark.parametrize(
    "n", ["-1", "", "x", "1.5", "+1", "1e3", "0x10", "%D9%A1", "1%20", "%00", "9" * 5000 + "x"]
)
@pytest.mark.parametrize("path", ["/v2/app/tags/list", "/v2/_catalog", "/v2/nowhere/tags/list"])
def test_a_bad_number_is_refused(path: str, n: str) -> None:
    """An `n` that is no number is PAGINATION_NUMBER_INVALID 400, in a repository that is there or not."""
    assert tagged(TAGS).ask("GET", f"{path}?n={n}").error == (400, "PAGINATION_NUMBER_INVALID")


@pytest.mark.parametrize(
    ("last", "expected"),
    [
        ("", TAGS),
        ("1.2", TAGS[3:]),
        ("1.1", TAGS[1:]),
        ("b", []),
        ("zzz", []),
        ("%2B", TAGS),
        ("%00", TAGS),
        ("%ff", []),
    ],
)
def test_a_list_goes_on_after_last(last: str, expected: list[str]) -> None:
    """`last` need not be a tag that exists, nor come with `n`: what sorts after it follows."""
    assert tagged(TAGS).ask("GET", f"/v2/app/tags/list?last={last}").json["tags"] == expected


def test_a_tag_gone_since_does_not_break_the_pages() -> None:
    """The page after a tag that was deleted meanwhile starts with the one that comes after it."""
    registry = tagged(TAGS)
    other = index([], annotations={"other": "yes"})
    registry.push("app", "1.2", other)
    link = linked(registry.ask("GET", "/v2/app/tags/list?n=3"))
    assert link == "/v2/app/tags/list?n=3&last=1.2"
    registry.ask("DELETE", f"/v2/app/manifests/{sha256(other)}")
    assert registry.ask("GET", link).json["tags"] == ["A", "B", "_"]


def test_the_largest_page() -> None:
    """A larger `n` than `lists.max_page` is lowered to it, in the page and in its Link; without `n` all tags come."""
    registry = tagged(TAGS, Settings(lists=Lists(max_page=4)))
    reply = registry.ask("GET", "/v2/app/tags/list?n=1000000")
    assert (reply.json["tags"], linked(reply)) == (TAGS[:4], "/v2/app/tags/list?n=4&last=A")
    assert registry.ask("GET", "/v2/app/tags/list").json["tags"] == TAGS
    assert follow(registry, "/v2/app/tags/list?n=9", "tags") == [TAGS[:4], TAGS[4:8], TAGS[8:]]


def test_a_thousand_are_a_page() -> None:
    """By default `n` reaches 1,000, and tags are all listed without it."""
    tags = [f"t{number:04}" for number in range(1002)]
    registry = tagged(tags)
    assert registry.ask("GET", "/v2/app/tags/list?n=5000").json["tags"] == tags[:1000]
    assert registry.ask("GET", "/v2/app/tags/list").json["tags"] == tags


def test_repositories_are_listed() -> None:
    """The catalog is 200 with every repository, nested ones too, in the order of their bytes."""
    reply = named(NAMES[::-1]).ask("GET", "/v2/_catalog")
    assert (reply.status, reply["content-type"], linked(reply)) == (200, "application/json", None)
    assert reply.json == {"repositories": sorted(NAMES)} == {"repositories": NAMES}


def test_a_repository_exists_by_its_manifests() -> None:
    """One that holds blobs alone is not listed; one whose last manifest goes is listed no more."""
    registry = named(["a", "b"])
    registry.push_blob("c", b"content")
    registry.start("d")
    assert registry.ask("GET", "/v2/_catalog").json == {"repositories": ["a", "b"]}
    registry.ask("DELETE", f"/v2/a/manifests/{sha256(EMPTY)}")
    assert registry.ask("GET", "/v2/_catalog").json == {"repositories": ["b"]}


@pytest.mark.parametrize("n", [1, 3, 7])
def test_pages_of_repositories_make_the_catalog(n: int) -> None:
    """The Links of the catalog lead through all of it; the slash of a name is encoded in `last`."""
    registry = named(NAMES)
    pages = follow(registry, f"/v2/_catalog?n={n}", "repositories")
    assert [name for page in pages for name in page] == NAMES
    assert linked(registry.ask("GET", "/v2/_catalog?n=4")) == "/v2/_catalog?n=4&last=a%2Fb%2Fc"


def test_a_page_of_the_catalog_is_100() -> None:
    """Without `n` the catalog comes by the hundred, and by the thousand at most."""
    registry = named([f"r{number:04}" for number in range(1001)])
    assert [len(page) for page in follow(registry, "/v2/_catalog", "repositories")] == [100] * 10 + [1]
    assert [len(page) for page in follow(registry, "/v2/_catalog?n=9999", "repositories")] == [1000, 1]


def test_the_default_page_is_a_setting() -> None:
    """`lists.default_page` is the catalog's page without `n`, within `lists.max_page`; tags do not mind it."""
    for lists, size in ((Lists(default_page=3), 3), (Lists(default_page=50, max_page=2), 2)):
        registry = named(NAMES, Settings(lists=lists))
        pages = follow(registry, "/v2/_catalog", "repositories")
        assert pages == [NAMES[start : start + size] for start in range(0, len(NAMES), size)]


@given(st.sets(st.from_regex(r"\A[a-zA-Z0-9_][a-zA-Z0-9._-]{0,5}\Z")), st.integers(1, 8))
def test_any_tags_are_listed_whole_and_in_order(tags: set[str], n: int) -> None:
    """Whatever the tags and the page, the pages together are the tags, sorted, each once."""
    pages = follow(tagged(list(tags)), f"/v2/app/tags/list?n={n}", "tags")
    assert [tag for page in pages for tag in page] == sorted(tags)
