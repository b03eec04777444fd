"""The page about garbage collection says what is so."""

from __future__ import annotations

import logging
from typing import TYPE_CHECKING

import yaml

from cargohold.app import collecting
from cargohold.config import load
from cargohold.config.settings import SETTINGS
from cargohold.registry.gc import Report
from cargohold.storage.filesystem import FilesystemStore
from tests.docs.blocks import blocks_of, text_of
from tests.docs.session import Session
from tests.interop.peer import Peer
from tests.storage.collecting import make_old

if TYPE_CHECKING:
    from pathlib import Path

    import pytest

PAGE = "gc.md"


def test_what_is_typed(tmp_path: Path) -> None:
    """Each command prints what stands below it, on a registry with a layer of a push that was given up long ago."""
    (tmp_path / "registry.yaml").write_text("storage: {path: data}\n")
    with Session(tmp_path, {"TERM": "dumb"}) as session:  # for the bar of a run that takes its time
        session.serve("cargohold serve --config registry.yaml")
        with Peer(f"http://127.0.0.1:{session.port}") as peer:
            peer.push("team/web", "1.0", text="web")
            peer.push_blob("team/app", bytes(2**20))
        make_old(FilesystemStore(str(tmp_path / "data")))
        assert session.type_page(PAGE) == 2


def test_the_defaults() -> None:
    """The settings that the page begins with are the defaults, and are taken."""
    (block,) = blocks_of(PAGE, "yaml")
    shown = yaml.safe_load(block.text)["gc"]
    for name, value in shown.items():
        setting = SETTINGS[f"gc.{name}"]
        assert setting.kind.read(value) == setting.value
    assert load({f"gc.{name}": value for name, value in shown.items()}, {}) == load({}, {})


def test_what_is_logged(caplog: pytest.LogCaptureFixture) -> None:
    """The line of the log that the page shows is what is written of such a run."""
    report = Report(
        started=0.0,
        is_dry=False,
        ended=True,
        seconds=4.2,
        repositories=120,
        manifests=2,
        links=14,
        blobs=9,
        collected_bytes=700 * 2**20,
    )
    with caplog.at_level(logging.INFO):
        collecting._tell(report)
    assert f"\n{caplog.records[0].getMessage()}\n" in text_of(PAGE)
