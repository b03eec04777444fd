"""OCI image layouts (image-spec, image-layout.md) as they are written: into a directory, or as a tar.

What a reader begins with, `index.json`, comes last: whatever is broken off before that has no new images, and a
directory still has those that it had.
"""

from __future__ import annotations

import os
import stat
import uuid
from contextlib import contextmanager, suppress
from typing import TYPE_CHECKING, Final, NamedTuple, Protocol

from cargohold.storage import disk
from cargohold.storage.archive.images import INDEX_FILE, LAYOUT, LAYOUT_FILE, LayoutImages, path_of
from cargohold.storage.archive.reading import DirectoryArchive
from cargohold.storage.archive.scratch import open_spool
from cargohold.storage.archive.tar import END, ArchiveInvalid, header_of, padding_of
from cargohold.storage.durable import UNPLACED, write_all
from cargohold.storage.locks import try_lock
from cargohold.storage.protocols import ContentFile, StoreError
from cargohold.types.digest import Algorithm, Digest, Hasher
from cargohold.types.errors import DigestInvalid
from cargohold.types.oci import OCI_INDEX

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Iterator

    from cargohold.storage.protocols import Content
    from cargohold.types.oci import Descriptor

_PIECE: Final = 1 << 20
_HEAD: Final = b'{"schemaVersion":2,"mediaType":"%s","manifests":[\n' % OCI_INDEX.encode()
_TAIL: Final = b"\n]}\n"


class Damaged(StoreError):
    """Content could not be read, or is not what its digest says."""


class Step(NamedTuple):
    """How many bytes have been read, and how many of those are new in the layout."""

    read: int
    written: int


class Target(Protocol):
    """A layout that is being written. All raise OSError where that cannot be done."""

    def add(self, digest: Digest, content: Content) -> Iterator[Step]:
        """Write content, a little at each step; where it is there, read what is there, and write it if that is damaged.

        To be called once for each digest. Raises Damaged; then it is not there, or not as it should be.
        """
        ...

    def finish(self, entries: Iterable[bytes]) -> None:
        """Name the manifests, by descriptors in JSON, and make all that was written durable."""
        ...


class TarTarget:
    """A tar, written from its beginning to its end by `write`."""

    def __init__(self, write: Callable[[bytes], object]) -> None:
        self._write = write
        self._file(LAYOUT_FILE, LAYOUT)

    def add(self, digest: Digest, content: Content) -> Iterator[Step]:
        self._write(header_of(path_of(digest), content.size))
        left = content.size
        try:
            for piece in read_checked(digest, content):
                self._write(piece)
                left -= len(piece)
                yield Step(len(piece), len(piece))
        except Damaged:
            # Its length has been told: what cannot be read is made up, and found out by whoever checks the digest.
            while left:
                self._write(bytes(min(left, _PIECE)))
                left -= min(left, _PIECE)
            raise
        finally:
            self._write(padding_of(content.size))

    def finish(self, entries: Iterable[bytes]) -> None:
        with open_spool() as spool:
            size = 0
            for piece in index_of(entries):
                write_all(spool, piece)
                size += len(piece)
            self._write(header_of(INDEX_FILE, size))
            os.lseek(spool, 0, os.SEEK_SET)
            while piece := os.read(spool, _PIECE):
                self._write(piece)
        self._write(padding_of(size) + END)

    def _file(self, name: str, content: bytes) -> None:
        self._write(header_of(name, len(content)) + content + padding_of(len(content)))


class DirectoryTarget:
    """A directory, which is empty or a layout already; what that has whole stays, and is not written again.

    Content is the same file as the registry's where `link` says so and the file system can do that, and never where it
    says no. Raises
    ArchiveInvalid where something else is in the directory, or where another writes to it.
    """

    def __init__(self, path: str, *, link: bool) -> None:
        self._path = path
        self._link = link
        self._changed: set[str] = set()
        names = os.listdir(path)
        if names and LAYOUT_FILE not in names:
            raise ArchiveInvalid("it is neither empty nor an OCI image layout")
        if not names:
            self._put(LAYOUT_FILE, (LAYOUT,))
        self._lock = os.open(f"{path}/{LAYOUT_FILE}", os.O_RDONLY | os.O_CLOEXEC)
        if not try_lock(self._lock):
            raise ArchiveInvalid("another export writes to it")
        for name in names:
            if name.endswith(UNPLACED):
                disk.remove_file(f"{path}/{name}")
        if INDEX_FILE not in names:
            self._put(INDEX_FILE, index_of(()))
        for algorithm in Algorithm:
            os.makedirs(f"{path}/blobs/{algorithm.value}", exist_ok=True)
        self._images = LayoutImages(DirectoryArchive(path))

    def entries(self) -> Iterator[tuple[Descriptor, bytes]]:
        """The manifests that it names so far, and how it does. Raises ArchiveInvalid."""
        return self._images.written()

    def add(self, digest: Digest, content: Content) -> Iterator[Step]:
        target = f"{self._path}/{path_of(digest)}"
        if _has_length(target, content.size) and (self._link or not _is_same_file(target, content)):
            # Damaged where it is the same file as the registry's is damaged there too, which is found out below.
            with suppress(Damaged):
                for piece in read_checked(digest, ContentFile(target, content.size)):
                    yield Step(len(piece), 0)
                return
        with self._staged() as staged:
            if isinstance(content, ContentFile) and self._linked(content.path, staged):
                for piece in read_checked(digest, content):
                    yield Step(len(piece), len(piece))
            else:
                descriptor = disk.open_file(staged)
                try:
                    for piece in read_checked(digest, content):
                        write_all(descriptor, piece)
                        yield Step(len(piece), len(piece))
                    disk.sync_file(descriptor)
                finally:
                    os.close(descriptor)
            disk.rename(staged, target)
        self._changed.add(os.path.dirname(target))

    def finish(self, entries: Iterable[bytes]) -> None:
        for folder in (*self._changed, f"{self._path}/blobs"):
            disk.sync_folder(folder)
        self._put(INDEX_FILE, index_of(entries))

    def prune(self, is_named: Callable[[Digest], bool]) -> tuple[int, int]:
        """Remove the content that is not `is_named`; how many pieces, and their bytes. Not made durable."""
        count = size = 0
        for algorithm in Algorithm:
            with os.scandir(f"{self._path}/blobs/{algorithm.value}") as found:
                for each in found:
                    with suppress(DigestInvalid):
                        if not is_named(Digest(f"{algorithm.value}:{each.name}")):
                            size += each.stat(follow_symlinks=False).st_size
                            disk.remove_file(each.path)
                            count += 1
        return count, size

    def close(self) -> None:
        """Let others write to it."""
        os.close(self._lock)

    def _linked(self, path: str, staged: str) -> bool:
        """Whether the file got another name; where one cannot be given to it, none is tried again."""
        if self._link:
            try:
                os.link(path, staged)
            except FileNotFoundError:
                raise Damaged(f"{path} is gone") from None
            except OSError:
                self._link = False
        return self._link

    def _put(self, name: str, pieces: Iterable[bytes]) -> None:
        with self._staged() as staged:
            descriptor = disk.open_file(staged)
            try:
                for piece in pieces:
                    write_all(descriptor, piece)
                disk.sync_file(descriptor)
            finally:
                os.close(descriptor)
            disk.rename(staged, f"{self._path}/{name}")
        disk.sync_folder(self._path)

    @contextmanager
    def _staged(self) -> Iterator[str]:
        """The path of a file that is to be; what is there on leaving is removed."""
        staged = f"{self._path}/{uuid.uuid4().hex}{UNPLACED}"
        try:
            yield staged
        finally:
            with suppress(FileNotFoundError):
                disk.remove_file(staged)


def _has_length(path: str, size: int) -> bool:
    try:
        found = os.lstat(path)
    except FileNotFoundError:
        return False
    return stat.S_ISREG(found.st_mode) and found.st_size == size


def _is_same_file(path: str, content: Content) -> bool:
    with suppress(FileNotFoundError):
        return isinstance(content, ContentFile) and os.path.samefile(path, content.path)
    return False


def index_of(entries: Iterable[bytes]) -> Iterator[bytes]:
    """The `index.json` of these descriptors, a line for each."""
    yield _HEAD
    separator = b""
    for entry in entries:
        yield separator + entry
        separator = b",\n"
    yield _TAIL


def read_checked(digest: Digest, content: Content) -> Iterator[bytes]:
    """The bytes of content, and at their end Damaged, where they are not those of the digest or cannot be read."""
    hasher, size = Hasher(digest.algorithm), 0
    for piece in _pieces(content):
        hasher.update(piece)
        size += len(piece)
        if size <= content.size:
            yield piece
    if not hasher.digest().equals(digest):
        raise Damaged(f"the stored bytes of {digest} are damaged")


def _pieces(content: Content) -> Iterator[bytes]:
    if not isinstance(content, ContentFile):
        yield content.data
        return
    try:
        with open(content.path, "rb", buffering=0) as file:
            while piece := file.read(_PIECE):
                yield piece
    except OSError as error:
        raise Damaged(f"{content.path}: {error.strerror}") from None
