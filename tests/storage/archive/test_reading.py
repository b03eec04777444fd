"""Directories as archives, and layouts in them."""

from __future__ import annotations

import json
import os
from typing import TYPE_CHECKING, Any

import pytest

from cargohold.storage.archive.docker import open_images
from cargohold.storage.archive.images import LAYOUT, LayoutImages, path_of
from cargohold.storage.archive.reading import DirectoryArchive, read_file
from cargohold.storage.archive.tar import ArchiveInvalid
from cargohold.types.digest import Algorithm, Digest
from tests.registry.documents import descriptor

if TYPE_CHECKING:
    from pathlib import Path

CONTENT = b"some content"
DIGEST = Digest.of(CONTENT)


def layout(folder: Path, *entries: Any, version: bytes = LAYOUT) -> LayoutImages:
    """A layout of `CONTENT`, under both digests, that names these entries."""
    (folder / "oci-layout").write_bytes(version)
    (folder / "index.json").write_text(json.dumps({"manifests": entries}))
    for algorithm in Algorithm:
        path = folder / path_of(Digest.of(CONTENT, algorithm))
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(CONTENT)
    return LayoutImages(DirectoryArchive(str(folder)))


def test_content_by_its_digest(tmp_path: Path) -> None:
    """Both algorithms; what is not there has no size, and cannot be read."""
    images = layout(tmp_path)
    for algorithm in Algorithm:
        digest = Digest.of(CONTENT, algorithm)
        assert images.size(digest) == len(CONTENT)
        assert b"".join(images.pieces(digest)) == CONTENT
        assert images.read(digest, len(CONTENT)) == CONTENT
    absent = Digest.of(b"absent")
    assert images.size(absent) is None
    with pytest.raises(ArchiveInvalid, match="missing"):
        images.read(absent, 100)


def test_content_that_is_another(tmp_path: Path) -> None:
    """What is read whole is checked, and is no larger than the caller takes."""
    images = layout(tmp_path)
    with pytest.raises(ArchiveInvalid, match="larger than 3 bytes"):
        images.read(DIGEST, 3)
    (tmp_path / path_of(DIGEST)).write_bytes(b"other bytes")
    with pytest.raises(ArchiveInvalid, match=Digest.of(b"other bytes")):
        images.read(DIGEST, 100)


def test_entries(tmp_path: Path) -> None:
    """Each entry is a descriptor, in the order of the file; what else it holds is kept in its JSON."""
    named = descriptor(CONTENT, "text/odd", annotations={"a": "b"}, platform={"os": "linux"}, more=[1])
    images = layout(tmp_path, descriptor(CONTENT), named)
    assert [entry.annotations for entry in images.entries()] == [None, {"a": "b"}]
    assert [json.loads(text) for _, text in images.written()] == [descriptor(CONTENT), named]


@pytest.mark.parametrize(
    "entry",
    [
        1,
        None,
        {},
        {"mediaType": "a/b", "digest": "sha256:abc", "size": 1},
        {"mediaType": "a/b", "digest": "md5:" + "a" * 32, "size": 1},
        {"mediaType": "a/b", "digest": "sha256:" + "../" * 21 + "a", "size": 1},
        {"mediaType": "a/b", "digest": ["sha256"], "size": 1},
        {"mediaType": "a/b", "digest": DIGEST, "size": -1},
        {"mediaType": "a/b", "digest": DIGEST, "size": 2**70},
        {"mediaType": "a/b", "digest": DIGEST, "size": "1"},
        {"mediaType": "", "digest": DIGEST, "size": 1},
    ],
)
def test_entries_that_are_none(entry: Any, tmp_path: Path) -> None:
    """What is no descriptor is refused, with its place."""
    with pytest.raises(ArchiveInvalid, match=r"manifests\[0\] of index\.json"):
        list(layout(tmp_path, entry).entries())


@pytest.mark.parametrize(
    ("version", "reason"),
    [
        (b"", "oci-layout"),
        (b"[]", "oci-layout"),
        (b'{"imageLayoutVersion":"2.0.0"}', "'2.0.0'"),
        (b"{}", "oci-layout"),
    ],
)
def test_other_versions(version: bytes, reason: str, tmp_path: Path) -> None:
    """A layout of a version that is not known is not guessed at."""
    with pytest.raises(ArchiveInvalid, match=reason):
        layout(tmp_path, version=version)


def test_no_layout(tmp_path: Path) -> None:
    """A directory that holds no images is refused, and so is a layout without its index."""
    with pytest.raises(ArchiveInvalid, match="neither oci-layout nor manifest"):
        open_images(DirectoryArchive(str(tmp_path)))
    (tmp_path / "oci-layout").write_bytes(LAYOUT)
    with pytest.raises(ArchiveInvalid, match="index"):
        open_images(DirectoryArchive(str(tmp_path)))


def test_links(tmp_path: Path) -> None:
    """Links within a directory are followed, others are refused."""
    (tmp_path / "outside").write_text("secret")
    inside = tmp_path / "inside"
    inside.mkdir()
    (inside / "file").write_text("file")
    (inside / "link").symlink_to("file")
    (inside / "out").symlink_to("../outside")
    (inside / "up").symlink_to("..")
    archive = DirectoryArchive(str(inside))
    assert read_file(archive, "link", 10) == b"file"
    for name in ("out", "up/outside", "../outside"):
        with pytest.raises(ArchiveInvalid, match="leads out"):
            archive.size(name)


def test_what_is_no_file(tmp_path: Path) -> None:
    """A pipe to which nobody writes keeps nobody waiting; a folder is no file."""
    os.mkfifo(tmp_path / "pipe")
    (tmp_path / "folder").mkdir()
    for name in ("pipe", "folder"):
        with pytest.raises(ArchiveInvalid, match="no regular file"):
            DirectoryArchive(str(tmp_path)).size(name)
