"""Kinds of the settings that say what of a repository is kept, what stays as it is, and how much it may hold."""

from collections.abc import Iterator

import msgspec

from cargohold.config.access import check_pattern
from cargohold.config.kinds import TEXT, TEXTS, Kind, Misfit, duration, size, whole
from cargohold.config.records import mapping, records, tried
from cargohold.config.section import YEAR
from cargohold.types.tag_patterns import check_tag_pattern

_NEWEST = whole(1, 1_000_000)
_WITHIN = duration(1, 100 * YEAR)
_BYTES = size(1, 2**60)


class Retention(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """Which tags are kept in some repositories: those that any of the criteria keeps."""

    repository: str
    newest: int | None = None
    tags: tuple[str, ...] = ()
    pushed_within: str | float | None = None
    pulled_within: str | float | None = None
    untagged: bool = True

    @property
    def pushed_seconds(self) -> float | None:
        """`pushed_within` in seconds."""
        return _seconds(self.pushed_within)

    @property
    def pulled_seconds(self) -> float | None:
        """`pulled_within` in seconds."""
        return _seconds(self.pulled_within)


class Immutable(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """Which tags of some repositories never move to another manifest."""

    repository: str
    tags: tuple[str, ...] = ("*",)


class Quota(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """How much some repositories may hold: all of them together, or `each` for itself."""

    repository: str
    bytes: str | int
    each: bool = False

    @property
    def size(self) -> int:
        """`bytes` as a number."""
        found: int = _BYTES.read(self.bytes)
        return found


def _seconds(written: str | float | None) -> float | None:
    found: float | None = None if written is None else _WITHIN.read(written)
    return found


def _faults_of_retention(rule: Retention) -> Iterator[Misfit]:
    yield from _faults_of_patterns(rule.repository, rule.tags)
    yield from _faults_of_value("newest", _NEWEST, rule.newest)
    yield from _faults_of_value("pushed_within", _WITHIN, rule.pushed_within)
    yield from _faults_of_value("pulled_within", _WITHIN, rule.pulled_within)
    if not rule.tags and rule.newest is rule.pushed_within is rule.pulled_within is None:
        yield Misfit(
            "it would keep no tag: write at least one of newest, tags, pushed_within and pulled_within"
        )


def _faults_of_immutable(rule: Immutable) -> Iterator[Misfit]:
    yield from _faults_of_patterns(rule.repository, rule.tags)
    if not rule.tags:
        text = "it names no tags: write patterns such as v*, or leave it out for all tags"
        yield Misfit(text, within=("tags",))


def _faults_of_quota(quota: Quota) -> Iterator[Misfit]:
    yield from tried(check_pattern, quota.repository, "repository")
    yield from _faults_of_value("bytes", _BYTES, quota.bytes)


def _faults_of_patterns(repository: str, tags: tuple[str, ...]) -> Iterator[Misfit]:
    yield from tried(check_pattern, repository, "repository")
    for number, pattern in enumerate(tags):
        yield from tried(_check_tag_pattern, pattern, "tags", number)


def _check_tag_pattern(text: str) -> None:
    try:
        check_tag_pattern(text)
    except ValueError as error:
        raise Misfit(str(error)) from None


def _faults_of_value(name: str, kind: Kind, value: object) -> Iterator[Misfit]:
    if value is not None:
        try:
            kind.read(value)
        except Misfit as misfit:
            yield Misfit(f"{name} {kind.complaint(value, misfit)}", within=(name,))


def _or_null(schema: dict[str, object]) -> dict[str, object]:
    return {"anyOf": [schema, {"type": "null"}]}


RETENTION = records(
    Retention,
    "a rule",
    '{"repository": "ci/**", "newest": 10, "tags": ["v*"], "pushed_within": "30d"}',
    _faults_of_retention,
    mapping(
        ["repository"],
        repository=TEXT,
        newest=_or_null({"type": "integer", "minimum": 1, "maximum": 1_000_000}),
        tags=TEXTS,
        pushed_within=_or_null(_WITHIN.schema),
        pulled_within=_or_null(_WITHIN.schema),
        untagged={"type": "boolean"},
    ),
)
IMMUTABLE = records(
    Immutable,
    "a rule",
    '{"repository": "prod/**", "tags": ["v*"]}',
    _faults_of_immutable,
    mapping(["repository"], repository=TEXT, tags=TEXTS),
)
QUOTAS = records(
    Quota,
    "a quota",
    '{"repository": "team/**", "bytes": "10GB", "each": false}',
    _faults_of_quota,
    mapping(["repository", "bytes"], repository=TEXT, bytes=_BYTES.schema, each={"type": "boolean"}),
)
