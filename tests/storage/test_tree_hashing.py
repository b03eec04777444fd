"""The hash of a session so far: taken up where it is surely right, and otherwise made again."""

from __future__ import annotations

import os
import subprocess
import sys
from typing import TYPE_CHECKING

import pytest

from cargohold.storage.filesystem import FilesystemStore, hashing
from cargohold.storage.filesystem.hashing import advance, hash_from, load_hasher, save_hasher
from cargohold.types.digest import Algorithm, Digest, Hasher

from .contract.base import ONE, append, blob, started

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

CONTENT = os.urandom(3_000_000)


@pytest.fixture
def state(tmp_path: Path) -> str:
    """Where a state is kept: its folder is made when it is needed."""
    return str(tmp_path / "hashing" / "state")


@pytest.fixture
def content(tmp_path: Path) -> Iterator[int]:
    """A descriptor of a file with the content."""
    (tmp_path / "content").write_bytes(CONTENT)
    descriptor = os.open(tmp_path / "content", os.O_RDONLY)
    yield descriptor
    os.close(descriptor)


def _hasher(algorithm: Algorithm, length: int) -> Hasher:
    hasher = Hasher(algorithm)
    hasher.update(CONTENT[:length])
    return hasher


@pytest.mark.parametrize("algorithm", Algorithm)
@pytest.mark.parametrize("length", [0, 1, 63, 64, 65, 1_000_001])
def test_goes_on(state: str, content: int, algorithm: Algorithm, length: int) -> None:
    """A state that was kept goes on to the right digest, if this machine can keep one."""
    save_hasher(state, _hasher(algorithm, length))
    loaded = load_hasher(state)
    assert loaded is None or (loaded.algorithm, loaded.length) == (algorithm, length)
    assert hash_from(content, len(CONTENT), algorithm, loaded) == Digest.of(CONTENT, algorithm)


def test_taken_up_by_another_process(state: str) -> None:
    """SHA-256, which nearly all blobs are named by, goes on in another process, from where it was."""
    save_hasher(state, _hasher(Algorithm.SHA256, 1_000))
    program = (
        "import sys; from cargohold.storage.filesystem.hashing import load_hasher; "
        "hasher = load_hasher(sys.argv[1]); print(hasher and (hasher.length, hasher.digest()))"
    )
    done = subprocess.run(
        [sys.executable, "-c", program, state], capture_output=True, check=True, text=True, timeout=30
    )
    if load_hasher(state) is None:
        assert done.stdout == "None\n"
    else:
        assert Digest.of(CONTENT[:1_000]) in done.stdout


def test_other_boot(state: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """A state of an earlier run of the machine is not taken up: the bytes it knows may be lost."""
    save_hasher(state, _hasher(Algorithm.SHA256, 1_000))
    monkeypatch.setattr(hashing, "boot_id", lambda: "another")
    assert load_hasher(state) is None


@pytest.mark.parametrize(
    ("length", "algorithm"),
    [(len(CONTENT) + 1, Algorithm.SHA256), (5, Algorithm.SHA512)],
    ids=["longer than the file", "of another algorithm"],
)
def test_not_of_this_content(content: int, length: int, algorithm: Algorithm) -> None:
    """A hasher that knows more than there is, or hashes otherwise, is not used."""
    hasher = Hasher(algorithm)
    hasher.update(b"x" * length)
    assert hash_from(content, len(CONTENT), Algorithm.SHA256, hasher) == Digest.of(CONTENT)


def test_shorter_file(content: int) -> None:
    """A file that has become shorter than it was said to be is an error, never a digest."""
    with pytest.raises(OSError, match="shorter"):
        advance(Hasher(Algorithm.SHA256), content, len(CONTENT) + 1)


@pytest.mark.parametrize(
    "spoiled", [b"", b"\0" * 200, b"\n", b"one two\nrest", b"boot sha256 12\nshort", b"a b c d\n"]
)
def test_spoiled(state: str, spoiled: bytes) -> None:
    """A state that a power cut has spoiled is none."""
    save_hasher(state, _hasher(Algorithm.SHA256, 1_000))
    with open(state, "wb") as file:
        file.write(spoiled)
    assert load_hasher(state) is None


@pytest.mark.parametrize("torn", range(0, 200, 13))
def test_torn(state: str, torn: int) -> None:
    """A state that is half of one and half of another, of two writers at once, is none, wherever it is torn."""
    records = []
    for length in (1_000_000, 1_000_001):
        save_hasher(state, _hasher(Algorithm.SHA256, length))
        with open(state, "rb") as file:
            records.append(file.read())
    old, new = records
    with open(state, "wb") as file:
        file.write(old[:torn] + new[torn:])
    loaded = load_hasher(state)
    assert loaded is None or loaded.length == (1_000_001 if torn == 0 else 1_000_000)


@pytest.mark.parametrize("before", Algorithm)
@pytest.mark.parametrize("after", Algorithm)
def test_replaced(state: str, content: int, before: Algorithm, after: Algorithm) -> None:
    """A state takes the place of another, be that longer or shorter."""
    save_hasher(state, _hasher(before, 2_000_000))
    save_hasher(state, _hasher(after, 1_000))
    loaded = load_hasher(state)
    assert loaded is None or (loaded.algorithm, loaded.length) == (after, 1_000)
    assert hash_from(content, len(CONTENT), after, loaded) == Digest.of(CONTENT, after)


def test_no_state(state: str) -> None:
    """Where nothing was kept there is no state."""
    assert load_hasher(state) is None


@pytest.mark.usefixtures("loop")
@pytest.mark.parametrize("lost", ["removed", "older", "of other bytes' length"])
async def test_session_without_its_state(tmp_path: Path, lost: str) -> None:
    """A session whose state is lost or behind is read again: every byte counts once."""
    store = FilesystemStore(str(tmp_path))
    store.prepare()
    try:
        upload = await started(store, ONE, CONTENT[:1_000_000])
        path = store.layout.hashing(ONE, upload)
        before = load_hasher(path)
        await append(store, ONE, upload, CONTENT[1_000_000:])
        if lost == "removed":
            os.unlink(path)
        elif lost == "older" and before is not None:
            save_hasher(path, before)
        else:
            longer = Hasher(Algorithm.SHA256)
            longer.update(CONTENT + b"x")
            save_hasher(path, longer)
        await store.commit_upload(ONE, upload, Digest.of(CONTENT), len(CONTENT))
        assert await blob(store, ONE, Digest.of(CONTENT)) == CONTENT
    finally:
        store.close()
