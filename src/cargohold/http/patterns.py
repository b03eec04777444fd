"""The address of each kind of operation with placeholders for names: what metrics and traces tell requests apart by."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

from cargohold.types import operations as ops

if TYPE_CHECKING:
    from cargohold.types.operations import Operation

_MANIFEST: Final = "/v2/{name}/manifests/{reference}"
_BLOB: Final = "/v2/{name}/blobs/{digest}"
_UPLOADS: Final = "/v2/{name}/blobs/uploads/"
_UPLOAD: Final = "/v2/{name}/blobs/uploads/{upload}"

PATTERNS: Final[dict[type[Operation], str]] = {
    ops.CheckSupport: "/v2/",
    ops.ListRepositories: "/v2/_catalog",
    ops.ListTags: "/v2/{name}/tags/list",
    ops.ListReferrers: "/v2/{name}/referrers/{digest}",
    ops.PullManifest: _MANIFEST,
    ops.PushManifest: _MANIFEST,
    ops.DeleteManifest: _MANIFEST,
    ops.PullBlob: _BLOB,
    ops.DeleteBlob: _BLOB,
    ops.StartUpload: _UPLOADS,
    ops.MountBlob: _UPLOADS,
    ops.CheckUpload: _UPLOAD,
    ops.AppendUpload: _UPLOAD,
    ops.FinishUpload: _UPLOAD,
    ops.CancelUpload: _UPLOAD,
    ops.RequestToken: "/auth/token",
    ops.PublishKeys: "/auth/keys",
    ops.CheckHealth: "/health",
    ops.CheckReady: "/health/ready",
    ops.ReadMetrics: "/metrics",
}
"""Without the prefix that the registry may stand below."""


def pattern(operation: Operation | None) -> str:
    """The pattern of what was asked; empty where the router found no operation (`Request.operation` is None)."""
    return "" if operation is None else PATTERNS[type(operation)]
