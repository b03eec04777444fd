"""What the settings of retention and immutable tags come to in a process."""

from __future__ import annotations

import errno
import logging
from contextlib import closing
from typing import TYPE_CHECKING

import pytest

from cargohold.app.keeping import PullRecord, begin_recording, collects_untagged, retain
from cargohold.config import load
from cargohold.storage.filesystem import FilesystemStore
from cargohold.storage.filesystem.pace import Pace
from cargohold.storage.protocols import Unavailable
from cargohold.types.names import RepositoryName
from tests.storage.foreign import put

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from cargohold.config import Settings

CI, PROD = RepositoryName("ci/app"), RepositoryName("prod/app")


def with_rules(*rules: dict[str, object], **settings: object) -> Settings:
    return load({"retention": list(rules), **settings}, {})


PULLED = with_rules({"repository": "ci/**", "pulled_within": "1d"}, {"repository": "**", "newest": 3})
NEWEST = with_rules({"repository": "ci/**", "newest": 3})


@pytest.fixture
def store(tmp_path: Path) -> Iterator[FilesystemStore]:
    with closing(FilesystemStore(str(tmp_path / "data"))) as made:
        made.prepare()
        yield made


def test_who_notes_pulls(store: FilesystemStore) -> None:
    """Pulls are noted where a rule has pulled_within, and by nothing at all where none has."""
    assert PullRecord(NEWEST, store).pulls is None
    assert PullRecord(load({}, {}), store).pulls is None
    assert PullRecord(PULLED, store).pulls is not None


def test_the_record_begins_with_the_server(store: FilesystemStore) -> None:
    """A start says for which patterns pulls are noted; one without such rules says that they no longer are."""
    begin_recording(NEWEST, store)
    assert store.recording().since == {}
    begin_recording(PULLED, store)
    assert store.recording().since.keys() == {"ci/**"}
    begin_recording(NEWEST, store)
    assert store.recording().since == {}


def test_a_disk_that_is_read_only(
    store: FilesystemStore, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    """A registry that only reads starts where nothing can be written, and its log says that no pulls are noted."""

    def fail(*_: object, **__: object) -> None:
        raise OSError(errno.EROFS, "Read-only file system")

    monkeypatch.setattr("cargohold.storage.disk.open_file", fail)
    with pytest.raises(Unavailable, match="Read-only"):
        begin_recording(PULLED, store)
    rule: dict[str, object] = {"repository": "ci/**", "pulled_within": "1d"}
    with caplog.at_level(logging.WARNING):
        begin_recording(with_rules(rule, read_only=True), store)
    assert [record.getMessage() for record in caplog.records] == [
        "when manifests are pulled cannot be noted: Read-only file system"
    ]


def test_where_what_has_no_tag_is_collected() -> None:
    """Everywhere by gc.untagged, or in the repositories of rules that do not say otherwise."""
    rules = ({"repository": "ci/**", "newest": 3}, {"repository": "**", "newest": 3, "untagged": False})
    expected = ((load({}, {}), (False, False)), (with_rules(*rules), (True, False)))
    for settings, found in expected:
        collects = collects_untagged(settings)
        assert (collects(CI), collects(PROD)) == found
    everywhere = collects_untagged(with_rules(*rules, **{"gc.untagged": True}))
    assert everywhere(CI)
    assert everywhere(PROD)


def test_the_log_tells_what_retention_could_not_do(
    store: FilesystemStore, caplog: pytest.LogCaptureFixture
) -> None:
    """A repository that cannot be read is in the log of a collection, which goes on; without rules nothing is done."""
    layout = store.layout
    pace = Pace(lambda: False, 1.0)
    for tag in ("a", "b"):
        put(f"{layout.tags(CI)}/{tag}/current/link", f"sha256:{'0' * 64}".encode())
    put(f"{layout.revisions(CI)}/sha256/{'0' * 64}/link", f"sha256:{'0' * 64}".encode())
    assert retain(load({}, {}), store, pace, age=1) == 0
    with caplog.at_level(logging.WARNING):
        assert retain(with_rules({"repository": "ci/**", "newest": 1}), store, pace, age=1) == 0
    (message,) = [record.getMessage() for record in caplog.records]
    assert message.startswith(
        f"retention could not be done in ci/app: manifest sha256:{'0' * 64} cannot be read"
    )
