"""The calls that change the tree, with something done around each of them.

Syncs of several files and folders at a time are made one after the other then: they end in any order.
"""

from __future__ import annotations

import itertools
import os
import signal
from contextlib import contextmanager
from functools import partial
from typing import TYPE_CHECKING, Any, Protocol

from cargohold.storage import disk

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Iterator, Sequence

    from cargohold.storage.together import Several


class Around(Protocol):
    """Makes a call of `cargohold.storage.disk`, or not; it is given the call's name and the call itself."""

    def __call__(self, name: str, call: Callable[..., Any], /, *arguments: Any, **named: Any) -> Any: ...


def surround(around: Around) -> None:
    """Have every call that changes the tree made by `around` from now on."""
    for name in disk.CALLS:
        setattr(disk, name, partial(around, name, getattr(disk, name)))
    disk.sync_all = _sync_one_by_one


@contextmanager
def surrounded(around: Around) -> Iterator[None]:
    """As `surround`, until the end of the block."""
    before = {name: getattr(disk, name) for name in (*disk.CALLS, "sync_all")}
    surround(around)
    try:
        yield
    finally:
        for name, call in before.items():
            setattr(disk, name, call)


def _sync_one_by_one(
    files: Sequence[int],
    folders: Iterable[str],
    several: Several,  # noqa: ARG001 - as is the real one
    *,
    are_small: bool = True,  # noqa: ARG001
) -> None:
    errors: list[OSError] = []
    for descriptor in files:
        try:
            disk.sync_file(descriptor)
        except OSError as error:
            errors.append(error)
    for folder in folders:
        try:
            disk.sync_folder(folder)
        except FileNotFoundError:
            continue
        except OSError as error:
            errors.append(error)
    if errors:
        raise errors[0]


def die_at(step: int) -> None:
    """Have this process killed just before its n-th call that changes the tree."""
    steps = itertools.count(1)

    def around(_name: str, call: Callable[..., Any], /, *arguments: Any, **named: Any) -> Any:
        if next(steps) == step:
            os.kill(os.getpid(), signal.SIGKILL)
        return call(*arguments, **named)

    surround(around)
