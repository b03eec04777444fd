"""Collectors that are killed, that are several, and that never stop: all is as if one had done it all in peace."""

from __future__ import annotations

import asyncio
import shutil
import signal
from multiprocessing import get_context
from typing import TYPE_CHECKING

from cargohold.app.collecting import collect as collect_alone
from cargohold.config import Settings
from cargohold.storage.filesystem.collection import alone
from cargohold.types.digest import Algorithm, Digest
from cargohold.types.names import Tag
from tests.collection.images import image, index, is_taken, open_store, push_image
from tests.collection.killed import collect_killed, collect_watched
from tests.e2e.dangling import faults
from tests.e2e.medium import folder_in_memory
from tests.storage.collecting import collect, everywhere, make_old
from tests.storage.contract.base import LATEST, ONE, OTHER, push

if TYPE_CHECKING:
    from pathlib import Path

LEAST_STEPS = 30
SOME = 97
TIMEOUT = 60.0


async def make_tree(root: Path) -> set[Digest]:
    """A tree of some of everything, all of it old; the content that stays for ever."""
    store = open_store(root)
    store.prepare()
    kept = await push_image(store, ONE, b"kept", LATEST)
    child = await push_image(store, ONE, b"child")
    assert await is_taken(store, ONE, index(child), Tag("index"))
    referrer = image(b"kept", subject=kept)
    assert await is_taken(store, ONE, referrer)
    loose = await push_image(store, ONE, b"loose")
    assert await is_taken(store, ONE, image(b"loose", subject=loose))
    await push_image(store, OTHER, b"kept", LATEST)
    for algorithm in Algorithm:
        await push(store, OTHER, b"unused", algorithm)
        await push(store, ONE, b"unused", algorithm)
    make_old(store)
    store.close()
    manifests = (kept, child, index(child), referrer)
    return {each.digest for each in manifests} | {
        digest for each in manifests for digest in each.manifest.blobs
    }


def contents(root: Path) -> set[Digest]:
    """All content that is in the tree."""
    found = (root / "docker/registry/v2/blobs").glob("*/*/*/data")
    return {Digest(f"{path.parts[-4]}:{path.parts[-2]}") for path in found}


def test_killed_at_every_step(tmp_path: Path) -> None:
    """Nothing that is needed has gone when a collector was killed; the next one leaves what one alone would leave.

    Of the steps in which it only notes how far it has come in sweeping content, some do.
    """
    processes = get_context("forkserver")
    processes.set_forkserver_preload(["tests.collection.killed"])
    with folder_in_memory(otherwise=tmp_path) as folder:
        tree, root = folder / "tree", folder / "root"
        kept = asyncio.run(make_tree(tree))
        assert contents(tree) > kept
        for step in deadly_steps(tree, root):
            shutil.copytree(tree, root)
            process = processes.Process(target=collect_killed, args=(str(root), step))
            process.start()
            process.join(TIMEOUT)
            assert process.exitcode == -signal.SIGKILL
            assert contents(root) >= kept, step
            assert faults(root) == [], step
            collect_twice(root)
            assert contents(root) == kept, step
            assert faults(root) == [], step
            shutil.rmtree(root)


def deadly_steps(tree: Path, root: Path) -> list[int]:
    """The numbers of the changes of the disk that a collection makes."""
    shutil.copytree(tree, root)
    changes: list[str] = []
    collect_watched(str(root), lambda what: changes.append(str(what)))
    shutil.rmtree(root)
    steps = [
        number
        for number, what in enumerate(changes)
        if what.startswith(str(root)) and ("/gc/run/swept" not in what or number % SOME == 0)
    ]
    assert len(steps) > LEAST_STEPS
    return steps


def collect_twice(root: Path) -> None:
    """Collect, and then also what the trash still kept; what was linked for one run is not for the next."""
    store = open_store(root)
    for _ in range(2):
        end_trash(root)
        collect(store, untagged=everywhere)
    store.close()


def end_trash(root: Path) -> None:
    """As if all that is in the trash had been deleted long ago: the time is in the names."""
    for record in (root / "docker/registry/v2/repositories").glob("**/_cargohold/trash/*"):
        record.rename(record.with_name(f"2020{record.name[4:]}"))


def test_two_at_once(tmp_path: Path) -> None:
    """While one collects, another does nothing, and says so."""
    store, other = open_store(tmp_path), open_store(tmp_path)
    store.prepare()
    asyncio.run(push(store, ONE, b"unused"))
    make_old(store)
    settings = Settings()
    with alone(store) as is_alone:
        assert is_alone
        assert collect_alone(settings, other) is None
        assert contents(tmp_path)
    report = collect_alone(settings, other)
    assert report is not None
    assert report.blobs == 1
    assert not contents(tmp_path)
    store.close()
    other.close()
