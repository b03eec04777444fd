"""Trees of very many manifests, tags or repositories, written as each contestant keeps them: pushes would take hours.

What the manifests name is not there, and nobody asks for it.
"""

from __future__ import annotations

import json
import os
import tempfile
from contextlib import contextmanager
from dataclasses import replace
from hashlib import sha256
from typing import TYPE_CHECKING, NamedTuple

from benchmarks.content import MANIFEST_TYPE
from benchmarks.contestants.cargohold import Cargohold
from benchmarks.contestants.distribution import Distribution
from benchmarks.contestants.nginx import Nginx
from benchmarks.contestants.zot import Zot

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Iterator, Sequence

    from benchmarks.bench import Bench
    from benchmarks.processes import Server

_MEMORY = "/dev/shm"
_ENTRY_BYTES = 40_000


class Tagged(NamedTuple):
    """A manifest, and its tag if it has one."""

    content: bytes
    tag: str = ""


class Repository(NamedTuple):
    """A repository and its manifests."""

    name: str
    manifests: Iterable[Tagged]


@contextmanager
def in_memory(bench: Bench, size: int | None = None) -> Iterator[Bench]:
    """The bench with its folder in memory, where that has room for so many bytes (default: for all entries).

    Nothing large is written. Reads come from memory either way. Some disks take a millisecond to give back each folder
    that is removed, and there are a million.
    """
    if not has_room(bench.scale.entries * _ENTRY_BYTES if size is None else size):
        yield bench
        return
    with tempfile.TemporaryDirectory(prefix="cargohold-bench-", dir=_MEMORY) as folder:
        yield replace(bench, folder=folder)


def has_room(size: int, files: int = 0) -> bool:
    """Whether as many bytes can be taken from memory and still as many be free, and as many files be made there."""
    try:
        place = os.statvfs(_MEMORY)
    except FileNotFoundError:
        return False
    with open("/proc/meminfo", encoding="ascii") as file:
        free = next(int(line.split()[1]) << 10 for line in file if line.startswith("MemAvailable:"))
    # Of files 0 where their number has no limit.
    holds_files = not place.f_files or files <= place.f_favail
    return size <= place.f_bavail * place.f_frsize and 2 * size <= free and holds_files


def fill(servers: Sequence[Server], make: Callable[[], Iterable[Repository]]) -> None:
    """Give the repositories that `make` makes to servers to which nothing was pushed yet.

    cargohold and Distribution keep them alike, and so have the same files: none of what is asked for changes one.
    """
    written = [server.folder for server in servers if isinstance(server.contestant, Cargohold)]
    for server in servers:
        folder = f"{server.folder}/data"
        os.makedirs(folder, exist_ok=True)
        if isinstance(server.contestant, Distribution) and written:
            os.symlink(f"{written[0]}/data/docker", f"{folder}/docker")
            continue
        write = next(layout for kind, layout in _LAYOUTS.items() if isinstance(server.contestant, kind))
        for repository in make():
            write(folder, repository)


def digest(content: bytes) -> str:
    """The digest of a manifest."""
    return f"sha256:{sha256(content).hexdigest()}"


def _as_distribution(folder: str, repository: Repository) -> None:
    """Without the history of each tag, which is not read."""
    registry = f"{folder}/docker/registry/v2"
    place = f"{registry}/repositories/{repository.name}/_manifests"
    for content, tag in repository.manifests:
        encoded = sha256(content).hexdigest()
        link = f"sha256:{encoded}".encode()
        _write(f"{registry}/blobs/sha256/{encoded[:2]}/{encoded}/data", content)
        _write(f"{place}/revisions/sha256/{encoded}/link", link)
        if tag:
            _write(f"{place}/tags/{tag}/current/link", link)


def _as_oci_layout(folder: str, repository: Repository) -> None:
    """The layout of the Image Specification, in a folder for each repository."""
    place, listed = f"{folder}/{repository.name}", []
    for content, tag in repository.manifests:
        encoded = sha256(content).hexdigest()
        _write(f"{place}/blobs/sha256/{encoded}", content)
        descriptor = {"mediaType": MANIFEST_TYPE, "digest": f"sha256:{encoded}", "size": len(content)}
        named = {"annotations": {"org.opencontainers.image.ref.name": tag}} if tag else {}
        listed.append(descriptor | named)
    _write(f"{place}/oci-layout", b'{"imageLayoutVersion":"1.0.0"}')
    _write(f"{place}/index.json", json.dumps({"schemaVersion": 2, "manifests": listed}).encode())


def _as_files(folder: str, repository: Repository) -> None:
    """What the addresses name."""
    place = f"{folder}/v2/{repository.name}/manifests"
    for content, tag in repository.manifests:
        _write(f"{place}/{digest(content)}", content)
        if tag:
            os.link(f"{place}/{digest(content)}", f"{place}/{tag}")


_LAYOUTS = {
    Cargohold: _as_distribution,
    Distribution: _as_distribution,
    Zot: _as_oci_layout,
    Nginx: _as_files,
}


def _write(path: str, content: bytes) -> None:
    """Make a file, unless it is there: one of the same name has the same content."""
    try:
        with open(path, "xb", buffering=0) as file:
            file.write(content)
    except FileNotFoundError:
        os.makedirs(os.path.dirname(path), exist_ok=True)
        _write(path, content)
    except FileExistsError:
        return
