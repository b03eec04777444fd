"""The file system store keeps the contract, with two instances over one tree as two workers have them."""

from __future__ import annotations

import os
from contextlib import asynccontextmanager, suppress
from tempfile import TemporaryDirectory
from typing import TYPE_CHECKING

import pytest

from cargohold.storage import removals
from cargohold.storage.filesystem import FilesystemStore
from cargohold.storage.filesystem.leases import Terms
from cargohold.types.quotas import Quotas

from .contract import Pair, StoreContract
from .contract.base import ONE, Sample, commit, descriptors, sample

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Iterator

    from cargohold.storage.layout import Layout
    from cargohold.types.names import RepositoryName, UploadId
    from cargohold.types.quotas import Quota

FIRST = sample("first")


class TestFilesystemStore(StoreContract):
    """Nothing but the tree is shared by the two.

    Whatever a test of the suite does, it leaves nothing half made and no file open.
    """

    @asynccontextmanager
    async def opened(self, *quotas: Quota) -> AsyncIterator[Pair]:
        terms = Terms(quotas=Quotas(quotas))
        with TemporaryDirectory() as root, pytest.MonkeyPatch.context() as patch:
            # However slow the disk is, what has gone from the tree shall be removed at the end.
            patch.setattr(removals, "_CLOSING_SECONDS", 60.0)
            store, second = FilesystemStore(root, terms), FilesystemStore(root, terms)
            store.prepare()

            def age(repository: RepositoryName, upload: UploadId, seconds: float) -> None:
                folder = store.layout.upload(repository, upload)
                for path in (*(f"{folder}/{name}" for name in os.listdir(folder)), folder):
                    then = os.stat(path).st_mtime - seconds
                    os.utime(path, (then, then))

            try:
                yield Pair(store, second, age)
            finally:
                store.close()
                second.close()
            assert os.listdir(store.layout.new) == []
            assert [path for path in _open_files() if path.startswith(root)] == []

    async def test_referrers_of_another_server(self, pair: Pair) -> None:
        """The referrers that another server stored in the tree are listed among ours, whenever it did."""
        assert isinstance(pair.store, FilesystemStore)
        made = [sample(f"of first {number}", FIRST.digest) for number in range(4)]
        for number, each in enumerate(made):
            if number % 2:
                await commit(pair.store, ONE, each)
            else:
                _store_as_another(pair.store.layout, each)
            for store in pair.stores:
                assert await store.list_referrers(ONE, FIRST.digest) == descriptors(
                    FIRST.digest, made[: number + 1]
                )


def _store_as_another(layout: Layout, made: Sample) -> None:
    """Put a manifest into the tree with nothing but what Distribution knows of."""
    written = {
        layout.data(made.digest): made.manifest.content,
        f"{layout.revision(ONE, made.digest)}/link": made.digest.encode(),
    }
    for path, content in written.items():
        os.makedirs(os.path.dirname(path))
        with open(path, "xb") as file:
            file.write(content)


def _open_files() -> Iterator[str]:
    for descriptor in os.listdir("/proc/self/fd"):
        with suppress(FileNotFoundError):  # the descriptor of this very listing
            yield os.readlink(f"/proc/self/fd/{descriptor}")
