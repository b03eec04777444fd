"""The tree, byte for byte: which files each operation leaves, and what is in them."""

from __future__ import annotations

import os
import re
from typing import TYPE_CHECKING

import pytest

from cargohold.storage.filesystem import FilesystemStore
from cargohold.storage.layout import Layout, flat, unflat
from cargohold.storage.protocols import Conflict, NotFound
from cargohold.types.digest import Algorithm, Digest
from cargohold.types.errors import DigestInvalid
from cargohold.types.names import RepositoryName, Tag

from .contract.base import LATEST, ONE, OTHER, commit, push, sample, started
from .foreign import put

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

pytestmark = pytest.mark.usefixtures("loop")

FIRST = sample("first")
REFERRER = sample("referrer", FIRST.digest)
ROOT = "docker/registry/v2"
IN_ONE = f"{ROOT}/repositories/library/one"
EMPTY_HEX = "e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855"


@pytest.fixture
def store(tmp_path: Path) -> Iterator[FilesystemStore]:
    made = FilesystemStore(str(tmp_path / "data"))
    made.prepare()
    yield made
    made.close()


def _files(store: FilesystemStore) -> dict[str, bytes]:
    """Every file of the tree by its path; locks and marks are left out."""
    found = {}
    for folder, _folders, names in os.walk(store.layout.root):
        for name in names:
            path = os.path.relpath(f"{folder}/{name}", store.layout.root)
            if not path.startswith("cargohold/"):
                with open(f"{folder}/{name}", "rb") as file:
                    found[path] = file.read()
    return found


def _is_empty(folder: str) -> bool:
    return os.listdir(folder) == []


async def test_blob(store: FilesystemStore) -> None:
    """A blob is its bytes and a link; a second repository that sees it has a link more."""
    digest = await push(store, ONE, b"")
    assert digest == f"sha256:{EMPTY_HEX}"
    await store.mount_blob(digest, ONE, OTHER)
    link = f"_layers/sha256/{EMPTY_HEX}/link"
    assert _files(store) == {
        f"{ROOT}/blobs/sha256/e3/{EMPTY_HEX}/data": b"",
        f"{IN_ONE}/{link}": digest.encode(),
        f"{ROOT}/repositories/library/other/{link}": digest.encode(),
    }
    await store.delete_blob(ONE, digest)
    assert sorted(_files(store)) == [
        f"{ROOT}/blobs/sha256/e3/{EMPTY_HEX}/data",
        f"{ROOT}/repositories/library/other/{link}",
    ]
    assert _is_empty(f"{store.layout.root}/{IN_ONE}/_layers/sha256")


async def test_blob_by_sha512(store: FilesystemStore) -> None:
    """A blob that was pushed by its SHA-512 digest lies under that."""
    digest = await push(store, ONE, b"bytes", Algorithm.SHA512)
    store.disk.removals.close()  # what is left of the session
    encoded = digest.hex
    assert _files(store) == {
        f"{ROOT}/blobs/sha512/{encoded[:2]}/{encoded}/data": b"bytes",
        f"{IN_ONE}/_layers/sha512/{encoded}/link": digest.encode(),
    }


async def test_manifest(store: FilesystemStore) -> None:
    """A manifest is its bytes, its revision, and for each tag what it points to and all that it ever pointed to."""
    other = sample("other")
    await commit(store, ONE, FIRST, LATEST)
    await commit(store, ONE, other, LATEST, Tag("v2"))
    manifests, a, b = f"{IN_ONE}/_manifests", FIRST.digest, other.digest
    assert _files(store) == {
        f"{ROOT}/blobs/sha256/{a.hex[:2]}/{a.hex}/data": FIRST.manifest.content,
        f"{ROOT}/blobs/sha256/{b.hex[:2]}/{b.hex}/data": other.manifest.content,
        f"{manifests}/revisions/sha256/{a.hex}/link": a.encode(),
        f"{manifests}/revisions/sha256/{b.hex}/link": b.encode(),
        f"{manifests}/tags/latest/current/link": b.encode(),
        f"{manifests}/tags/latest/index/sha256/{a.hex}/link": a.encode(),
        f"{manifests}/tags/latest/index/sha256/{b.hex}/link": b.encode(),
        f"{manifests}/tags/v2/current/link": b.encode(),
        f"{manifests}/tags/v2/index/sha256/{b.hex}/link": b.encode(),
    }
    await store.delete_tag(ONE, Tag("v2"))
    assert os.listdir(f"{store.layout.root}/{manifests}/tags") == ["latest"]
    await store.delete_manifest(ONE, b)
    assert os.listdir(f"{store.layout.root}/{manifests}/tags") == []
    assert os.listdir(f"{store.layout.root}/{manifests}/revisions/sha256") == [a.hex]


async def test_referrer(store: FilesystemStore) -> None:
    """A referrer's descriptor lies under its subject, in what is ours of the repository."""
    await commit(store, ONE, REFERRER)
    name = f"{IN_ONE}/_cargohold/referrers/sha256-{FIRST.digest.hex}/sha256-{REFERRER.digest.hex}"
    referrer = REFERRER.manifest.referrer(REFERRER.digest)
    assert referrer is not None
    assert _files(store)[name] == referrer.descriptor


async def test_session(store: FilesystemStore) -> None:
    """A session is its bytes and the second at which it started; nothing is left of it when it has ended."""
    upload = await started(store, ONE, b"some bytes")
    folder = f"{IN_ONE}/_uploads/{upload}"
    files = _files(store)
    assert files[f"{folder}/data"] == b"some bytes"
    assert re.fullmatch(rb"20\d\d-\d\d-\d\dT\d\d:\d\d:\d\dZ", files[f"{folder}/startedat"])
    ours = {path for path in files if "/_cargohold/" in path}
    assert set(files) - ours == {f"{folder}/data", f"{folder}/startedat"}
    assert ours <= {f"{IN_ONE}/_cargohold/hashing/{upload}"}
    await store.cancel_upload(ONE, upload)
    assert _files(store) == {}


async def test_nothing_left_aside(store: FilesystemStore) -> None:
    """What is made aside is all put in place or removed."""
    await push(store, ONE, b"a blob")
    await commit(store, ONE, FIRST, LATEST)
    await commit(store, ONE, REFERRER, LATEST)
    await store.delete_tag(ONE, LATEST)
    await store.delete_manifest(ONE, FIRST.digest)
    with pytest.raises(NotFound):
        await store.delete_manifest(ONE, FIRST.digest)
    store.close()
    assert _is_empty(store.layout.new)


def test_prepared_twice(store: FilesystemStore) -> None:
    """A tree may be prepared again, and by another process, with all that is in it."""
    put(f"{store.layout.repositories}/a/_layers/keep", b"")
    FilesystemStore(store.layout.root).prepare()
    assert list(_files(store)) == [f"{ROOT}/repositories/a/_layers/keep"]


def test_metadata_elsewhere(tmp_path: Path) -> None:
    """A tree whose metadata is in a database is refused, before anything is written."""
    put(f"{tmp_path}/docker/registry/lockfiles/database-in-use", b"")
    with pytest.raises(Conflict, match="GitLab"):
        FilesystemStore(str(tmp_path)).prepare()
    assert os.listdir(tmp_path) == ["docker"]
    assert os.listdir(tmp_path / "docker/registry") == ["lockfiles"]


def test_flat_names() -> None:
    """A digest as one file name can be read back, and other names are refused."""
    for algorithm in Algorithm:
        digest = Digest.of(b"anything", algorithm)
        assert "/" not in flat(digest)
        assert ":" not in flat(digest)
        assert unflat(flat(digest)) == digest
    for name in ("", "sha256", "sha256-", "sha256-00", "md5-00", "stray", f"SHA256-{EMPTY_HEX}"):
        with pytest.raises(DigestInvalid):
            unflat(name)


def test_what_lasts() -> None:
    """Folders of digests, tags and sessions come and go; those above them last."""
    layout, digest = Layout("/root"), Digest.of(b"")
    name, upload = RepositoryName("a/b"), "00000000-0000-4000-8000-000000000000"
    revision, layer, tag = layout.revision(name, digest), layout.layer(name, digest), layout.tag(name, LATEST)
    goes = [layout.blob(digest), revision, layer, tag, f"{tag}/current", f"{layout.uploads(name)}/{upload}"]
    assert [folder for folder in goes if layout.lasts(folder)] == []
    above = [os.path.dirname(folder) for folder in (layout.blob(digest), revision, layer, tag)]
    lasts = [*above, layout.uploads(name), layout.repository(name), layout.catalog, "/root"]
    assert [folder for folder in lasts if not layout.lasts(folder)] == []
