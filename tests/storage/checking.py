"""A tree to be damaged and checked, as a server made it two hours ago."""

from __future__ import annotations

import asyncio
import json
import os
import time
from collections import Counter
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any

from cargohold.storage.filesystem import FilesystemStore
from cargohold.storage.filesystem.checking.check import Check, Wanted
from cargohold.storage.layout import Layout
from cargohold.types.digest import Digest
from cargohold.types.names import RepositoryName, Tag
from cargohold.types.oci import OCI_INDEX, parse_manifest

from .contract.base import IMAGE, ONE, Sample, blob, commit, document, push, sample, target
from .foreign import put

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from cargohold.storage.filesystem.checking.findings import Finding

TWO = RepositoryName("team/two")
CONFIG, FIRST, SECOND = b"{}", b"first", b"second"
A, B = sample("first"), sample("second")
SIGNATURE = sample("signature", subject=A.digest)
NEEDLESS = b"no manifest names it"
AGO = 7200.0


def index_of(*children: Sample) -> Sample:
    """An index of manifests."""
    listed = [
        {"mediaType": IMAGE, "digest": each.digest, "size": len(each.manifest.content)} for each in children
    ]
    content = json.dumps({"schemaVersion": 2, "mediaType": OCI_INDEX, "manifests": listed}).encode()
    return Sample(Digest.of(content), parse_manifest(content, OCI_INDEX))


INDEX = index_of(A, B)
TAGS = {Tag("a"): A, Tag("b"): B, Tag("both"): INDEX}


async def _fill(store: FilesystemStore) -> None:
    store.prepare()
    for repository in (ONE, TWO):
        for content in (CONFIG, FIRST, SECOND, b"signature"):
            await push(store, repository, content)
        for tag, each in TAGS.items():
            await commit(store, repository, each, tag)
        await commit(store, repository, SIGNATURE)
    await store.list_repositories("", 10)
    await store.recount(0)


class Place:
    """A tree with two repositories that hold the same: two images, an index of them, and a signature of one."""

    def __init__(self, root: Path) -> None:
        self.root, self.layout = root, Layout(str(root))
        with self.opened() as store:
            asyncio.run(_fill(store))
        self.age()

    def keep_lists(self) -> None:
        """Have what is listed kept, as a server does once folders have not changed for a moment."""
        deadline = time.monotonic() + 10
        with self.opened() as store:
            while not os.path.exists(self.layout.referrers_seen(ONE)):
                assert time.monotonic() < deadline
                asyncio.run(store.list_referrers(ONE, A.digest))

    @contextmanager
    def opened(self) -> Iterator[FilesystemStore]:
        store = FilesystemStore(str(self.root))
        try:
            yield store
        finally:
            store.close()

    def age(self, path: str = "", seconds: float = AGO) -> None:
        """Make everything, or what is below a path, as old."""
        then = time.time() - seconds
        for folder, _, files in os.walk(path or self.root, topdown=False):
            for name in files:
                os.utime(f"{folder}/{name}", (then, then))
            os.utime(folder, (then, then))

    def check(self, **wanted: Any) -> list[Finding]:
        """What a check of it finds."""
        with self.opened() as store:
            return list(Check(store, Wanted(**wanted)).run())

    def kinds(self, **wanted: Any) -> Counter[str]:
        """The kinds of what a check finds."""
        return Counter(finding.kind.value for finding in self.check(**wanted))

    def revision(self, each: Sample, repository: RepositoryName = ONE) -> str:
        return f"{self.layout.revision(repository, each.digest)}/link"

    def layer(self, content: bytes, repository: RepositoryName = ONE) -> str:
        return f"{self.layout.layer(repository, Digest.of(content))}/link"

    def link_nothing(self, *repositories: RepositoryName) -> None:
        """Put links of a blob there that no manifest names and that has no content, as old as all else."""
        for repository in repositories:
            put(self.layer(NEEDLESS, repository), Digest.of(NEEDLESS).encode())
            self.age(os.path.dirname(self.layer(NEEDLESS, repository)))

    def data(self, of: bytes | Sample) -> str:
        return self.layout.data(of.digest if isinstance(of, Sample) else Digest.of(of))

    def blob(self, content: bytes, repository: RepositoryName = ONE) -> bytes | None:
        """The blob of this content as a repository shows it."""
        with self.opened() as store:
            return asyncio.run(blob(store, repository, Digest.of(content)))

    def manifest(self, of: Sample, repository: RepositoryName = ONE) -> bytes | None:
        with self.opened() as store:
            return asyncio.run(document(store, repository, of.digest))

    def tag(self, tag: str, repository: RepositoryName = ONE) -> Digest | None:
        with self.opened() as store:
            return asyncio.run(target(store, repository, Tag(tag)))

    def quarantined(self) -> list[dict[str, str]]:
        """What the lists of the quarantines say; each must be where they say."""
        said = [
            json.loads(line)
            for listed in sorted(self.root.glob("cargohold/quarantine/*/list.jsonl"))
            for line in listed.read_text().splitlines()
        ]
        for each in said:
            assert (self.root / each["place"]).exists(), each
        return said


def write(path: str, content: bytes) -> None:
    """Change a file in its place, as a disk does: its time stays, and that of its folder."""
    status = os.stat(path)
    with open(path, "r+b") as file:
        file.truncate(0)
        file.write(content)
    os.utime(path, ns=(status.st_atime_ns, status.st_mtime_ns))
