"""What a link in the tree leads to is not ours: a deletion takes the link, and leaves what is behind it."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from cargohold.storage.filesystem import FilesystemStore
from cargohold.types.digest import Digest
from cargohold.types.names import RepositoryName

if TYPE_CHECKING:
    from pathlib import Path

ONE = RepositoryName("one")
CONTENT = b"content"
DIGEST = Digest.of(CONTENT)


@pytest.mark.usefixtures("loop")
async def test_deleting_a_linked_blob_folder(tmp_path: Path) -> None:
    """A blob whose folder is a symbolic link is deleted from the repository, and the folder it leads to stays whole."""
    store = FilesystemStore(str(tmp_path / "data"))
    store.prepare()
    elsewhere = tmp_path / "elsewhere"
    elsewhere.mkdir()
    (elsewhere / "link").write_bytes(DIGEST.encode())
    folder = tmp_path / "data" / "docker/registry/v2/repositories/one/_layers/sha256"
    folder.mkdir(parents=True)
    (folder / DIGEST.hex).symlink_to(elsewhere)
    data = tmp_path / "data" / "docker/registry/v2/blobs/sha256" / DIGEST.hex[:2] / DIGEST.hex
    data.mkdir(parents=True)
    (data / "data").write_bytes(CONTENT)
    assert (await store.find_blob(ONE, DIGEST)).size == len(CONTENT)
    await store.delete_blob(ONE, DIGEST)
    assert await store.missing_blobs(ONE, [DIGEST]) == [DIGEST]
    assert (elsewhere / "link").read_bytes() == DIGEST.encode()
    store.close()
