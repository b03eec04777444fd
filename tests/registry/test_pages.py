"""Pages of tags and of the catalog, however they are cut."""

from __future__ import annotations

import asyncio

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from cargohold.registry.catalog import Catalog
from cargohold.registry.manifests import Manifests
from cargohold.registry.pages import Listed
from cargohold.registry.tags import Tags
from cargohold.storage.memory import MemoryStore
from cargohold.types.errors import NameUnknown
from cargohold.types.names import RepositoryName, Tag
from cargohold.types.paging import Page
from tests.registry.documents import digest_of, index

APP = RepositoryName("app")


def filled(tags: list[str]) -> MemoryStore:
    store = MemoryStore()
    content = index([])
    manifests = Manifests(store)
    asyncio.run(manifests.push(APP, digest_of(content), [Tag(tag) for tag in tags], content, None))
    return store


@settings(deadline=None)
@given(st.integers(0, 8), st.integers(0, 12), st.integers(1, 5))
def test_more_is_said_exactly_where_more_is(count: int, n: int, most: int) -> None:
    """A page has `n` entries where there are as many, at most the largest page, and tells truly whether more follow."""
    tags = [f"t{number}" for number in range(count)]
    listed = asyncio.run(Tags(filled(tags), max_page=most).list(APP, Page(n, "")))
    size = min(n, most)
    assert listed == Listed(tags[:size], size, 0 < size < count)


def test_tags_are_all_listed_without_a_number() -> None:
    """Neither the default nor the largest page cuts a list of tags that is asked for whole; `last` still counts."""
    tags = [f"t{number}" for number in range(9)]
    store = filled(tags)
    for last, expected in (("", tags), ("t3", tags[4:])):
        listed = asyncio.run(Tags(store, max_page=3).list(APP, Page(None, last)))
        assert (listed.entries, listed.more) == (expected, False)


def test_what_holds_nothing_is_unknown() -> None:
    """The tags of a repository without a manifest are NameUnknown."""
    store = MemoryStore()
    with pytest.raises(NameUnknown):
        asyncio.run(Tags(store, max_page=1).list(APP, Page(None, "")))
    catalog = Catalog(store, default_page=1, max_page=1)
    assert asyncio.run(catalog.list(Page(None, ""), None)) == Listed([], 1, more=False)
