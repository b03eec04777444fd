"""Memory for large bodies: what arrives in it is hashed and written from it, without being copied."""

from __future__ import annotations

from typing import Final

ROOM_BYTES: Final = 1024 * 1024
_KEPT: Final = 8


class Rooms:
    """Pieces of memory of ROOM_BYTES, eight of which are kept and used again: the first of them most of all.

    One that the processor's own memory still holds takes half the time of one that it does not.
    """

    def __init__(self) -> None:
        self._kept: list[bytearray] = []

    def take(self) -> bytearray:
        """One of which nobody has a view any more; what is in it is of others."""
        for room in self._kept:
            if _is_free(room):
                return room
        room = bytearray(ROOM_BYTES)
        if len(self._kept) < _KEPT:
            self._kept.append(room)
        return room

    def forget(self) -> None:
        """Keep none: what is still in use goes when nobody uses it any more."""
        self._kept.clear()


def _is_free(room: bytearray) -> bool:
    """Whether there is no view of it: as long as there is one, it refuses to become shorter."""
    try:
        last = room.pop()
    except BufferError:
        return False
    room.append(last)
    return True
