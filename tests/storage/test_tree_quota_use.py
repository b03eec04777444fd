"""How much of a quota is used, asked of a tree that other processes change."""

from __future__ import annotations

import asyncio
import os
from contextlib import closing
from typing import TYPE_CHECKING

import pytest

from cargohold.storage.filesystem import FilesystemStore, ledger, sizes
from cargohold.storage.filesystem.leases import Terms
from cargohold.storage.filesystem.sizes import Sizes
from cargohold.storage.protocols import OverQuota
from cargohold.types.quotas import Quota, Quotas

from .checking import FIRST, Place
from .contract.base import ONE, push

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from cargohold.types.names import RepositoryName

TOGETHER = Quota("library/**", 1_000)
EACH = Quota("library/*", 1_000, each=True)

pytestmark = pytest.mark.usefixtures("loop")


@pytest.fixture(params=[TOGETHER, EACH], ids=["together", "each"])
def store(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[FilesystemStore]:
    with closing(FilesystemStore(str(tmp_path), Terms(quotas=Quotas([request.param])))) as made:
        made.prepare()
        yield made


async def used(store: FilesystemStore) -> list[int]:
    return [each.used for each in await store.quota_use()]


async def test_it_is_counted_once(store: FilesystemStore, monkeypatch: pytest.MonkeyPatch) -> None:
    """The tree is counted only where it was not a moment ago, by whichever process."""
    counted: list[RepositoryName] = []
    size_of = Sizes.of

    def of(found: Sizes, repository: RepositoryName) -> int:
        counted.append(repository)
        return size_of(found, repository)

    monkeypatch.setattr(Sizes, "of", of)
    await push(store, ONE, bytes(10))
    assert await used(store) == [10]
    counted.clear()
    with closing(FilesystemStore(store.layout.root, store.terms)) as other:
        for _ in range(3):
            assert await used(other) == [10]
    assert counted == []


@pytest.fixture
def soon(monkeypatch: pytest.MonkeyPatch) -> float:
    """Seconds after which nothing that was counted is trusted any more."""
    monkeypatch.setattr(ledger, "_TRUSTED_SECONDS", 0.2)
    monkeypatch.setattr(ledger, "_SHARE", 0)
    # Sums of folders too, which are kept where the first count comes late enough after what changed them.
    monkeypatch.setattr(sizes, "_TRUSTED_SECONDS", 0.2)
    return 0.3


async def test_it_falls(store: FilesystemStore, soon: float) -> None:
    """What another process has removed is known soon, though nothing is pushed."""
    digest = await push(store, ONE, bytes(10))
    await push(store, ONE, b"1")
    assert await used(store) == [11]
    with closing(FilesystemStore(store.layout.root)) as other:
        await other.delete_blob(ONE, digest)
    await asyncio.sleep(soon)
    assert await used(store) == [1]


@pytest.mark.parametrize("lost", ["link", "folder"])
async def test_what_a_repair_links_again(tmp_path: Path, soon: float, lost: str) -> None:
    """It counts soon, and nothing more is taken than there is room for then."""
    place = await asyncio.to_thread(Place, tmp_path)
    held = FilesystemStore(str(tmp_path), Terms(quotas=Quotas([Quota("library/**", 10_000)])))
    with closing(held):
        await asyncio.sleep(soon)  # after which the folders' times prove that they have not changed
        (before,) = await used(held)
        os.unlink(place.layer(FIRST))
        if lost == "folder":
            os.rmdir(os.path.dirname(place.layer(FIRST)))
        await asyncio.sleep(soon)
        assert await used(held) == [before - len(FIRST)]
        found = await asyncio.to_thread(place.kinds, repair=True)
        assert found["unlinked-blob"] == 1
        await asyncio.sleep(soon)
        assert await used(held) == [before]
        with pytest.raises(OverQuota) as caught:
            await push(held, ONE, bytes(10_000 - before + 1))
        assert caught.value.used == before
