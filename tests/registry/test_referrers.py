"""Pages of referrers, however they are cut."""

from __future__ import annotations

import asyncio

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from cargohold.registry import referrers as module
from cargohold.registry.manifests import Manifests
from cargohold.registry.referrers import Referrers
from cargohold.storage.memory import MemoryStore
from cargohold.types.digest import Digest
from cargohold.types.names import RepositoryName
from cargohold.types.operations import ListReferrers
from tests.registry.documents import ABSENT, digest_of, index

APP = RepositoryName("app")
SUBJECT = {"mediaType": "application/vnd.example", "digest": ABSENT, "size": 30}


@settings(deadline=None, max_examples=50)
@given(st.lists(st.integers(0, 400), max_size=12), st.integers(1, 1500))
def test_pages_of_referrers_make_the_list(paddings: list[int], room: int) -> None:
    """Whatever the sizes and the page, each referrer is in one page, in order, and only a lone one may be too large."""
    store = MemoryStore()
    manifests = Manifests(store)
    contents = {
        index([], subject=SUBJECT, annotations={"n": str(n), "padding": "x" * padding})
        for n, padding in enumerate(paddings)
    }

    async def case() -> list[list[bytes]]:
        for content in contents:
            await manifests.push(APP, digest_of(content), [], content, None)
        referrers = Referrers(store)
        pages: list[list[bytes]] = []
        last: str | None = None
        for _ in range(len(contents) + 1):
            page, last = await referrers.list(ListReferrers(APP, Digest(ABSENT), None, last))
            pages.append(page)
            if last is None:
                return pages
        raise AssertionError("the pages have no end")

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(module, "_PAGE", room)
        pages = asyncio.run(case())
    listed = [descriptor for page in pages for descriptor in page]
    assert listed == asyncio.run(store.list_referrers(APP, Digest(ABSENT)))
    assert len(listed) == len(contents)
    assert all(len(page) == 1 or len(b",".join(page)) <= room for page in pages if page)


def test_commas_take_room_too() -> None:
    """Two descriptors that would fill a page to the last byte are two pages: what stands between them counts."""
    store = MemoryStore()
    contents = [index([], subject=SUBJECT, annotations={"n": str(n)}) for n in range(2)]

    async def case(room: int) -> int:
        with pytest.MonkeyPatch.context() as patch:
            patch.setattr(module, "_PAGE", room)
            page, _ = await Referrers(store).list(ListReferrers(APP, Digest(ABSENT), None, None))
        return len(page)

    for content in contents:
        asyncio.run(Manifests(store).push(APP, digest_of(content), [], content, None))
    size = sum(map(len, asyncio.run(store.list_referrers(APP, Digest(ABSENT)))))
    assert [asyncio.run(case(room)) for room in (size, size + 2)] == [1, 2]
