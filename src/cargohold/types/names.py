r"""Names: repositories, tags and references, each valid from the moment it exists, and what users may be called.

The grammars are those of the OCI Distribution Specification, "Pulling manifests", matched whole: a trailing newline
is no match.
"""

from __future__ import annotations

import re
import uuid
from typing import Self

from cargohold.types.digest import Digest
from cargohold.types.errors import BlobUploadUnknown, NameInvalid, TagInvalid

LONGEST_REPOSITORY = 255
LONGEST_USER = 255

# https://github.com/opencontainers/distribution-spec/blob/main/spec.md#pulling-manifests
_COMPONENT = r"[a-z0-9]+(?:(?:\.|_|__|-+)[a-z0-9]+)*"
_REPOSITORY = re.compile(rf"{_COMPONENT}(?:/{_COMPONENT})*")
_TAG = re.compile(r"[a-zA-Z0-9_][a-zA-Z0-9._-]{0,127}")
_UPLOAD = re.compile(r"[0-9a-f]{8}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{12}")


class RepositoryName(str):
    """The `<name>` of a repository, at most 255 characters. Raises NameInvalid."""

    __slots__ = ()

    def __new__(cls, text: str) -> Self:
        """Take the text if it is valid."""
        if len(text) > LONGEST_REPOSITORY:
            raise NameInvalid(f"a repository name has at most {LONGEST_REPOSITORY} characters")
        if _REPOSITORY.fullmatch(text) is None:
            raise NameInvalid(
                "a repository name is made of components of lower-case letters and digits, separated within by"
                " '.', '_', '__' or dashes, and from each other by '/'",
            )
        return str.__new__(cls, text)


class Tag(str):
    """A tag, at most 128 characters. Raises TagInvalid."""

    __slots__ = ()

    def __new__(cls, text: str) -> Self:
        """Take the text if it is valid."""
        if _TAG.fullmatch(text) is None:
            raise TagInvalid(
                "a tag has at most 128 letters, digits, '_', '.' and '-', and does not start with '.' or '-'",
            )
        return str.__new__(cls, text)


Reference = Tag | Digest


def parse_reference(text: str) -> Reference:
    """A digest where there is a colon, which no tag has; a tag otherwise. Raises DigestInvalid or TagInvalid."""
    return Digest(text) if ":" in text else Tag(text)


class UploadId(str):
    """The name of an upload session: a UUID in lower case. Raises BlobUploadUnknown, for no other was given out."""

    __slots__ = ()

    def __new__(cls, text: str) -> Self:
        """Take the text if it is valid."""
        if _UPLOAD.fullmatch(text) is None:
            raise BlobUploadUnknown
        return str.__new__(cls, text)

    @classmethod
    def new(cls) -> UploadId:
        """A name that no one can guess, and that was not given out before."""
        return str.__new__(cls, str(uuid.uuid4()))


def check_user_name(name: str) -> None:
    """Raises ValueError where no user can have the name, since it would not be read back from where it is written."""
    if not name:
        raise ValueError("the name is empty")
    if ":" in name:
        raise ValueError("a name holds no colon")
    if not name.isprintable():
        raise ValueError("a name holds no control characters, and of white space the space alone")
    if name.startswith("#") or name != name.strip():
        raise ValueError("a name begins with no #, and neither begins nor ends with white space")
    if len(name) > LONGEST_USER:
        raise ValueError(f"a name has at most {LONGEST_USER} characters")
