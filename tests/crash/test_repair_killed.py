"""A repair that is killed at any step, or whose disk fails, has lost nothing; the next one ends what it began."""

from __future__ import annotations

import errno
import itertools
import os
import shutil
import signal
from collections import Counter
from contextlib import suppress
from multiprocessing import get_context
from typing import TYPE_CHECKING, Any

import pytest

from cargohold.storage.layout import flat
from cargohold.types.digest import Digest
from tests.crash.calls import surrounded
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


def copy(source: Path, target: Path) -> None:
    """With its times."""
    shutil.copytree(source, target)
    for path in (source, *source.rglob("*")):
        status = path.stat()
        copied = target / path.relative_to(source)
        os.utime(copied, ns=(status.st_atime_ns, status.st_mtime_ns))
