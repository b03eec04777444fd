"""What a request asks of the registry, typed: the router makes one of these of every request.

Each operation says which permissions it needs, on which repository, so that one place can guard them all.
"""

from __future__ import annotations

from enum import Enum
from functools import lru_cache
from typing import Final, NamedTuple

import msgspec

from cargohold.types.digest import Algorithm, Digest
from cargohold.types.names import Reference, RepositoryName, Tag, UploadId
from cargohold.types.paging import Page


class Permission(Enum):
    """What one may be allowed to do: to a repository, or to the registry as a whole (catalog, enter, metrics).

    No rule and no grant can give the last two. ENTER is no more than to be let in: whoever shows a valid login or
    token has it. METRICS has whoever of them is somebody: a token may be for nobody.
    """

    PULL = "pull"
    PUSH = "push"
    DELETE = "delete"
    CATALOG = "catalog"
    ENTER = "enter"
    METRICS = "metrics"

    # Members are compared by identity: this hash is computed in C, that of Enum in Python at each look into a set.
    __hash__ = object.__hash__


# To look up a member of an Enum takes a call in Python, before 3.12.
_PULL: Final = Permission.PULL
_PUSH: Final = Permission.PUSH
_DELETE: Final = Permission.DELETE


class Access(NamedTuple):
    """A permission on a repository; on the registry as a whole where the repository is None."""

    permission: Permission
    repository: RepositoryName | None


@lru_cache(maxsize=2048)  # the same repositories are asked for again and again
def _need(permission: Permission, repository: RepositoryName | None = None) -> tuple[Access, ...]:
    return (Access(permission, repository),)


class Operation(msgspec.Struct, frozen=True, gc=False):
    """What one request asks. None can be a part of itself, and so none is a matter for the garbage collector."""

    def needs(self) -> tuple[Access, ...]:
        """All the permissions that must be held; none where everyone may."""
        return ()


class CheckSupport(Operation, frozen=True):
    """`GET /v2/`: is this a registry, and may I speak to it (end-1)."""

    def needs(self) -> tuple[Access, ...]:
        """No more than a login that is valid."""
        return _need(Permission.ENTER)


class RequestToken(Operation, frozen=True):
    """`GET` or `POST /auth/token`: a token for what the asker may do (Docker token specification).

    It needs no permission: what is asked for, and by whom, is in the query of a GET and in the form of a POST.
    """


class PublishKeys(Operation, frozen=True):
    """`GET /auth/keys`: the public keys that tokens of this registry are signed with (RFC 7517, a JWK set)."""


class CheckHealth(Operation, frozen=True):
    """`GET /health`: is this process alive. Everyone may ask, a load balancer has no login."""


class CheckReady(Operation, frozen=True):
    """`GET /health/ready`: can requests be sent here now."""


class ReadMetrics(Operation, frozen=True):
    """`GET /metrics`: what was counted, for Prometheus."""

    def needs(self) -> tuple[Access, ...]:
        """A login of somebody, unless the settings show the metrics to everyone."""
        return _need(Permission.METRICS)


class ListRepositories(Operation, frozen=True):
    """`GET /v2/_catalog`."""

    page: Page

    def needs(self) -> tuple[Access, ...]:
        """The permission to see what there is."""
        return _need(Permission.CATALOG)


class RepositoryOperation(Operation, frozen=True):
    """Anything that is asked of one repository."""

    repository: RepositoryName


class _Pull(RepositoryOperation, frozen=True):
    def needs(self) -> tuple[Access, ...]:
        return _need(_PULL, self.repository)


class _Push(RepositoryOperation, frozen=True):
    def needs(self) -> tuple[Access, ...]:
        return _need(_PUSH, self.repository)


class _Delete(RepositoryOperation, frozen=True):
    def needs(self) -> tuple[Access, ...]:
        return _need(_DELETE, self.repository)


class ListTags(_Pull, frozen=True):
    """`GET /v2/<name>/tags/list` (end-8)."""

    page: Page


class ListReferrers(_Pull, frozen=True):
    """`GET /v2/<name>/referrers/<digest>` (end-12); `last` is the digest after which a further page starts."""

    subject: Digest
    artifact_type: str | None
    last: str | None


class PullManifest(_Pull, frozen=True):
    """`GET` or `HEAD /v2/<name>/manifests/<reference>` (end-3)."""

    reference: Reference


class PushManifest(_Push, frozen=True):
    """`PUT /v2/<name>/manifests/<reference>` (end-7); `tags` come from `?tag=` and go with a digest alone."""

    reference: Reference
    tags: tuple[Tag, ...] = ()


class DeleteManifest(_Delete, frozen=True):
    """`DELETE /v2/<name>/manifests/<reference>` (end-9): a digest, or a tag where the settings allow it."""

    reference: Reference


class PullBlob(_Pull, frozen=True):
    """`GET` or `HEAD /v2/<name>/blobs/<digest>` (end-2)."""

    digest: Digest


class DeleteBlob(_Delete, frozen=True):
    """`DELETE /v2/<name>/blobs/<digest>` (end-10)."""

    digest: Digest


class StartUpload(_Push, frozen=True):
    """`POST /v2/<name>/blobs/uploads/` (end-4): with `digest`, the body is the blob; without, a session starts."""

    digest: Digest | None = None
    algorithm: Algorithm = Algorithm.SHA256


class MountBlob(_Push, frozen=True):
    """`POST /v2/<name>/blobs/uploads/?mount=<digest>&from=<other>` (end-11); `source` None: from wherever it is.

    The permission to pull from the source is no need: what cannot be mounted is no error, an upload session is
    started instead, for which PUSH is enough. Whoever mounts is asked for it where the source is looked at.
    """

    digest: Digest
    source: RepositoryName | None


class _UploadOperation(_Push, frozen=True):
    upload: UploadId


class CheckUpload(_UploadOperation, frozen=True):
    """`GET <location>` (end-13)."""


class AppendUpload(_UploadOperation, frozen=True):
    """`PATCH <location>` (end-5)."""


class FinishUpload(_UploadOperation, frozen=True):
    """`PUT <location>?digest=<digest>` (end-6)."""

    digest: Digest


class CancelUpload(_UploadOperation, frozen=True):
    """`DELETE <location>` (end-14)."""
