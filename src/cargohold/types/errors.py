"""What can go wrong between a client and the registry: the table of codes, as a tree of exceptions.

Each class carries its row of the table: the code of the OCI Distribution Specification ("Error Codes"), the HTTP
status, and the message that a client sees unless the place that raises says something more exact. ::

    RegistryError
    ├── NameInvalid            NAME_INVALID               400
    ├── NameUnknown            NAME_UNKNOWN               404
    ├── DigestInvalid          DIGEST_INVALID             400
    ├── ManifestInvalid        MANIFEST_INVALID           400
    │   └── TagInvalid         MANIFEST_INVALID           400
    ├── ManifestUnknown        MANIFEST_UNKNOWN           404
    │   └── NotAcceptable      MANIFEST_UNKNOWN           406
    ├── ManifestBlobUnknown    MANIFEST_BLOB_UNKNOWN      404
    ├── BlobUnknown            BLOB_UNKNOWN               404
    ├── BlobUploadInvalid      BLOB_UPLOAD_INVALID        400
    │   └── UploadRangeInvalid BLOB_UPLOAD_INVALID        416
    ├── BlobUploadUnknown      BLOB_UPLOAD_UNKNOWN        404
    ├── SizeInvalid            SIZE_INVALID               400
    │   ├── TooLarge           SIZE_INVALID               413
    │   └── RangeInvalid       SIZE_INVALID               416
    ├── PaginationInvalid      PAGINATION_NUMBER_INVALID  400
    ├── Unsupported            UNSUPPORTED                400
    │   ├── EndpointUnknown    UNSUPPORTED                404
    │   ├── MethodNotAllowed   UNSUPPORTED                405
    │   ├── BodyTimeout        UNSUPPORTED                408
    │   ├── AddressTooLong     UNSUPPORTED                414
    │   └── HeadersTooLarge    UNSUPPORTED                431
    ├── Unauthorized           UNAUTHORIZED               401
    ├── Denied                 DENIED                     403
    ├── TooManyRequests        TOOMANYREQUESTS            429
    └── Unavailable            UNAVAILABLE                503
        └── StorageFull        UNAVAILABLE                507

Raised anywhere above storage; turned into an answer in one place, the errors middleware.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, ClassVar

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence

    from cargohold.types.digest import Digest

Headers = list[tuple[str, str]]


class RegistryError(Exception):
    """An answer other than success, with its code, status and message.

    `message` replaces the class's own; `detail` is any JSON value that helps the client (default: absent);
    `headers` are sent with the answer.
    """

    code: ClassVar[str] = "UNKNOWN"
    status: ClassVar[int] = 500
    message: str = "the registry failed to answer; its log says why"

    def __init__(
        self, message: str | None = None, *, detail: object = None, headers: Iterable[tuple[str, str]] = ()
    ) -> None:
        if message is not None:
            self.message = message
        self.detail = detail
        self.headers: Headers = list(headers)
        super().__init__(self.message)

    def entries(self) -> list[dict[str, object]]:
        """The members of `errors` in the answer's body, at least one."""
        return [self._entry(self.detail)]

    def _entry(self, detail: object) -> dict[str, object]:
        entry: dict[str, object] = {"code": self.code, "message": self.message}
        if detail is not None:
            entry["detail"] = detail
        return entry


class NameInvalid(RegistryError):
    """The repository's name does not match the grammar, or is longer than 255 characters."""

    code = "NAME_INVALID"
    status = 400
    message = "invalid repository name"


class NameUnknown(RegistryError):
    """The repository holds no manifest."""

    code = "NAME_UNKNOWN"
    status = 404
    message = "repository name not known to registry"


class DigestInvalid(RegistryError):
    """A digest that is malformed, of an algorithm we do not know, or not that of the content sent."""

    code = "DIGEST_INVALID"
    status = 400
    message = "provided digest did not match uploaded content"


class ManifestInvalid(RegistryError):
    """A manifest that is not what its type demands."""

    code = "MANIFEST_INVALID"
    status = 400
    message = "manifest invalid"


class TagInvalid(ManifestInvalid):
    """A tag that does not match the grammar, where it would be written; where it is read it is merely unknown."""


class ManifestUnknown(RegistryError):
    """No such manifest, or no such tag, in the repository."""

    code = "MANIFEST_UNKNOWN"
    status = 404
    message = "manifest unknown to registry"


class NotAcceptable(ManifestUnknown):
    """The manifest is there, in none of the types that the client accepts."""

    status = 406


class ManifestBlobUnknown(RegistryError):
    """The manifest references content that its repository does not hold: one entry for each digest."""

    code = "MANIFEST_BLOB_UNKNOWN"
    status = 404
    message = "blob unknown to registry"

    def __init__(self, digests: Sequence[Digest]) -> None:
        super().__init__()
        self.digests = digests

    def entries(self) -> list[dict[str, object]]:
        """One entry for each missing digest."""
        return [self._entry({"digest": digest}) for digest in self.digests]


class BlobUnknown(RegistryError):
    """The repository does not hold the blob."""

    code = "BLOB_UNKNOWN"
    status = 404
    message = "blob unknown to registry"


class BlobUploadInvalid(RegistryError):
    """An upload request that cannot be understood or carried out."""

    code = "BLOB_UPLOAD_INVALID"
    status = 400
    message = "blob upload invalid"


class UploadRangeInvalid(BlobUploadInvalid):
    """A chunk that does not start where the upload session ends; the session stays usable."""

    status = 416
    message = "the chunk does not start where the upload session ends"


class BlobUploadUnknown(RegistryError):
    """No such upload session: it was never started here, is finished, was cancelled or has expired."""

    code = "BLOB_UPLOAD_UNKNOWN"
    status = 404
    message = "blob upload unknown to registry"


class SizeInvalid(RegistryError):
    """The body's length is not the length that was announced."""

    code = "SIZE_INVALID"
    status = 400
    message = "provided length did not match content length"


class TooLarge(SizeInvalid):
    """The body is longer than the registry takes."""

    status = 413


class RangeInvalid(SizeInvalid):
    """A requested range of bytes that the blob does not have."""

    status = 416
    message = "requested range not satisfiable"


class PaginationInvalid(RegistryError):
    """`n` is not a number of 0 or more."""

    code = "PAGINATION_NUMBER_INVALID"
    status = 400
    message = "n must be a whole number, 0 or more"


class Unsupported(RegistryError):
    """Understood, and not done here."""

    code = "UNSUPPORTED"
    status = 400
    message = "the operation is unsupported"


class EndpointUnknown(Unsupported):
    """No endpoint of this address."""

    status = 404
    message = "no such endpoint"


class MethodNotAllowed(Unsupported):
    """The endpoint exists, but not for this method, or the method is switched off."""

    status = 405
    message = "the method is not supported here"


class BodyTimeout(Unsupported):
    """The client sent nothing of its body for too long, or takes too long over the whole of it."""

    status = 408
    message = "the request's body stalled"


class AddressTooLong(Unsupported):
    """The path and query are longer than the registry takes."""

    status = 414
    message = "the request's address is too long"


class HeadersTooLarge(Unsupported):
    """The headers are larger than the registry takes."""

    status = 431
    message = "the request's headers are too large"


class Unauthorized(RegistryError):
    """No login, one that is not valid, or a token that does not reach so far; the answer bears a challenge."""

    code = "UNAUTHORIZED"
    status = 401
    message = "authentication required"


class Denied(RegistryError):
    """Who asks is known, and may not do it."""

    code = "DENIED"
    status = 403
    message = "requested access to the resource is denied"


class TooManyRequests(RegistryError):
    """More requests, or more failed logins, than the limits let through; the answer says when to try again."""

    code = "TOOMANYREQUESTS"
    status = 429
    message = "too many requests"


class Unavailable(RegistryError):
    """Our own fault, or our storage's, and perhaps over soon."""

    code = "UNAVAILABLE"
    status = 503
    message = "the registry's storage is unavailable; try again later"


class StorageFull(Unavailable):
    """The storage has no room left; what it holds can still be pulled."""

    status = 507
    message = "the registry's storage is full; what it holds can still be pulled"
