"""What a power cut leaves of a tree: all that was synced, and some of the rest."""

from __future__ import annotations

from collections import defaultdict
from enum import Enum
from pathlib import Path
from typing import TYPE_CHECKING

from tests.crash.recording import ROOT, Exchanged, Linked, Moved, Resized, Synced, Written

if TYPE_CHECKING:
    import random
    from collections.abc import Iterator, Sequence

    from tests.crash.recording import Event, Place

Names = defaultdict[int, dict[str, int]]

THIS_BOOT = Path("/proc/sys/kernel/random/boot_id").read_bytes().strip()
NEXT_BOOT = b"0" * len(THIS_BOOT)


class Order(Enum):
    """What a file system promises of names that were not synced. Either way a rename is done or not, never by half."""

    KEPT = "kept"
    """All are there that were made before some moment, since the last sync of anything, and none after it."""

    FREE = "free"
    """Each may be there or not, whatever was done before it and after it."""


def leave(
    events: Sequence[Event], folders: set[int], dice: random.Random, order: Order, target: Path
) -> None:
    """Make at `target` what is left when the power is cut after these events."""
    names = _names_left(events, dice, order)
    of_files: dict[int, list[Event]] = defaultdict(list)
    for event in events:
        if isinstance(event, Written | Resized | Synced):
            of_files[event.node].append(event)
        elif isinstance(event, Linked):
            of_files[event.node] = of_files[event.file]
    waiting = [(ROOT, target)]
    while waiting:
        folder, path = waiting.pop()
        path.mkdir()
        for name, node in names[folder].items():
            if node in folders:
                waiting.append((node, path / name))
            else:
                content = _bytes_left(of_files[node], dice)
                # What was kept for one run of the machine is found in the next.
                (path / name).write_bytes(content.replace(THIS_BOOT, NEXT_BOOT))


def _names_left(events: Sequence[Event], dice: random.Random, order: Order) -> Names:
    """Of each folder, the names in it and what they stand for."""
    names: Names = defaultdict(dict)
    at: dict[int, Place] = {}
    for moves in _moves_kept(events, dice) if order is Order.KEPT else _moves_chosen(events, dice):
        for move in moves:
            before = at.pop(move.node, None)
            if before is not None:
                del names[before.folder][before.name]
        for move in moves:
            if move.target is not None:
                at.pop(names[move.target.folder].get(move.target.name, ROOT), None)
                names[move.target.folder][move.target.name] = move.node
                at[move.node] = move.target
    return names


def _moves(event: Event) -> Sequence[Moved]:
    """Those that are done at once, or not at all."""
    if isinstance(event, Exchanged):
        return event
    return (event,) if isinstance(event, Moved) else ()


def _moves_kept(events: Sequence[Event], dice: random.Random) -> Iterator[Sequence[Moved]]:
    last = max((number for number, event in enumerate(events) if isinstance(event, Synced)), default=0)
    end = dice.randint(last, len(events))
    return map(_moves, events[:end])


def _moves_chosen(events: Sequence[Event], dice: random.Random) -> list[Sequence[Moved]]:
    synced: set[int] = set()
    chance = dice.choice((0.0, 0.1, 0.5, 0.9, 1.0))
    chosen = []
    for event in reversed(events):
        if isinstance(event, Synced):
            synced.add(event.node)
        elif moves := _moves(event):
            places = (place for move in moves for place in (move.source, move.target))
            if {place.folder for place in places if place is not None} & synced or dice.random() < chance:
                chosen.append(moves)
    return chosen[::-1]


def _bytes_left(events: Sequence[Event], dice: random.Random) -> bytes:
    """What a file holds. A sync that failed leaves of what it was to write what it likes, and later ones no more."""
    content = bytearray()
    waiting: list[Written | Resized] = []
    for event in events:
        if isinstance(event, Synced):
            for change in waiting:
                _apply(content, _in_part(change, dice) if event.failed else change)
            waiting = []
        elif isinstance(event, Written | Resized):
            waiting.append(event)
    for change in waiting:
        _apply(content, _in_part(change, dice))
    return bytes(content)


def _in_part(change: Written | Resized, dice: random.Random) -> Written | Resized | None:
    """All of it, a part, zeros in its place, or nothing."""
    how = dice.choice(("whole", "part", "zeros", "nothing"))
    if how == "nothing":
        return None
    if how == "whole" or isinstance(change, Resized):
        return change
    if how == "zeros":
        return change._replace(content=bytes(len(change.content)))
    return change._replace(content=change.content[: dice.randrange(len(change.content) + 1)])


def _apply(content: bytearray, change: Written | Resized | None) -> None:
    if isinstance(change, Resized):
        content[:] = content[: change.size].ljust(change.size, b"\0")
    elif change is not None:
        end = change.offset + len(change.content)
        content[:] = content.ljust(end, b"\0")
        content[change.offset : end] = change.content
