"""The workloads, in the order in which they run."""

from __future__ import annotations

from typing import TYPE_CHECKING

from benchmarks.workloads.blob_downloads import blob_downloads
from benchmarks.workloads.blob_uploads import blob_uploads
from benchmarks.workloads.idle import idle
from benchmarks.workloads.manifest_operations import manifest_operations
from benchmarks.workloads.manifests_by_tag import manifests_by_tag
from benchmarks.workloads.many_uploads import many_uploads
from benchmarks.workloads.signed_in import signed_in
from benchmarks.workloads.small_blobs import small_blobs

if TYPE_CHECKING:
    from collections.abc import Callable

    from benchmarks.bench import Bench
    from benchmarks.outcome import Outcome

WORKLOADS: dict[str, Callable[[Bench], Outcome]] = {
    "idle": idle,
    "manifests-by-tag": manifests_by_tag,
    "signed-in": signed_in,
    "manifest-operations": manifest_operations,
    "small-blobs": small_blobs,
    "blob-downloads": blob_downloads,
    "blob-uploads": blob_uploads,
    "many-uploads": many_uploads,
}
