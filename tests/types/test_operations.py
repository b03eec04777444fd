"""What an operation needs."""

from __future__ import annotations

import pytest

from cargohold.types import operations
from cargohold.types.digest import Algorithm, Digest
from cargohold.types.names import RepositoryName, Tag, UploadId
from cargohold.types.operations import (
    Access,
    AppendUpload,
    CancelUpload,
    CheckHealth,
    CheckReady,
    CheckSupport,
    CheckUpload,
    DeleteBlob,
    DeleteManifest,
    FinishUpload,
    ListReferrers,
    ListRepositories,
    ListTags,
    MountBlob,
    Operation,
    Permission,
    PublishKeys,
    PullBlob,
    PullManifest,
    PushManifest,
    ReadMetrics,
    RequestToken,
    StartUpload,
)
from cargohold.types.paging import Page

HERE, THERE = RepositoryName("here"), RepositoryName("there")
DIGEST, TAG, UPLOAD, PAGE = Digest.of(b""), Tag("v1"), UploadId.new(), Page(None, "")

PULL = (Access(Permission.PULL, HERE),)
PUSH = (Access(Permission.PUSH, HERE),)
DELETE = (Access(Permission.DELETE, HERE),)

NEEDS: list[tuple[Operation, tuple[Access, ...]]] = [
    (CheckSupport(), (Access(Permission.ENTER, None),)),
    (RequestToken(), ()),
    (PublishKeys(), ()),
    (CheckHealth(), ()),
    (CheckReady(), ()),
    (ReadMetrics(), (Access(Permission.METRICS, None),)),
    (ListRepositories(PAGE), (Access(Permission.CATALOG, None),)),
    (ListTags(HERE, PAGE), PULL),
    (ListReferrers(HERE, DIGEST, None, None), PULL),
    (PullManifest(HERE, TAG), PULL),
    (PullBlob(HERE, DIGEST), PULL),
    (PushManifest(HERE, DIGEST, (TAG,)), PUSH),
    (StartUpload(HERE), PUSH),
    (MountBlob(HERE, DIGEST, THERE), PUSH),
    (CheckUpload(HERE, UPLOAD), PUSH),
    (AppendUpload(HERE, UPLOAD), PUSH),
    (FinishUpload(HERE, UPLOAD, DIGEST), PUSH),
    (CancelUpload(HERE, UPLOAD), PUSH),
    (DeleteManifest(HERE, TAG), DELETE),
    (DeleteBlob(HERE, DIGEST), DELETE),
]


@pytest.mark.parametrize(("operation", "needs"), NEEDS, ids=lambda value: type(value).__name__)
def test_an_operation_says_what_it_needs(operation: Operation, needs: tuple[Access, ...]) -> None:
    """Reading needs pull, writing push, removing delete, catalog and metrics their own, the version check a login."""
    assert operation.needs() == needs


def test_no_operation_is_forgotten() -> None:
    """Every operation that can be made stands in the table above."""

    def leaves(kind: type[Operation]) -> set[str]:
        children = kind.__subclasses__()
        return {kind.__name__} if not children else {name for child in children for name in leaves(child)}

    assert leaves(Operation) == {type(operation).__name__ for operation, _ in NEEDS}
    assert all(hasattr(operations, name) for name in leaves(Operation))


def test_what_a_client_does_not_say_has_a_default() -> None:
    """A session starts for SHA-256 and without content; a manifest is pushed without further tags."""
    assert (StartUpload(HERE).digest, StartUpload(HERE).algorithm) == (None, Algorithm.SHA256)
    assert PushManifest(HERE, TAG).tags == ()


def test_operations_are_values() -> None:
    """Two that ask the same are equal, and none can be changed after the guard has seen it."""
    assert PullBlob(HERE, DIGEST) == PullBlob(HERE, DIGEST)
    with pytest.raises(AttributeError):
        PullBlob(HERE, DIGEST).repository = THERE  # type: ignore[misc]
