"""Which of many names have their file: asked of the disk at each use, and once for all who ask at the same time."""

from __future__ import annotations

import asyncio
import os
from dataclasses import dataclass, field
from itertools import chain, cycle
from typing import TYPE_CHECKING, Final

from cargohold.storage.filesystem.tree import exists, is_absence

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable, Sequence

PIECE: Final = 4_096
"""So many names are looked at in one call, which takes some ten milliseconds."""


def present(folder: str, names: Sequence[str], file: str) -> list[str]:
    """Those of the names of which `<folder>/<name>/<file>` is there, in their order.

    What is looked up takes two microseconds each: most of it is the kernel's way down from the folder.
    """
    try:
        descriptor = os.open(folder, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
    except OSError as error:
        if is_absence(error):
            return []
        raise
    access = os.access
    try:
        return [
            name
            for name in names
            if access(f"{name}/{file}", os.F_OK, dir_fd=descriptor, effective_ids=True)
            or exists(f"{folder}/{name}/{file}")
        ]
    finally:
        os.close(descriptor)


@dataclass(eq=False)
class _Asker:
    answer: asyncio.Future[list[str]]
    seen: dict[int, list[str]] = field(default_factory=dict)


class Rounds:
    """Looks at long lists piece by piece, round and round, as long as somebody asks. For one event loop.

    Who comes joins a round where it is, and has the answer when the round is there again. So all that it is told was
    looked at after it came, and however many ask for a list at the same time, it is looked at no more often than for
    one. Of all lists one piece is looked at at a time: more threads would only take the interpreter from each other.
    """

    def __init__(self) -> None:
        self._askers: dict[int, list[_Asker]] = {}
        self._rounds: set[asyncio.Task[None]] = set()
        self._turn = asyncio.Lock()

    async def result(
        self, names: list[str], look: Callable[[Sequence[str]], Awaitable[list[str]]]
    ) -> list[str]:
        """What looks at all pieces of a list found, in its order. It is known by identity, and must not change.

        Raises what a look raises.
        """
        asker = _Asker(asyncio.get_running_loop().create_future())
        askers = self._askers.get(id(names))
        if askers is None:
            askers = self._askers[id(names)] = []
            task = asyncio.ensure_future(self._round(names, askers, look))
            self._rounds.add(task)
            task.add_done_callback(self._rounds.discard)
        askers.append(asker)
        try:
            return await asker.answer
        finally:
            if asker in askers:
                askers.remove(asker)

    async def _round(
        self,
        names: list[str],
        askers: list[_Asker],
        look: Callable[[Sequence[str]], Awaitable[list[str]]],
    ) -> None:
        starts = range(0, len(names), PIECE)
        try:
            for start in cycle(starts):
                async with self._turn:
                    present_askers = tuple(askers)
                    if not present_askers:
                        return
                    found = await look(names[start : start + PIECE])
                for asker in present_askers:
                    asker.seen[start] = found
                    if len(asker.seen) == len(starts) and not asker.answer.done():
                        asker.answer.set_result([*chain.from_iterable(asker.seen[each] for each in starts)])
                        askers.remove(asker)
        except Exception as error:  # noqa: BLE001 - told to those who asked
            for asker in askers:
                if not asker.answer.done():
                    asker.answer.set_exception(error)
        finally:
            del self._askers[id(names)]
            for asker in askers:
                asker.answer.cancel()
