"""Lists of tags and of repositories: order, pages, what is in them."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from cargohold.storage.protocols import NotFound
from cargohold.types.names import RepositoryName, Tag

from .base import LATEST, ONE, OTHER, Contract, Within, commit, push, sample, started, tags_of

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable, Sequence

    from cargohold.storage.protocols import Store

FIRST, SECOND = sample("first"), sample("second")

# Such as a walk of folders, or an order that is not that of bytes, would put elsewhere.
TAGS = [
    "v1",
    "v10",
    "v1.0",
    "V1",
    "v1-0",
    "v1_0",
    "v2",
    "_",
    "_a",
    "0",
    "00",
    "9",
    "A",
    "Z",
    "a",
    "z",
    "latest",
    "Latest",
]
REPOSITORIES = [
    "a",
    "a/b",
    "a/b/c",
    "a-b",
    "a.b",
    "a_b",
    "a0",
    "ab",
    "b/a",
    "a--b/c",
    "0",
    "z/z",
    "a/b-c",
    "a/b0",
]
BETWEEN = [
    "",
    "0",
    "a",
    "a/",
    "a/b",
    "v1.",
    "v10",
    "zzz",
    "~",
    "/",
    "..",
    "../..",
    "a\x00",
    "é",
    "\U0001d482",
    "a" * 1000,
]


def _bytes(text: str) -> bytes:
    return text.encode()


async def _pages(page: Callable[[str, int], Awaitable[Sequence[str]]], limit: int) -> list[str]:
    """All that the pages hold, one after the other."""
    found: list[str] = []
    last = ""
    for _ in range(100):
        members = list(await page(last, limit))
        assert len(members) <= limit
        found += members
        if len(members) < limit:
            return found
        last = members[-1]
    raise AssertionError("the pages do not end")


class ListContract(Contract):
    """`list_tags`, `list_repositories`."""

    async def test_tags_by_bytes(self, store: Store, second: Store) -> None:
        """Tags are listed by the order of their bytes, to every process."""
        for name in TAGS:
            await commit(store, ONE, FIRST, Tag(name))
        assert await tags_of(store, ONE) == sorted(TAGS, key=_bytes)
        assert await tags_of(second, ONE) == sorted(TAGS, key=_bytes)

    async def test_tags_page_by_page(self, store: Store) -> None:
        """Pages of any size hold each tag once, in order."""
        await commit(store, ONE, FIRST, *map(Tag, TAGS))
        for limit in range(1, len(TAGS) + 2):
            assert await _pages(lambda after, most: store.list_tags(ONE, after, most), limit) == sorted(TAGS)
        assert await store.list_tags(ONE, "", 0) == []

    @pytest.mark.parametrize("after", BETWEEN)
    async def test_tags_after_anything(self, store: Store, after: str) -> None:
        """A page starts after any text whatever, be it a tag that was there, is there, or could never be."""
        await commit(store, ONE, FIRST, *map(Tag, TAGS))
        expected = sorted((tag for tag in TAGS if _bytes(tag) > _bytes(after)), key=_bytes)
        assert await store.list_tags(ONE, after, 100) == expected
        assert await store.list_tags(ONE, after, 2) == expected[:2]

    async def test_tags_of_no_repository(self, store: Store) -> None:
        """Without a manifest there is no repository: never named, holding blobs or sessions alone."""
        await push(store, ONE, b"a blob")
        await started(store, OTHER, b"a session")
        for name in (ONE, OTHER, RepositoryName("unknown"), RepositoryName("library")):
            for limit in (0, 1, 100):
                with pytest.raises(NotFound):
                    await store.list_tags(name, "", limit)

    async def test_tags_of_an_untagged_repository(self, store: Store) -> None:
        """A repository of untagged manifests has an empty list; so has one that lost its last tag."""
        await commit(store, ONE, FIRST)
        assert await tags_of(store, ONE) == []
        await commit(store, ONE, FIRST, LATEST)
        await store.delete_tag(ONE, LATEST)
        assert await tags_of(store, ONE) == []

    async def test_tags_after_the_last_manifest(self, store: Store) -> None:
        """A repository that lost its last manifest does not exist any more, until another is committed."""
        await commit(store, ONE, FIRST, LATEST)
        await commit(store, ONE, SECOND)
        await store.delete_manifest(ONE, FIRST.digest)
        assert await tags_of(store, ONE) == []
        await store.delete_manifest(ONE, SECOND.digest)
        assert await tags_of(store, ONE) is None
        await commit(store, ONE, SECOND, LATEST)
        assert await tags_of(store, ONE) == [LATEST]

    async def test_tags_as_they_change(self, store: Store, second: Store) -> None:
        """A list asked after a change shows it, however fast it changes, whichever process asks."""
        await commit(store, ONE, FIRST)
        await commit(store, ONE, SECOND, Tag("still"))
        for number in range(40):
            changed, reader = (store, second) if number % 2 else (second, store)
            tag = Tag(f"t{number % 7}")
            await commit(changed, ONE, FIRST, tag)
            assert await tags_of(reader, ONE) == ["still", tag]
            assert await tags_of(changed, ONE) == ["still", tag]
            if number % 3:
                await changed.delete_tag(ONE, tag)
            else:
                await changed.delete_manifest(ONE, FIRST.digest)
            assert await tags_of(reader, ONE) == ["still"]
            assert await tags_of(changed, ONE) == ["still"]

    async def test_repositories_by_bytes(self, store: Store, second: Store) -> None:
        """Repositories are listed by the order of the bytes of their whole names, however they nest."""
        for name in REPOSITORIES:
            await commit(store, RepositoryName(name), FIRST)
        assert await store.list_repositories("", 100) == sorted(REPOSITORIES, key=_bytes)
        assert await second.list_repositories("", 100) == sorted(REPOSITORIES, key=_bytes)

    async def test_repositories_page_by_page(self, store: Store) -> None:
        """Pages of any size hold each repository once, in order."""
        for name in REPOSITORIES:
            await commit(store, RepositoryName(name), FIRST, LATEST)
        for limit in range(1, len(REPOSITORIES) + 2):
            assert await _pages(store.list_repositories, limit) == sorted(REPOSITORIES)
        assert await store.list_repositories("", 0) == []

    async def test_repositories_after_anything(self, store: Store) -> None:
        """A page starts after any text whatever, be it a name that is there, or could never be."""
        for name in REPOSITORIES:
            await commit(store, RepositoryName(name), FIRST)
        for after in BETWEEN:
            expected = sorted((name for name in REPOSITORIES if _bytes(name) > _bytes(after)), key=_bytes)
            assert await store.list_repositories(after, 100) == expected
            assert await store.list_repositories(after, 2) == expected[:2]

    async def test_repositories_that_are_visible(self, store: Store, second: Store) -> None:
        """A view hides what it does not see, page by page, also of what was pushed since it was asked last."""
        for name in REPOSITORIES:
            await commit(store, RepositoryName(name), FIRST)
        visible = Within("a/")
        seen = sorted(name for name in REPOSITORIES if name.startswith("a/"))
        assert await store.list_repositories("", 100, visible) == seen
        assert await store.list_repositories(seen[0], 2, visible) == seen[1:3]
        assert await store.list_repositories("b", 2, visible) == []
        for name in ("a/new", "b/new"):
            await commit(second, RepositoryName(name), FIRST)
        assert await store.list_repositories("", 100, visible) == sorted([*seen, "a/new"])
        await second.delete_manifest(RepositoryName("a/new"), FIRST.digest)
        assert await store.list_repositories("", 100, visible) == seen
        assert await store.list_repositories("", 100, Within("z/")) == ["z/z"]

    async def test_no_repositories(self, store: Store) -> None:
        """Only what holds a manifest is listed: blobs, mounts and sessions make no repository."""
        assert await store.list_repositories("", 100) == []
        digest = await push(store, ONE, b"a blob")
        await store.mount_blob(digest, ONE, OTHER)
        await started(store, RepositoryName("uploading"), b"a session")
        assert await store.list_repositories("", 100) == []

    async def test_repositories_come_and_go(self, store: Store, second: Store) -> None:
        """A repository is listed from its first manifest to its last, whatever those above or below hold."""
        inner = RepositoryName(f"{ONE}/inner")
        await commit(store, ONE, FIRST, LATEST)
        await commit(store, ONE, SECOND)
        await commit(store, inner, FIRST)
        await store.delete_manifest(ONE, FIRST.digest)
        assert await second.list_repositories("", 100) == [ONE, inner]
        await store.delete_manifest(ONE, SECOND.digest)
        assert await second.list_repositories("", 100) == [inner]
        await second.delete_manifest(inner, FIRST.digest)
        assert await store.list_repositories("", 100) == []
        await commit(second, ONE, SECOND)
        assert await store.list_repositories("", 100) == [ONE]

    async def test_tags_make_no_repository(self, store: Store) -> None:
        """A repository stays listed when it loses its last tag."""
        await commit(store, ONE, FIRST, LATEST)
        await store.delete_tag(ONE, LATEST)
        assert await store.list_repositories("", 100) == [ONE]

    async def test_repositories_as_they_change(self, store: Store, second: Store) -> None:
        """A catalog asked after a change shows it, however fast it changes, whichever process asks."""
        await commit(store, OTHER, FIRST)
        for number in range(30):
            changed, reader = (store, second) if number % 2 else (second, store)
            name = RepositoryName(f"changing/r{number % 5}")
            await commit(changed, name, FIRST, LATEST)
            assert await reader.list_repositories("", 100) == [name, OTHER]
            assert await changed.list_repositories("", 100) == [name, OTHER]
            await changed.delete_manifest(name, FIRST.digest)
            assert await reader.list_repositories("", 100) == [OTHER]
            assert await changed.list_repositories("", 100) == [OTHER]
