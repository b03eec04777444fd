"""The workloads, in the order in which they run."""

from __future__ import annotations

from typing import TYPE_CHECKING

from benchmarks.workloads.blob_downloads import blob_downloads
from benchmarks.workloads.blob_uploads import blob_uploads
from benchmarks.workloads.idle import idle
from benchmarks.workloads.images import images
from benchmarks.workloads.large_tree import large_tree
from benchmarks.workloads.lists import lists
from benchmarks.workloads.manifest_reads import manifest_reads
from benchmarks.workloads.manifest_writes import manifest_writes
from benchmarks.workloads.many_uploads import many_uploads
from benchmarks.workloads.mounts import mounts
from benchmarks.workloads.signed_in import signed_in
from benchmarks.workloads.small_blobs import small_blobs
from benchmarks.workloads.zb import zb

if TYPE_CHECKING:
    from collections.abc import Callable

    from benchmarks.bench import Bench
    from benchmarks.outcome import Outcome

WORKLOADS: dict[str, Callable[[Bench], Outcome]] = {
    "idle": idle,
    "manifest-reads": manifest_reads,
    "signed-in": signed_in,
    "manifest-writes": manifest_writes,
    "small-blobs": small_blobs,
    "lists": lists,
    "blob-downloads": blob_downloads,
    "blob-uploads": blob_uploads,
    "mounts": mounts,
    "images": images,
    "many-uploads": many_uploads,
    "large-tree": large_tree,
    "zb": zb,
}
