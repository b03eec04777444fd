"""What a push takes for granted is looked at each time, and found with one look where nothing has changed."""

from __future__ import annotations

import asyncio
import os
import shutil
import subprocess
import sys
import time
from typing import TYPE_CHECKING

import pytest

from cargohold.storage import proofs
from cargohold.storage.filesystem.places import Place
from cargohold.storage.protocols import Incomplete
from cargohold.types.digest import Algorithm, Digest
from tests.collection.images import CONFIG, image, index

from .contract.base import LATEST, ONE, Sample, push, target
from .foreign import put

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

    from cargohold.storage.filesystem import FilesystemStore

pytestmark = pytest.mark.usefixtures("loop")

RESTS = proofs._FINE / 1e9 + 0.02
LAYER = b"layer"
IMAGE = image(LAYER)

_REMOVE = "import os, sys\nos.unlink(sys.argv[1])"
_EXCHANGE = (
    "import os, sys\nos.rename(sys.argv[1], sys.argv[1] + '.old')\nos.rename(sys.argv[2], sys.argv[1])"
)


def by_another(program: str, *words: object) -> None:
    subprocess.run([sys.executable, "-c", program, *map(str, words)], check=True, timeout=30)


@pytest.fixture
def store(collectable: FilesystemStore) -> FilesystemStore:
    return collectable


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """A folder with its file, that has rested long enough to be believed."""
    put(str(tmp_path / "place" / "link"), b"here")
    time.sleep(RESTS)
    return tmp_path / "place"


@pytest.fixture
def place(folder: Path) -> Place:
    """It has been looked at."""
    made = Place(str(folder), "link")
    assert made.look() is not None
    assert made.is_known
    return made


def test_a_file_that_stays(place: Place, folder: Path) -> None:
    """What is said of it is when it was written, and when its folder changed; each time the same."""
    seen = place.look()
    assert seen is not None
    assert seen.written == (folder / "link").stat().st_mtime
    assert seen.leased == pytest.approx(folder.stat().st_mtime)
    assert place.look() is seen


def test_a_file_that_another_removes(place: Place, folder: Path) -> None:
    """It is gone at once, and found again when it comes back."""
    by_another(_REMOVE, folder / "link")
    assert place.look() is None
    assert place.look() is None
    put(str(folder / "link"), b"again")
    assert place.look() is not None


def test_a_folder_that_another_replaces(place: Place, folder: Path, tmp_path: Path) -> None:
    """A folder in its place is looked into, and so is the first one when it is back."""
    (tmp_path / "empty").mkdir()
    by_another(_EXCHANGE, folder, tmp_path / "empty")
    assert place.look() is None
    shutil.rmtree(folder)
    assert place.look() is None
    (tmp_path / "place.old").rename(folder)
    assert place.look() is not None
    (folder / "link").unlink()
    assert place.look() is None


def test_a_folder_whose_time_was_put_back(place: Place, folder: Path) -> None:
    """Who removes the file and sets the time of the folder as it was deceives nobody."""
    before = folder.stat()
    (folder / "link").unlink()
    os.utime(folder, ns=(before.st_atime_ns, before.st_mtime_ns))
    assert place.look() is None


def test_a_folder_that_has_just_changed(folder: Path) -> None:
    """It is not remembered: within one tick of the clock it may change again, and look the same."""
    (folder / "another").touch()
    fresh = Place(str(folder), "link")
    assert fresh.look() is not None
    assert not fresh.is_known


def test_what_is_no_folder(tmp_path: Path) -> None:
    """A file in the place of the folder is an absence; what cannot be looked at is an error."""
    (tmp_path / "file").touch()
    assert Place(str(tmp_path / "file"), "link").look() is None
    with pytest.raises(OSError, match="too long"):
        Place(str(tmp_path / ("x" * 300)), "link").look()


def in_link(store: FilesystemStore, digest: Digest) -> str:
    return store.layout.layer(ONE, digest)


def in_content(store: FilesystemStore, digest: Digest) -> str:
    return store.layout.blob(digest)


async def image_pushed(store: FilesystemStore) -> Digest:
    """An image whose blobs have been believed once: the layer's digest."""
    await push(store, ONE, CONFIG)
    layer = await push(store, ONE, LAYER)
    await asyncio.sleep(RESTS)
    for _ in range(2):
        await complete(store, IMAGE)
    return layer


async def complete(store: FilesystemStore, of: Sample) -> None:
    await store.commit_manifest(ONE, of.digest, of.manifest, [LATEST], complete=True)


@pytest.mark.parametrize("where", [in_link, in_content])
async def test_a_layer_that_another_removes(
    store: FilesystemStore, where: Callable[[FilesystemStore, Digest], str]
) -> None:
    """A push that names it is told so at once, whether its link or its content went, and leaves nothing behind."""
    layer = await image_pushed(store)
    shutil.rmtree(where(store, layer))
    again, aside = image(LAYER, text="again"), {*os.listdir(store.layout.new)}
    with pytest.raises(Incomplete) as caught:
        await complete(store, again)
    assert caught.value.missing == [layer]
    assert await target(store, ONE, LATEST) == IMAGE.digest
    assert {*os.listdir(store.layout.new)} <= aside
    await push(store, ONE, LAYER)
    await complete(store, again)
    assert await target(store, ONE, LATEST) == again.digest


async def test_a_child_that_another_removes(store: FilesystemStore) -> None:
    """An index is told that a manifest of it has gone, though it was there a moment ago."""
    await image_pushed(store)
    first, second = index(IMAGE), index(IMAGE, image(b"another"))
    await complete(store, first)
    with pytest.raises(Incomplete):
        await complete(store, second)
    os.unlink(store.layout.revision_link(ONE, IMAGE.digest))
    with pytest.raises(Incomplete) as caught:
        await complete(store, first)
    assert caught.value.missing == [IMAGE.digest]


async def test_a_known_layer_is_leased(store: FilesystemStore) -> None:
    """A push renews the lease of a layer that it finds where it was, once it has become old."""
    layer = await image_pushed(store)
    folder = in_link(store, layer)
    os.utime(folder, (1, 1))
    await complete(store, IMAGE)
    assert time.time() - os.stat(folder).st_mtime < 10


async def test_a_layer_that_lies_under_another_digest(store: FilesystemStore) -> None:
    """Distribution keeps what is pushed by SHA-512 under its SHA-256, to which the link leads: it can be named so."""
    holder, _ = await push(store, ONE, LAYER), await push(store, ONE, CONFIG)
    name = Digest.of(LAYER, Algorithm.SHA512)
    put(f"{in_link(store, name)}/link", holder.encode())
    for text in ("new", "known"):
        await complete(store, image(LAYER, Algorithm.SHA512, text=text))
    shutil.rmtree(in_content(store, holder))
    with pytest.raises(Incomplete) as caught:
        await complete(store, image(LAYER, Algorithm.SHA512))
    assert caught.value.missing == [name]
