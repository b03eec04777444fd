"""The marks of the catalog, beside a tree that another server writes to as well."""

from __future__ import annotations

import asyncio
import os
import shutil
import threading
import time
from typing import TYPE_CHECKING

import pytest

from cargohold.storage import lists
from cargohold.storage.filesystem import FilesystemStore, listing
from cargohold.storage.protocols import Unavailable
from cargohold.types.names import RepositoryName, Tag

from .contract.base import LATEST, ONE, OTHER, commit, sample
from .foreign import Foreign, put
from .recorder import folders_read

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

FIRST, SECOND = sample("first"), sample("second")
ONE_OF_THEM = RepositoryName("a/b")
REPOSITORIES = [RepositoryName(name) for name in ("a", "a-b", "a/b", "a/b/c", "a0", "b")]


pytestmark = pytest.mark.usefixtures("loop")


@pytest.fixture
def store(tmp_path: Path) -> Iterator[FilesystemStore]:
    made = FilesystemStore(str(tmp_path))
    made.prepare()
    yield made
    made.close()


@pytest.fixture
def second(store: FilesystemStore) -> Iterator[FilesystemStore]:
    """As another worker has it."""
    made = FilesystemStore(store.layout.root)
    yield made
    made.close()


@pytest.fixture
def foreign(store: FilesystemStore) -> Foreign:
    return Foreign(store.layout)


@pytest.fixture
def large(monkeypatch: pytest.MonkeyPatch) -> None:
    """Few repositories are taken for many, so that walks go on beside the lists."""
    monkeypatch.setattr(listing, "_FEW_REPOSITORIES", 0)
    monkeypatch.setattr(listing, "_WALK_SHARE", 0)


async def _until_listed(store: FilesystemStore, expected: list[RepositoryName]) -> None:
    end = time.monotonic() + 20
    while await store.list_repositories("", 100) != expected:
        assert time.monotonic() < end
        await asyncio.sleep(0.01)


async def _walked(store: FilesystemStore) -> None:
    """Wait for a walk, which is not waited for where all may be seen."""
    await store.list_repositories("", 100, lambda _: True)


async def test_marks(store: FilesystemStore) -> None:
    """A repository is marked from its first manifest to its last, by its name with colons."""
    await commit(store, ONE, FIRST)
    await commit(store, ONE, SECOND)
    assert os.listdir(store.layout.catalog) == ["library:one"]
    await store.delete_manifest(ONE, FIRST.digest)
    assert os.listdir(store.layout.catalog) == ["library:one"]
    await store.delete_manifest(ONE, SECOND.digest)
    assert os.listdir(store.layout.catalog) == []


async def test_written_by_another(store: FilesystemStore, second: FilesystemStore, foreign: Foreign) -> None:
    """What another server adds and removes is so at the next request, in every worker."""
    expected: list[RepositoryName] = []
    for name in REPOSITORIES:
        foreign.push(name, FIRST, LATEST)
        expected = sorted([*expected, name])
        for each in (store, second):
            assert await each.list_repositories("", 100) == expected
    for name in REPOSITORIES:
        foreign.delete(name, FIRST, LATEST)
        expected.remove(name)
        for each in (store, second):
            assert await each.list_repositories("", 100) == expected
    foreign.push(REPOSITORIES[0], FIRST)
    assert await second.list_repositories("", 100) == REPOSITORIES[:1]


@pytest.mark.usefixtures("large")
async def test_many_repositories(store: FilesystemStore, second: FilesystemStore, foreign: Foreign) -> None:
    """Where a walk is long: all is listed at a worker's first request, and what another server adds soon after."""
    for name in REPOSITORIES:
        foreign.push(name, FIRST)
    for each in (store, second):
        assert await each.list_repositories("", 100) == REPOSITORIES
    foreign.push(ONE, FIRST)
    for each in (store, second):
        await _until_listed(each, [*REPOSITORIES, ONE])
    await commit(store, OTHER, FIRST)
    for each in (store, second):
        assert await each.list_repositories("", 100) == [*REPOSITORIES, ONE, OTHER]


async def test_first_list(store: FilesystemStore, foreign: Foreign, monkeypatch: pytest.MonkeyPatch) -> None:
    """A page is had from the tree itself while the first walk goes on; who may not see all waits for that."""
    may, walking = threading.Event(), threading.Event()
    real = FilesystemStore._mark_unmarked

    def walk(store: FilesystemStore) -> None:
        walking.set()
        assert may.wait(20)
        real(store)

    monkeypatch.setattr(FilesystemStore, "_mark_unmarked", walk)
    for name in reversed(REPOSITORIES):
        foreign.push(name, FIRST)
    for after in ("", *REPOSITORIES, "a/", "a/b-", "zzz"):
        expected = [name for name in REPOSITORIES if name > after]
        for limit in (-1, 0, 1, 2, 100):
            assert await store.list_repositories(after, limit) == expected[: max(limit, 0)]
    assert walking.wait(20)
    assert os.listdir(store.layout.catalog) == []
    foreign.delete(ONE_OF_THEM, FIRST)
    there = [name for name in REPOSITORIES if name != ONE_OF_THEM]
    assert await store.list_repositories("", 100) == there
    some = asyncio.ensure_future(store.list_repositories("", 100, lambda name: name != "b"))
    await asyncio.sleep(0.05)
    assert not some.done()
    may.set()
    assert await some == there[:-1]
    assert await store.list_repositories("", 100) == there


async def test_first_list_that_would_take_long(
    store: FilesystemStore, foreign: Foreign, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Where too many folders hold no manifest the first walk is waited for."""
    for number in range(20):
        os.makedirs(f"{store.layout.repositories}/a{number}/_layers")
    foreign.push(ONE, FIRST)
    monkeypatch.setattr(listing, "_MOST_LOOKS", 20)
    assert await store.list_repositories("", 1) == [ONE]
    assert os.listdir(store.layout.catalog) == ["library:one"]


async def test_first_list_of_what_a_walk_does_not_find(store: FilesystemStore, tmp_path: Path) -> None:
    """What was pushed through a symbolic link is in a process's first list as in all others, by its mark."""
    linked = RepositoryName("a/linked")
    for name in (RepositoryName("a/b"), linked, ONE):
        await commit(store, name, FIRST)
    elsewhere = tmp_path / "elsewhere"
    os.rename(store.layout.repository(linked), elsewhere)
    os.symlink(elsewhere, store.layout.repository(linked))
    for after, expected in (("", ["a/b", linked, ONE]), ("a/b", [linked, ONE]), ("a/linked", [ONE])):
        fresh = FilesystemStore(store.layout.root)
        try:
            for _ in range(2):
                assert await fresh.list_repositories(after, 100) == expected
        finally:
            fresh.close()


async def test_a_walk_that_ends_with_its_loop(
    store: FilesystemStore, foreign: Foreign, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Who lists in another event loop is not told of it."""
    real = FilesystemStore._mark_unmarked

    def walk(store: FilesystemStore) -> None:
        time.sleep(0.05)
        real(store)

    monkeypatch.setattr(FilesystemStore, "_mark_unmarked", walk)
    foreign.push(ONE, FIRST)
    for _ in range(3):
        listed = await asyncio.to_thread(lambda: asyncio.run(store.list_repositories("", 100)))
        assert listed == [ONE]


async def test_first_lists_at_once(
    store: FilesystemStore, foreign: Foreign, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A folder is read once for all of the first lists, and once for the walk."""
    for name in REPOSITORIES:
        foreign.push(name, FIRST)
    await asyncio.sleep(0.15)  # after which its times prove that it has not changed
    read = folders_read(monkeypatch, "scandir")
    found = await asyncio.gather(*(store.list_repositories(after, 2) for after in REPOSITORIES * 3))
    assert found == [REPOSITORIES[first : first + 2] for first in range(1, len(REPOSITORIES) + 1)] * 3
    assert 1 <= read.count(store.layout.repositories) <= 2


@pytest.mark.usefixtures("large")
async def test_many_repositories_removed(store: FilesystemStore, foreign: Foreign) -> None:
    """Where a walk is long, what another server removes is gone at once all the same."""
    for name in REPOSITORIES:
        foreign.push(name, FIRST)
    assert await store.list_repositories("", 100) == REPOSITORIES
    foreign.delete(REPOSITORIES[0], FIRST)
    shutil.rmtree(store.layout.repository(RepositoryName("a/b")))
    assert await store.list_repositories("", 100) == ["a-b", "a0", "b"]


@pytest.mark.parametrize("long", [1, 4_096])
async def test_asked_by_many(
    store: FilesystemStore, foreign: Foreign, monkeypatch: pytest.MonkeyPatch, long: int
) -> None:
    """Those who ask at the same time share a walk and a reading; whoever asks later sees what was added before that."""
    monkeypatch.setattr(lists, "_WORTH_A_FILE", long)
    for number, name in enumerate(REPOSITORIES):
        before = [asyncio.ensure_future(store.list_repositories("", 100)) for _ in range(4)]
        await asyncio.sleep(0.001 * number)
        foreign.push(name, FIRST)
        expected = sorted(REPOSITORIES[: number + 1])
        later = [store.list_repositories(after, 100) for after in ("", "", "a0")]
        whole, again, part = await asyncio.gather(*later)
        assert (whole, again, part) == (expected, expected, [each for each in expected if each > "a0"])
        for found in await asyncio.gather(*before):
            assert set(expected) - {name} <= set(found) <= set(expected)


async def test_a_long_list_that_changes(
    store: FilesystemStore, second: FilesystemStore, monkeypatch: pytest.MonkeyPatch
) -> None:
    """It is read once for all who ask for it at the same time, whichever part of it they ask for."""
    monkeypatch.setattr(lists, "_WORTH_A_FILE", 1)
    for name in REPOSITORIES:
        await commit(store, name, FIRST, LATEST)
    assert await store.list_repositories("", 100) == REPOSITORIES
    tags = [LATEST]
    assert await store.list_tags(ONE_OF_THEM, "", 100) == tags
    read = folders_read(monkeypatch, "listdir")
    for number in range(5):
        await commit(second, RepositoryName(f"c{number}"), FIRST)
        await commit(second, ONE_OF_THEM, FIRST, Tag(f"t{number}"))
        tags.append(Tag(f"t{number}"))
        read.clear()
        found = await asyncio.gather(
            *(store.list_repositories(after, 100) for after in "abc" for _ in range(5))
        )
        expected = [*REPOSITORIES, *(f"c{each}" for each in range(number + 1))]
        assert found == [[each for each in expected if each > after] for after in "abc" for _ in range(5)]
        assert read.count(store.layout.catalog) <= 5
        listed = await asyncio.gather(*(store.list_tags(ONE_OF_THEM, after, 100) for after in "at" * 5))
        assert listed == [[each for each in tags if each > after] for after in "at" * 5]
        assert read.count(store.layout.tags(ONE_OF_THEM)) <= 5


async def test_many_and_few(
    store: FilesystemStore, foreign: Foreign, monkeypatch: pytest.MonkeyPatch
) -> None:
    """When few repositories become many, and many become few, all of them are listed all the same."""
    monkeypatch.setattr(listing, "_FEW_REPOSITORIES", 3)
    monkeypatch.setattr(listing, "_WALK_SHARE", 0)
    assert await store.list_repositories("", 100) == []
    for number, name in enumerate(REPOSITORIES, 1):
        foreign.push(name, FIRST)
        await _until_listed(store, sorted(REPOSITORIES[:number]))
    for number, name in enumerate(REPOSITORIES, 1):
        shutil.rmtree(f"{store.layout.repository(name)}/_manifests")
        shutil.rmtree(f"{store.layout.repository(name)}/_layers", ignore_errors=True)
        assert await store.list_repositories("", 100) == sorted(REPOSITORIES[number:])
    foreign.push(ONE, FIRST)
    await _until_listed(store, [ONE])
    foreign.push(OTHER, FIRST)
    assert await store.list_repositories("", 100) == [ONE, OTHER]


async def test_lost_marks(store: FilesystemStore, foreign: Foreign) -> None:
    """Marks that a power cut has undone are made again, and marks of nothing list nothing."""
    foreign.push(ONE, FIRST)
    await commit(store, OTHER, FIRST)
    for name in ("library:gone", "UPPER", "stray\n", ".hidden", "a::b"):
        put(f"{store.layout.catalog}/{name}", b"")
    os.unlink(store.layout.catalog_mark(OTHER))
    fresh = FilesystemStore(store.layout.root)
    try:
        assert await fresh.list_repositories("", 100) == [ONE, OTHER]
        await _walked(fresh)
        assert await fresh.list_repositories("", 100) == [ONE, OTHER]
    finally:
        fresh.close()
    assert os.path.basename(store.layout.catalog_mark(OTHER)) in os.listdir(store.layout.catalog)


async def test_longest_name(store: FilesystemStore, foreign: Foreign) -> None:
    """The longest name that there may be has a mark too."""
    longest = RepositoryName("/".join(["a" * 50] * 5))
    assert len(longest) == 254
    longest = RepositoryName(f"b{longest}")
    foreign.push(longest, FIRST, LATEST)
    assert await store.list_repositories("", 100) == [longest]
    await commit(store, longest, SECOND, LATEST)
    assert await store.list_tags(longest, "", 10) == [LATEST]


async def test_delete_against_commit(store: FilesystemStore, second: FilesystemStore) -> None:
    """The last manifest goes while another process commits the first: what there is in the end is listed."""
    await commit(store, ONE, FIRST)
    for number in range(150):
        kept, doomed = (FIRST, SECOND) if number % 2 else (SECOND, FIRST)
        deletion = store.delete_manifest(ONE, doomed.digest)
        await asyncio.gather(deletion, commit(second, ONE, kept, LATEST))
        assert os.listdir(store.layout.catalog) == ["library:one"]
        for each in (store, second):
            assert await each.list_repositories("", 10) == [ONE]
            assert await each.list_tags(ONE, "", 10) == [LATEST]


@pytest.mark.usefixtures("large")
async def test_error_of_a_walk_is_told(
    store: FilesystemStore, foreign: Foreign, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A walk beside the lists that fails is told to one who asks; the next walk may succeed."""

    def fail(*_: object) -> Iterator[RepositoryName]:
        raise OSError(5, "Input/output error")

    foreign.push(ONE, FIRST)
    await _walked(store)
    assert await store.list_repositories("", 10) == [ONE]
    with monkeypatch.context() as broken:
        broken.setattr(listing, "repositories", fail)
        with pytest.raises(Unavailable):
            await _until_listed(store, [OTHER])
    foreign.push(OTHER, FIRST)
    await _until_listed(store, [ONE, OTHER])


@pytest.mark.usefixtures("large")
async def test_close_ends_a_walk(
    store: FilesystemStore, foreign: Foreign, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A walk of a tree without end does not keep the store from closing."""
    foreign.push(ONE, FIRST)
    await _walked(store)
    walking, steps = threading.Event(), 0

    def endless(*_: object) -> Iterator[RepositoryName]:
        nonlocal steps
        end = time.monotonic() + 20
        while time.monotonic() < end:
            walking.set()
            steps += 1
            yield ONE
            time.sleep(0.001)
        raise AssertionError("the walk was not ended")

    with monkeypatch.context() as patched:
        patched.setattr(listing, "repositories", endless)
        assert await store.list_repositories("", 10) == [ONE]
        assert walking.wait(10)
        store.close()
        ended = steps
    await asyncio.sleep(0.05)
    assert steps == ended


async def test_tags_of_another(store: FilesystemStore, foreign: Foreign) -> None:
    """A tag of another server is listed from the moment that it has its link until it has lost it."""
    foreign.push(ONE, FIRST)
    tag = Tag("theirs")
    os.makedirs(store.layout.tag_index(ONE, tag, FIRST.digest))
    os.makedirs(os.path.dirname(store.layout.tag_current(ONE, tag)))
    await asyncio.sleep(0.15)
    assert await store.list_tags(ONE, "", 10) == []
    foreign.tag(ONE, tag, FIRST.digest)
    assert await store.list_tags(ONE, "", 10) == [tag]
    await asyncio.sleep(0.15)
    os.unlink(store.layout.tag_current(ONE, tag))
    assert await store.list_tags(ONE, "", 10) == []
