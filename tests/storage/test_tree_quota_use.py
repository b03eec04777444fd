"""How much of a quota is used, asked of a tree that other processes change."""

from __future__ import annotations

import asyncio
from contextlib import closing
from typing import TYPE_CHECKING

import pytest

from cargohold.storage.filesystem import FilesystemStore, ledger
from cargohold.storage.filesystem.leases import Terms
from cargohold.storage.filesystem.sizes import Sizes
from cargohold.types.quotas import Quota, Quotas

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


async def test_it_falls(store: FilesystemStore, monkeypatch: pytest.MonkeyPatch) -> None:
    """What another process has removed is known soon, though nothing is pushed."""
    monkeypatch.setattr(ledger, "_TRUSTED_SECONDS", 0.2)
    monkeypatch.setattr(ledger, "_SHARE", 0)
    digest = await push(store, ONE, bytes(10))
    await push(store, ONE, b"1")
    assert await used(store) == [11]
    with closing(FilesystemStore(store.layout.root)) as other:
        await other.delete_blob(ONE, digest)
    await asyncio.sleep(0.3)
    assert await used(store) == [1]
