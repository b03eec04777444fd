"""Rooms: memory that is used again when nobody looks at it any more, and not before."""

from __future__ import annotations

from cargohold.http.http1.rooms import ROOM_BYTES, Rooms


def test_a_room_is_given_again_when_no_view_is_left() -> None:
    """Of a room that is viewed, through whatever slice, another is given; the first comes back with the last view."""
    rooms = Rooms()
    first = rooms.take()
    assert len(first) == ROOM_BYTES
    view = memoryview(first)
    piece = view[5:9][1:]
    del view
    second = rooms.take()
    assert second is not first
    piece.release()
    assert rooms.take() is first
    assert len(first) == ROOM_BYTES


def test_what_is_written_stays_as_it_is_while_it_is_viewed() -> None:
    """To look whether a room is free changes nothing in it."""
    rooms = Rooms()
    view = memoryview(rooms.take())
    view[-3:] = b"end"
    for _ in range(3):
        rooms.take()
    assert bytes(view[-3:]) == b"end"
    assert len(view) == ROOM_BYTES


def test_few_rooms_are_kept() -> None:
    """However many are in use at once, eight are kept when they are not."""
    rooms = Rooms()
    views = [memoryview(rooms.take()) for _ in range(20)]
    used = {id(view.obj) for view in views}
    assert len(used) == 20
    assert len(rooms._kept) == 8
    views.clear()
    again = [memoryview(rooms.take()) for _ in range(8)]
    assert {id(view.obj) for view in again} <= used


def test_none_is_kept_where_they_are_forgotten() -> None:
    """What nobody uses goes at once, and what somebody uses goes with its last view."""
    rooms = Rooms()
    used, _ = memoryview(rooms.take()), rooms.take()
    rooms.forget()
    assert rooms._kept == []
    assert rooms.take() is not used.obj
