"""The page about checking and repair: its commands do what it says, and it names all that can be found."""

from __future__ import annotations

import asyncio
import os
import re
import shutil
import subprocess
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from cargohold.storage.filesystem.checking.findings import Kind
from tests.cli.test_command import CLEAN, SCRIPT
from tests.docs.blocks import blocks_of, text_of
from tests.storage.checking import FIRST, SECOND, TWO, Place, write
from tests.storage.contract.base import ONE

if TYPE_CHECKING:
    from subprocess import CompletedProcess


@pytest.fixture
def place(tmp_path: Path) -> Place:
    """The storage of the page, as `./data`: it has one repository."""
    made = Place(tmp_path / "data")
    shutil.rmtree(made.layout.repository(ONE))
    os.unlink(made.layout.catalog_mark(ONE))
    return made


def typed(command: str, folder: Path) -> CompletedProcess[str]:
    environ = CLEAN | {"PATH": f"{Path(SCRIPT).parent}:{CLEAN['PATH']}"}
    return subprocess.run(
        ["sh", "-c", command],
        cwd=folder,
        env=environ,
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )


def block(begins: str) -> str:
    (found,) = (each for each in blocks_of("fsck.md") if each.first.startswith(begins))
    return found.text


def test_what_is_printed(place: Place) -> None:
    """The example prints what it shows; its lines come in any order."""
    write(place.data(FIRST), b"tsrif")
    shutil.rmtree(os.path.dirname(place.layer(SECOND, TWO)))
    command, _, expected = block("cargohold fsck --verify-content").removeprefix("$ ").partition("\n")
    with place.opened() as store:
        asyncio.run(store.recount(0.0))
    ran = typed(command, place.root.parent)
    assert (ran.returncode, ran.stderr) == (1, "")
    assert sorted(ran.stdout.splitlines()) == sorted(expected.splitlines())


def test_from_cron(place: Place) -> None:
    """Nothing is printed as long as nothing is wrong; what is wrong is."""
    command = block("cargohold fsck --quiet").replace("/srv/registry", str(place.root))
    with place.opened() as store:
        asyncio.run(store.recount(0.0))
    ran = typed(command, place.root)
    assert (ran.returncode, ran.stdout, ran.stderr) == (0, "", "")
    write(place.data(FIRST), b"tsrif")
    ran = typed(command, place.root)
    assert ran.returncode == 1
    assert ran.stdout.startswith("lost ")


def test_putting_back(place: Place) -> None:
    """What one repair took out is where it was."""
    write(place.data(FIRST), b"tsrif")
    assert (
        typed(f"cargohold fsck --repair --verify-content --storage-path {place.root}", place.root).returncode
        == 1
    )
    assert not os.path.exists(place.data(FIRST))
    (taken,) = (place.root / "cargohold/quarantine").iterdir()
    command = block("cp -a").replace("20260131T120000.000000Z", taken.name)
    assert typed(command, place.root).returncode == 0
    assert Path(place.data(FIRST)).read_bytes() == b"tsrif"


def test_all_that_can_be_found() -> None:
    """Every kind of finding has its place in the table."""
    rows = re.findall(r"^\| (`[^|]*`) \|", text_of("fsck.md"), re.MULTILINE)
    named = [name for row in rows for name in re.findall(r"`([a-z-]+)`", row)]
    severities = {"lost", "damaged", "harmless"}
    assert sorted(set(named) - severities) == sorted(kind.value for kind in Kind)
