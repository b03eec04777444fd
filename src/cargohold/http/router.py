"""From an address to an operation. Pure: a method, a path and a query go in; a typed operation comes out.

The endpoints are those of the OCI Distribution Specification, "Endpoints", the token service's, and those for whoever
runs the registry. A repository's
name may itself contain words like `manifests`, so an address is read from its end.
"""

from __future__ import annotations

from functools import lru_cache
from typing import TYPE_CHECKING, Final
from urllib.parse import parse_qs

from cargohold.types.digest import Algorithm, Digest
from cargohold.types.errors import (
    BlobUploadInvalid,
    DigestInvalid,
    EndpointUnknown,
    ManifestInvalid,
    ManifestUnknown,
    MethodNotAllowed,
    TagInvalid,
)
from cargohold.types.names import Reference, RepositoryName, Tag, UploadId, parse_reference
from cargohold.types.operations import (
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
    PublishKeys,
    PullBlob,
    PullManifest,
    PushManifest,
    ReadMetrics,
    RequestToken,
    StartUpload,
)
from cargohold.types.paging import Page, Query, parse_page
from cargohold.types.recurring import Recurring

if TYPE_CHECKING:
    from collections.abc import Callable

_UPLOADS = "/blobs/uploads"
_LONGEST_KEPT: Final = 512
_MOST_KNOWN: Final = 1024
_known: Final[dict[tuple[str, str, str], Operation]] = {}
"""What is asked again and again: 2 MB at most."""
_recurring: Final = Recurring()
_PLAIN: dict[str, type[Operation]] = {
    "/auth/keys": PublishKeys,
    "/health": CheckHealth,
    "/health/ready": CheckReady,
    "/metrics": ReadMetrics,
}


def route(method: str, path: str, query: str) -> Operation:
    """The operation that a request asks for.

    `path` is percent-decoded, `query` is not. Raises EndpointUnknown, MethodNotAllowed (with `Allow`), NameInvalid,
    DigestInvalid, BlobUploadUnknown, PaginationInvalid, and for a bad tag ManifestUnknown where it would be read and
    TagInvalid where it would be written.
    """
    key = method, path, query
    found = _known.get(key)
    if found is None:
        found = _read(method, path, query)
        if len(path) + len(query) <= _LONGEST_KEPT and _recurring.has(key):
            if len(_known) >= _MOST_KNOWN:
                _known.clear()
            _known[key] = found
    return found


def _read(method: str, path: str, query: str) -> Operation:  # noqa: PLR0911 - one for each kind of address
    if path.startswith("/v2/"):
        head, _, last = path.rpartition("/")
        if head.endswith("/manifests"):
            return _manifest(method, head[4:-10], last, query)
        if head.endswith(_UPLOADS):
            return _upload(method, head[4 : -len(_UPLOADS)], last, query)
        if head.endswith("/blobs"):
            if last == "uploads":
                return _upload(method, head[4:-6], "", query)
            return _blob(method, head[4:-6], last)
        if head.endswith("/tags") and last == "list":
            return _read_only(method, lambda: ListTags(RepositoryName(head[4:-5]), _page(query)))
        if head.endswith("/referrers"):
            return _read_only(method, lambda: _referrers(head[4:-10], last, query))
        if path == "/v2/_catalog":
            return _read_only(method, lambda: ListRepositories(_page(query)))
    if path in ("/v2/", "/v2"):
        return _read_only(method, CheckSupport)
    return _beside(method, path)


def _beside(method: str, path: str) -> Operation:
    """What is no part of the specification: tokens, and what whoever runs the registry asks."""
    if path == "/auth/token":
        if method not in ("GET", "POST"):
            raise _not_allowed(method, "GET, POST")
        return RequestToken()
    plain = _PLAIN.get(path)
    if plain is not None:
        return _read_only(method, plain)
    raise EndpointUnknown


def _manifest(method: str, name: str, text: str, query: str) -> Operation:
    if method in ("GET", "HEAD"):
        return PullManifest(_repository(name), _read_reference(text))
    if method == "PUT":
        repository, reference = RepositoryName(name), parse_reference(text)
        tags = tuple(map(Tag, dict.fromkeys(_parse(query).get("tag", ()))))
        if tags and isinstance(reference, Tag):
            raise ManifestInvalid("tags in the query go with a digest in the path")
        return PushManifest(repository, reference, tags)
    if method == "DELETE":
        return DeleteManifest(RepositoryName(name), _read_reference(text))
    raise _not_allowed(method, "GET, HEAD, PUT, DELETE")


# Of one repository much is pulled.
_repository: Final = lru_cache(maxsize=1024)(RepositoryName)


def _read_reference(text: str) -> Reference:
    try:
        return parse_reference(text)
    except TagInvalid:
        raise ManifestUnknown(detail={"reference": text}) from None


def _blob(method: str, name: str, text: str) -> Operation:
    if method in ("GET", "HEAD"):
        return PullBlob(_repository(name), Digest(text))
    if method == "DELETE":
        return DeleteBlob(RepositoryName(name), Digest(text))
    raise _not_allowed(method, "GET, HEAD, DELETE")


def _upload(method: str, name: str, text: str, query: str) -> Operation:
    if not text:
        if method != "POST":
            raise _not_allowed(method, "POST")
        return _start(RepositoryName(name), _parse(query))
    repository = RepositoryName(name)
    if method in ("GET", "HEAD"):
        return CheckUpload(repository, UploadId(text))
    if method == "PATCH":
        return AppendUpload(repository, UploadId(text))
    if method == "DELETE":
        return CancelUpload(repository, UploadId(text))
    if method == "PUT":
        digest = _first(_parse(query), "digest")
        if digest is None:
            raise DigestInvalid("the digest of the blob must stand in the query: ?digest=sha256:...")
        return FinishUpload(repository, UploadId(text), Digest(digest))
    raise _not_allowed(method, "GET, HEAD, PATCH, PUT, DELETE")


def _start(repository: RepositoryName, query: Query) -> Operation:
    mount, source, digest = (_first(query, key) for key in ("mount", "from", "digest"))
    if mount is not None:
        return MountBlob(repository, Digest(mount), RepositoryName(source) if source else None)
    name = _first(query, "digest-algorithm")
    algorithm = Algorithm.parse(name) if name is not None else Algorithm.SHA256
    if digest is None:
        return StartUpload(repository, None, algorithm)
    whole = Digest(digest)
    if name is not None and whole.algorithm is not algorithm:
        raise BlobUploadInvalid("digest and digest-algorithm name two algorithms")
    return StartUpload(repository, whole, whole.algorithm)


def _referrers(name: str, text: str, query: str) -> Operation:
    asked = _parse(query)
    # No media type has a space in it: it is the plus of "+json", which was not encoded.
    artifact_type = (_first(asked, "artifactType") or "").replace(" ", "+")
    return ListReferrers(
        RepositoryName(name), Digest(text), artifact_type or None, _first(asked, "last") or None
    )


def _read_only(method: str, operation: Callable[[], Operation]) -> Operation:
    if method not in ("GET", "HEAD"):
        raise _not_allowed(method, "GET, HEAD")
    return operation()


def _not_allowed(method: str, allowed: str) -> MethodNotAllowed:
    return MethodNotAllowed(f"{method[:32]} is not supported here", headers=[("allow", allowed)])


def _page(query: str) -> Page:
    return parse_page(_parse(query))


def _parse(query: str) -> Query:
    return parse_qs(query, keep_blank_values=True) if query else {}


def _first(query: Query, key: str) -> str | None:
    values = query.get(key)
    return values[0] if values else None
