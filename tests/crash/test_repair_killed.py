"""A repair that is broken off at any step has lost nothing, and the next one ends what it began."""

from __future__ import annotations

import errno
import itertools
import json
import os
import random
import shutil
import signal
from collections import Counter
from contextlib import suppress
from multiprocessing import get_context
from typing import TYPE_CHECKING, Any

import pytest

from cargohold.storage import disk
from cargohold.storage.durable import make_folders, remove, write_all
from cargohold.storage.layout import flat
from cargohold.types.digest import Digest
from tests.crash.calls import surrounded
from tests.crash.power import Order, leave
from tests.crash.recording import Recorder
from tests.crash.repairing import repair, repair_killed
from tests.e2e.medium import folder_in_memory
from tests.storage.checking import FIRST, SECOND, TWO, A, Place, write
from tests.storage.contract.base import ONE
from tests.storage.foreign import put

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable
    from pathlib import Path

LEAST_STEPS, MOST_STEPS = 20, 1_000
TIMEOUT = 60.0


def damage(place: Place) -> None:
    """One of each: what is taken out, what is put back, what is written, and what is removed."""
    write(place.data(FIRST), b"tsrif")
    swept = f"{place.layout.swept}/{flat(Digest.of(SECOND))}"
    os.makedirs(os.path.dirname(swept))
    os.rename(os.path.dirname(place.data(SECOND)), swept)
    shutil.rmtree(os.path.dirname(place.data(A)))
    shutil.rmtree(os.path.dirname(place.layer(b"signature", TWO)))
    write(place.layer(SECOND), b"")
    os.makedirs(f"{place.layout.uploads(ONE)}/00000000-0000-4000-8000-000000000000")
    put(f"{place.layout.catalog}/no:such", b"")
    place.age()


def is_killed(root: Path, step: int) -> bool:
    """Repair in a process that is killed at this step; whether it came to that."""
    context = get_context("forkserver")
    context.set_forkserver_preload(["tests.crash.repairing"])
    process = context.Process(target=repair_killed, args=(str(root), step))
    process.start()
    process.join(TIMEOUT)
    code = process.exitcode
    process.close()
    assert code in {0, -signal.SIGKILL}
    return code != 0


def contents(root: Path) -> Counter[bytes]:
    """All that lies in the tree, in the quarantine or among what was swept, wherever it lies."""
    folders = (root / "docker", root / "cargohold/quarantine", root / "cargohold/swept")
    files = (path for folder in folders for path in folder.rglob("*") if path.name in {"data", "link"})
    return Counter(path.read_bytes() for path in files)


def shape(root: Path) -> dict[str, bytes]:
    """The tree and the quarantine, whenever a thing came there."""
    shaped = dict(_files(root / "docker"))
    for taken in (root / "cargohold/quarantine").iterdir():
        shaped |= {f"quarantined {path}": content for path, content in _files(taken / "docker")}
    return shaped


def _files(folder: Path) -> Iterable[tuple[str, bytes]]:
    for path in folder.rglob("*"):
        if path.is_file():
            yield str(path.relative_to(folder)), path.read_bytes()


@pytest.mark.parametrize("stride", [5, pytest.param(1, marks=pytest.mark.slow)])
def test_killed_at_every_step(tmp_path: Path, stride: int) -> None:
    """Whatever was in the tree is there or in the quarantine; done again, the repair ends as if never broken off."""
    with folder_in_memory(otherwise=tmp_path) as folder:
        before, after, root = folder / "before", folder / "after", folder / "broken"
        damage(Place(before))
        copy(before, after)
        repair(str(after))
        kept, repaired = contents(before), shape(after)
        left = {finding.kind for finding in repair(str(after))}
        for step in range(1, MOST_STEPS, stride):
            copy(before, root)
            if not is_killed(root, step):
                assert step > LEAST_STEPS
                break
            # But for the link that was empty, and is written.
            assert set(kept - contents(root)) <= {b""}, step
            repair(str(root))
            assert shape(root) == repaired, step
            assert {finding.kind for finding in repair(str(root))} == left, step
            shutil.rmtree(root)
        else:
            raise AssertionError(f"more than {MOST_STEPS} steps")


@pytest.mark.parametrize("stride", [23, pytest.param(1, marks=pytest.mark.slow)])
def test_every_call_fails(tmp_path: Path, stride: int) -> None:
    """A disk that fails at any call loses nothing either; what could not be done is told, and done the next time."""
    with folder_in_memory(otherwise=tmp_path) as folder:
        before, after, root = folder / "before", folder / "after", folder / "broken"
        damage(Place(before))
        copy(before, after)
        repair(str(after))
        kept, repaired = contents(before), shape(after)
        for step in range(1, MOST_STEPS, stride):
            copy(before, root)
            if not fails(root, step):
                assert step > LEAST_STEPS
                break
            assert set(kept - contents(root)) <= {b""}, step
            repair(str(root))
            assert shape(root) == repaired, step
            shutil.rmtree(root)
        else:
            raise AssertionError(f"more than {MOST_STEPS} calls")


def fails(root: Path, step: int) -> bool:
    """Repair on a disk whose n-th call fails; whether it came to that."""
    steps = itertools.count(1)
    failed = False

    def around(_name: str, call: Callable[..., Any], /, *arguments: Any, **named: Any) -> Any:
        nonlocal failed
        if next(steps) == step:
            failed = True
            raise OSError(errno.EIO, os.strerror(errno.EIO))
        return call(*arguments, **named)

    with surrounded(around), suppress(OSError):
        repair(str(root))
    return failed


def damage_on_record(place: Place) -> None:
    """As `damage`, by calls that a log is kept of; that, and all that was there, is durable."""
    swept = f"{place.layout.swept}/{flat(Digest.of(SECOND))}"
    make_folders(place.layout.swept)
    disk.rename(os.path.dirname(place.data(SECOND)), swept)
    gone = [os.path.dirname(path) for path in (place.data(A), place.layer(b"signature", TWO))]
    for folder in gone:
        remove(folder)
    for path, content in ((place.data(FIRST), b"tsrif"), (place.layer(SECOND), b"")):
        descriptor = disk.open_file(path, is_new=False)
        disk.truncate(descriptor, 0)
        write_all(descriptor, content)
        disk.sync_file(descriptor)
        os.close(descriptor)
    for folder, _, _ in os.walk(place.layout.root):
        disk.sync_folder(folder)
    place.age()


@pytest.mark.parametrize("cuts", [150, pytest.param(3_000, marks=pytest.mark.slow)])
def test_power_cuts(tmp_path: Path, cuts: int) -> None:
    """At any moment of a repair the power may go: what was in the tree is there, or in the quarantine with the reason.

    Whatever of the names was written down, and in whatever order.
    """
    with folder_in_memory(otherwise=tmp_path) as folder:
        root, left, dice = folder / "root", folder / "left", random.Random(0)
        root.mkdir()
        recorder = Recorder(str(root))
        with surrounded(recorder.around):
            damage_on_record(Place(root))
            kept, began = contents(root), len(recorder.events)
            repair(str(root))
        for number in range(cuts):
            moment, order = dice.randint(began, len(recorder.events)), dice.choice(list(Order))
            leave(recorder.events[:moment], recorder.folders, dice, order, left)
            assert set(kept - contents(left)) <= {b""}, (number, moment, order)
            assert unexplained(left) == [], (number, moment, order)
            shutil.rmtree(left)


def unexplained(root: Path) -> list[str]:
    """What lies in a quarantine and is not in its list."""
    found = []
    for taken in (root / "cargohold").glob("quarantine/*"):
        lines = (taken / "list.jsonl").read_text().splitlines() if (taken / "list.jsonl").exists() else []
        places = [json.loads(line)["path"] for line in lines if line.endswith("}")]
        files = (str(path.relative_to(taken)) for path in (taken / "docker").rglob("*") if path.is_file())
        found += [path for path in files if not any(path.startswith(f"{place}/") for place in places)]
    return found


def copy(source: Path, target: Path) -> None:
    """With its times."""
    shutil.copytree(source, target)
    for path in (source, *source.rglob("*")):
        status = path.stat()
        copied = target / path.relative_to(source)
        os.utime(copied, ns=(status.st_atime_ns, status.st_mtime_ns))
