"""What the parts of the file system store share: the root, the locks, the threads, and how errors are told."""

from __future__ import annotations

import asyncio
import errno
import os
import stat
import uuid
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from functools import lru_cache, partial
from time import monotonic
from typing import TYPE_CHECKING, ParamSpec, TypeVar

from cargohold.storage.durable import Disk
from cargohold.storage.filesystem.dates import Dates
from cargohold.storage.filesystem.leases import Leases, Terms
from cargohold.storage.layout import Layout
from cargohold.storage.lists import FolderLists
from cargohold.storage.locks import PATIENCE, STRIPES, Busy, StripedLocks, stripe_of
from cargohold.storage.protocols import Full, StoreError, Unavailable
from cargohold.storage.spares import REST
from cargohold.storage.threads import Threads, to_the_end
from cargohold.storage.totals import Sums, TotalsFile, content_shard
from cargohold.storage.turns import Turns
from cargohold.types.digest import Digest
from cargohold.types.errors import DigestInvalid

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Mapping

    from cargohold.types.names import RepositoryName

P = ParamSpec("P")
T = TypeVar("T")

_BULK_THREADS = 8
_METADATA_THREADS = 8
_BACKGROUND_THREADS = 4
_LINK_LIMIT = 256
_READ = os.O_RDONLY | os.O_CLOEXEC
_TOO_LATE = "a lock of the storage was not to be had in time"

UNWRITABLE = frozenset({errno.EROFS, errno.ENOSPC, errno.EDQUOT, errno.EACCES, errno.EPERM})
"""What the system says of a place where nothing can be written; what is only kept to be quick is then not kept."""


class Tree:
    """One tree on a local disk, used by any number of processes at once.

    To be made before the fork and used after it: threads, locks and descriptors come with the first use.
    """

    def __init__(self, root: str, terms: Terms | None = None) -> None:
        self.layout = Layout(os.path.abspath(root))
        # To make a path costs as much as to ask the system about it.
        self.data_path = lru_cache(maxsize=1024)(self.layout.data)
        self.disk = Disk(self.layout.root, self.layout.lasts)
        self.terms = terms or Terms()
        self.leases = Leases(self.disk, self.terms)
        self.dates = Dates(self.disk, self.layout.new)
        self.locks = StripedLocks(self.layout.locks)
        self.lists = FolderLists()
        self.turns = Turns()
        self.noted = TotalsFile(self.layout.totals)
        self.closing = False
        self._gates = [asyncio.Lock() for _ in range(STRIPES)]
        self._make_threads()

    def _make_threads(self) -> None:
        """None of them runs before the first call."""
        self._bulk = Threads(_BULK_THREADS, "bulk")
        self._metadata = Threads(_METADATA_THREADS, "metadata", frugal=True)
        self.background = ThreadPoolExecutor(_BACKGROUND_THREADS, "background")
        self._trials = ThreadPoolExecutor(1, "trial")

    def away(self, folder: str) -> str:
        """Take a folder out of the tree in one step; where it is now. Raises FileNotFoundError."""
        away = f"{self.layout.new}/{uuid.uuid4().hex}"
        try:
            self.disk.rename(folder, away)
        except FileNotFoundError:
            # Either may be missing: what is ours alone can be removed while we serve.
            self.disk.make_folders(self.layout.new)
            self.disk.rename(folder, away)
        return away

    @contextmanager
    def storing(self, sizes: Mapping[Digest, int]) -> Iterator[None]:
        """Note what is put into its place meanwhile: nothing, where that much is there already."""
        before = {digest: self._size(digest) for digest in sizes}
        try:
            yield
        except BaseException:
            # What fails after some of this was put into its place leaves it there.
            sizes = {digest: self._size(digest) for digest in sizes}
            raise
        finally:
            more = [
                (digest, size - before[digest]) for digest, size in sizes.items() if size != before[digest]
            ]
            self.noted.add_all((content_shard(digest), Sums(content=size)) for digest, size in more)

    def _size(self, digest: Digest) -> int:
        return size_of(self.layout.data(digest)) or 0

    async def in_bulk(self, function: Callable[P, T], *args: P.args, **kwargs: P.kwargs) -> T:
        """Run in the threads for blobs' bytes, where a call may take as long as the disk likes."""
        return await self._bulk.run(partial(_told, function, *args, **kwargs))

    async def in_metadata(self, function: Callable[P, T], *args: P.args, **kwargs: P.kwargs) -> T:
        """Run in the threads for links and lists, which big uploads must not keep waiting."""
        return await self._metadata.run(partial(_told, function, *args, **kwargs))

    async def in_background(self, function: Callable[P, T], *args: P.args, **kwargs: P.kwargs) -> T:
        """Run in the threads for what may take minutes, and looks at `closing` now and then."""
        return await self._run(self.background, function, *args, **kwargs)

    async def patiently(self, function: Callable[P, T], *args: P.args, **kwargs: P.kwargs) -> T:
        """Run what takes a lock in the threads for links, again and again while another holds the lock.

        The wait is here and not in a thread, so that one lock that is held keeps nobody else waiting. Raises
        Busy after `PATIENCE`. The function must not have done anything when it raises Busy.
        """
        return await self._until(monotonic() + PATIENCE, function, *args, **kwargs)

    async def in_turn(
        self, repository: RepositoryName, function: Callable[P, T], *args: P.args, **kwargs: P.kwargs
    ) -> T:
        """As `patiently`, for what locks a repository: calls of this process have it in the order of their coming."""
        deadline, gate = monotonic() + PATIENCE, self._gates[stripe_of(repository)]
        try:
            # The wait that can be given up makes a task: it is not made where there is nothing to wait for.
            await (asyncio.wait_for(gate.acquire(), PATIENCE) if gate.locked() else gate.acquire())
        except TimeoutError:
            raise Busy(_TOO_LATE) from None
        try:
            return await self._until(deadline, function, *args, **kwargs)
        finally:
            gate.release()

    async def _until(self, deadline: float, function: Callable[P, T], *args: P.args, **kwargs: P.kwargs) -> T:
        pause = 0.0005
        while True:
            try:
                return await self.in_metadata(function, *args, **kwargs)
            except Busy:
                if monotonic() >= deadline:
                    raise Busy(_TOO_LATE) from None
            await asyncio.sleep(pause)
            pause = min(pause * 2, 0.02)

    async def _run(
        self, pool: ThreadPoolExecutor, function: Callable[P, T], *args: P.args, **kwargs: P.kwargs
    ) -> T:
        call = partial(_told, function, *args, **kwargs)
        return await to_the_end(asyncio.get_running_loop().run_in_executor(pool, call))

    def close(self) -> None:
        """Wait for what runs in the threads, and let go of everything; what waits in the background is dropped."""
        self.closing = True
        for pool in (self._bulk, self._metadata):
            pool.close()
        self.background.shutdown(cancel_futures=True)
        self._trials.shutdown(wait=False)
        self.dates.close()
        self.disk.close()
        self.locks.close()
        self.noted.close()
        self._make_threads()
        self.closing = False


def _told(function: Callable[P, T], *args: P.args, **kwargs: P.kwargs) -> T:
    try:
        return function(*args, **kwargs)
    except OSError as error:
        raise store_error(error) from error


@contextmanager
def told() -> Iterator[None]:
    """Turn the system's errors into the store's."""
    try:
        yield
    except OSError as error:
        raise store_error(error) from error


def store_error(error: OSError) -> StoreError:
    """What a store says of an error of the system, for the log and whoever starts the server."""
    reason = f"{error.filename}: {error.strerror}" if error.filename else str(error.strerror)
    return Full(reason) if error.errno in (errno.ENOSPC, errno.EDQUOT, errno.EFBIG) else Unavailable(reason)


def exists(path: str) -> bool:
    """Whether there is a file. An error other than its absence is raised, never taken for an absence."""
    # It takes half the time of a stat, which alone says why there seems to be none.
    return os.access(path, os.F_OK, effective_ids=True) or not is_missing(path)


def is_missing(path: str) -> bool:
    """As `exists` does not say: of what is mostly not there, at half the cost."""
    try:
        os.stat(path)
    except OSError as error:
        if is_absence(error):
            return True
        raise
    return False


def is_link(path: str) -> bool:
    """Whether there is a file that may be a link: a folder in its place is none."""
    try:
        return stat.S_ISREG(os.stat(path).st_mode)
    except OSError as error:
        if is_absence(error):
            return False
        raise


def size_of(path: str) -> int | None:
    """How long a file is; None where there is none."""
    try:
        return os.stat(path).st_size
    except FileNotFoundError:
        return None


def read_link(path: str, tries: int = 3, *, within: int | None = None) -> Digest | None:
    """The digest in a link file; None where there is none, or where it holds anything else.

    The path may be one `within` an open folder. Raises TimeoutError where it takes half a minute so many times.
    """
    began = monotonic()
    try:
        descriptor = os.open(path, _READ) if within is None else os.open(path, _READ, dir_fd=within)
    except OSError as error:
        if is_absence(error):
            return None
        raise
    try:
        content = os.read(descriptor, _LINK_LIMIT)
    except IsADirectoryError:
        return None
    finally:
        os.close(descriptor)
    # A file that was replaced is written again when it has rested: by then it may be another link.
    if monotonic() - began < REST / 2:
        return _linked(content)
    if tries > 1:
        return read_link(path, tries - 1, within=within)
    raise TimeoutError(errno.ETIMEDOUT, "to read it takes too long", path)


@lru_cache(maxsize=1024)  # most links are read again and again; each takes some hundred bytes here
def _linked(content: bytes) -> Digest | None:
    """The digest that a link of this content names."""
    try:
        return Digest(content.decode("ascii", "replace").strip())
    except DigestInvalid:
        return None


def read_file(path: str) -> bytes:
    """All bytes of a small file."""
    with open(path, "rb", buffering=0) as file:
        return file.read()


def folder_names(path: str) -> list[str]:
    """The names in a folder; none where there is no such folder."""
    try:
        return os.listdir(path)
    except OSError as error:
        if is_absence(error):
            return []
        raise


def is_absence(error: OSError) -> bool:
    """Whether it says that there is nothing: no file, a file in the place of a folder, a link that leads to itself."""
    return error.errno in (errno.ENOENT, errno.ENOTDIR, errno.ELOOP)
