"""Records of deletions: what is written down is what is read, and whatever else is there is told apart."""

from __future__ import annotations

import json
import time

import pytest

from cargohold.storage.trash import (
    DELETED,
    Cause,
    Why,
    ended_name,
    is_ended,
    is_name,
    new_record,
    parse_record,
    time_of,
)
from cargohold.types.digest import Algorithm, Digest
from cargohold.types.names import Tag

from .contract.base import IMAGE, LATEST, sample

SUBJECT = sample("subject")
REFERRER = sample("referrer", subject=SUBJECT.digest, algorithm=Algorithm.SHA512)
NAME = "20260131T120000.123456789Z-01234567"
DAY = 86400.0


def written(**changes: object) -> bytes:
    """A record as JSON, with changes; None leaves a field out."""
    fields: dict[str, object] = {
        "digest": SUBJECT.digest,
        "whole": True,
        "tags": ["latest"],
        "why": "deleted",
        "by": "ann",
        "mediaType": IMAGE,
        "size": 3,
        "subject": None,
    }
    return json.dumps(
        {key: value for key, value in (fields | changes).items() if value != "left out"}
    ).encode()


@pytest.mark.parametrize("why", Why)
@pytest.mark.parametrize("tags", [(), (LATEST,), (Tag("a"), Tag("b"))])
def test_read_as_written(why: Why, tags: tuple[Tag, ...]) -> None:
    """A record is read as it was written, with what its manifest says of itself."""
    content = REFERRER.manifest.content
    record = new_record(REFERRER.digest, tags, Cause(why, "ann"), whole=True, content=content)
    assert parse_record(record.name, record.encode()) == record
    assert (record.media_type, record.size, record.subject) == (IMAGE, len(content), SUBJECT.digest)
    assert abs(record.when - time.time()) < 60
    assert not record.ended


def test_of_what_cannot_be_read() -> None:
    """A manifest whose bytes are damaged or gone has a record too, which says nothing of them."""
    record = new_record(SUBJECT.digest, [], DELETED, whole=False, content=None)
    assert (record.media_type, record.size, record.subject) == ("", 0, None)
    assert parse_record(record.name, record.encode()) == record


def test_names_sort_by_time_and_differ() -> None:
    """Names sort as the deletions came, and two of one moment have two names."""
    times = [0.0, 1.5, 999_999_999.999, 1_000_000_000.0, 1_800_000_000.25, 1_800_000_000.5, 250_000_000_000.0]
    records = [new_record(SUBJECT.digest, [], DELETED, whole=True, content=None, now=each) for each in times]
    assert [record.when for record in records] == pytest.approx(times)
    names = [record.name for record in records]
    assert names == sorted(names)
    again = new_record(SUBJECT.digest, [], DELETED, whole=True, content=None, now=times[1])
    assert again.name != names[1]


def test_until() -> None:
    """It can be undone for as long as deletions are kept; one that is ended, no longer."""
    record = parse_record(NAME, written())
    assert record.until(DAY) == record.when + DAY
    ended = parse_record(ended_name(NAME), written())
    assert ended.ended
    assert ended.until(DAY) == ended.when == record.when


def test_ended_names() -> None:
    """The name of a record that is ended keeps its time; one from the future is of now."""
    assert is_name(ended_name(NAME))
    assert is_ended(ended_name(NAME))
    assert time_of(ended_name(NAME)) == time_of(NAME)
    assert abs(time_of(ended_name("29990131T120000.123456789Z-01234567")) - time.time()) < 60


@pytest.mark.parametrize(
    "name",
    [
        "",
        "rubbish",
        f"{NAME}\n",
        f".{NAME}",
        f"{NAME}.json",
        NAME.replace("Z", ""),
        NAME[:-1],
        f"{NAME}.ended.ended",
    ],
)
def test_other_names(name: str) -> None:
    """What is not named as a record is none."""
    assert is_name(NAME)
    assert not is_name(name)


def test_date_of_no_calendar() -> None:
    """A date that there is not is before all others, so that such a record does not stay for ever."""
    assert time_of(NAME.replace("0131", "0231")) == 0.0


@pytest.mark.parametrize(
    ("content", "reason"),
    [
        (b"", "truncated"),
        (b"rubbish", "JSON"),
        (b"null", "object"),
        (written()[:-20], "truncated"),
        (b'{"x":' * 100_000, "truncated|too deeply"),
        (written(digest="left out"), "digest"),
        (written(digest="sha256:0"), "64 hexadecimal"),
        (written(digest=1), "a digest is a string"),
        (written(tags=[".."]), "a tag has at most"),
        (written(tags=["../../x"]), "a tag has at most"),
        (written(tags="latest"), "tags"),
        (written(why="for fun"), "why"),
        (written(size="1"), "size"),
        (written(subject="../x"), "algorithm:hex"),
    ],
)
def test_hostile_content(content: bytes, reason: str) -> None:
    """What is no record is refused, with what is wrong; none of it comes so far as to be taken for a name."""
    with pytest.raises(ValueError, match=reason):
        parse_record(NAME, content)


def test_fields_of_later_versions() -> None:
    """Fields that are not known yet are passed over."""
    assert parse_record(NAME, written(more={"a": [1]})).tags == (LATEST,)


def test_keeps_digest_type() -> None:
    """What was read can be used as what it is."""
    record = parse_record(NAME, written(subject=REFERRER.digest))
    assert isinstance(record.digest, Digest)
    assert isinstance(record.subject, Digest)
    assert isinstance(record.tags[0], Tag)
