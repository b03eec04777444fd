"""What was deleted, as it is written down so that it can be undone: records, and the names that they are kept under.

Pure. A name tells when the deletion was and sorts by that time; none is given twice. The rest is JSON.
"""

from __future__ import annotations

import re
import secrets
import time
from datetime import UTC, datetime
from enum import Enum
from typing import TYPE_CHECKING, Any, Final

import msgspec

from cargohold.types.digest import Digest
from cargohold.types.errors import DigestInvalid, TagInvalid
from cargohold.types.names import Tag
from cargohold.types.oci import detect_media_type, referrer_of

if TYPE_CHECKING:
    from collections.abc import Sequence

_NAME: Final = re.compile(r"([0-9]{8}T[0-9]{6})\.([0-9]{9})Z-[0-9a-f]{8}(\.ended)?")
_SECONDS: Final = "%Y%m%dT%H%M%S"
_ENDED: Final = ".ended"
_BILLION: Final = 1_000_000_000


class Why(Enum):
    """Why something was deleted."""

    DELETED = "deleted"
    TAG_DELETED = "tag deleted"
    RETENTION = "retention"
    UNTAGGED = "untagged"
    SUBJECT_DELETED = "subject deleted"


class Cause(msgspec.Struct, frozen=True):
    """What brought a deletion about; `by` is the user's name, empty where there is none to be known."""

    why: Why
    by: str = ""


DELETED: Final = Cause(Why.DELETED)
TAG_DELETED: Final = Cause(Why.TAG_DELETED)


class Record(msgspec.Struct, frozen=True, kw_only=True):
    """A deletion in a repository: of a manifest with the tags that pointed to it, or (not `whole`) of tags alone.

    `when` is in seconds since the epoch. It can be undone for as long as deletions are kept, unless it is `ended`.
    `media_type`, `size` (bytes) and `subject` are those of the manifest, as far as they could be read.
    """

    name: str
    when: float
    ended: bool
    digest: Digest
    whole: bool
    tags: tuple[Tag, ...]
    cause: Cause
    media_type: str
    size: int
    subject: Digest | None

    def until(self, keep: float) -> float:
        """Until when it can be undone, where deletions are kept for `keep` seconds."""
        return until(self.when, keep, ended=self.ended)

    def encode(self) -> bytes:
        """What is kept in the file of its name."""
        return msgspec.json.encode(
            _Written(
                digest=self.digest,
                whole=self.whole,
                tags=list(self.tags),
                why=self.cause.why,
                by=self.cause.by,
                media_type=self.media_type,
                size=self.size,
                subject=self.subject,
            ),
            enc_hook=str,
        )


class Trashed(msgspec.Struct, frozen=True):
    """All that is written down of deletions in a repository, the oldest first.

    `unreadable` tells of each record that cannot be read where it is, and why not.
    """

    records: list[Record]
    unreadable: dict[str, str]


def new_record(  # noqa: PLR0913 - what a deletion is made of
    digest: Digest,
    tags: Sequence[Tag],
    cause: Cause,
    *,
    whole: bool,
    content: bytes | None,
    now: float | None = None,
) -> Record:
    """The record of a deletion that is about to be; `content` is the manifest's, None where it cannot be read."""
    when = time.time_ns() if now is None else int(now * _BILLION)
    referrer = None if content is None else referrer_of(digest, content)
    return Record(
        name=_name(when),
        when=_seconds(when),
        ended=False,
        digest=digest,
        whole=whole,
        tags=tuple(sorted(tags)),
        cause=cause,
        media_type="" if content is None else detect_media_type(content),
        size=0 if content is None else len(content),
        subject=None if referrer is None else referrer.subject,
    )


def parse_record(name: str, content: bytes) -> Record:
    """The record that a file of a record's name holds. Raises ValueError, with what is wrong."""
    try:
        written = _WRITTEN.decode(content)
    except RecursionError:
        raise ValueError("it is nested too deeply") from None
    return Record(
        name=name,
        when=time_of(name),
        ended=is_ended(name),
        digest=written.digest,
        whole=written.whole,
        tags=tuple(written.tags),
        cause=Cause(written.why, written.by),
        media_type=written.media_type,
        size=written.size,
        subject=written.subject,
    )


def is_name(text: str) -> bool:
    """Whether a record has such a name."""
    return _NAME.fullmatch(text) is not None


def time_of(name: str) -> float:
    """When the deletion was that a record of this name is of, in seconds since the epoch.

    A date that no calendar has is before all others.
    """
    seconds, rest = name.split("Z-", 1)[0].split(".")
    try:
        began = datetime.strptime(seconds, _SECONDS).replace(tzinfo=UTC)
    except ValueError:
        return 0.0
    return began.timestamp() + int(rest) / _BILLION


def is_ended(name: str) -> bool:
    """Whether what a record's name stands for cannot be undone any more, however long deletions are kept."""
    return name.endswith(_ENDED)


def until(when: float, keep: float, *, ended: bool) -> float:
    """Until when a deletion of this time can be undone."""
    return when if ended else when + keep


def ended_name(name: str) -> str:
    """The name under which a record cannot be undone any more; one from the future is of now from then on."""
    return (name if time_of(name) <= time.time() else _name(time.time_ns())) + _ENDED


class _Written(msgspec.Struct, frozen=True, kw_only=True, rename="camel"):
    digest: Digest
    whole: bool
    tags: list[Tag]
    why: Why
    by: str
    media_type: str
    size: int
    subject: Digest | None


def _read(kind: type, value: Any) -> Any:  # noqa: ANN401 - what JSON may hold
    if not isinstance(value, str):
        raise ValueError(f"a {kind.__name__.lower()} is a string")  # noqa: TRY004 - what the decoder adds the place to
    try:
        return kind(value)
    except (DigestInvalid, TagInvalid) as error:
        raise ValueError(error.message) from None


_WRITTEN: Final = msgspec.json.Decoder(_Written, dec_hook=_read)


def _name(nanoseconds: int) -> str:
    seconds, rest = divmod(nanoseconds, _BILLION)
    return f"{datetime.fromtimestamp(seconds, UTC):{_SECONDS}}.{rest:09}Z-{secrets.token_hex(4)}"


def _seconds(nanoseconds: int) -> float:
    """What `time_of` makes of the name."""
    seconds, rest = divmod(nanoseconds, _BILLION)
    return seconds + rest / _BILLION
