"""What others send: read whatever it is, and waited for no longer than is said."""

from __future__ import annotations

import threading
from typing import TYPE_CHECKING, TypeVar

import msgspec

if TYPE_CHECKING:
    from collections.abc import Callable

_Kind = TypeVar("_Kind")


def decoded(content: bytes, kind: type[_Kind]) -> _Kind:
    """The value of a kind that is written in JSON. Raises ValueError, with the reason, for whatever else it is."""
    try:
        return msgspec.json.decode(content, type=kind)
    except RecursionError:
        raise ValueError("it is nested too deeply") from None


def within(seconds: float, work: Callable[[], _Kind]) -> _Kind:
    """What `work` returns or raises. Raises TimeoutError where that takes longer, and lets the work go on alone.

    The limits of sockets are for each step of a conversation: who sends a byte now and then meets them for days.
    """
    results: list[_Kind] = []
    errors: list[BaseException] = []

    def run() -> None:
        try:
            results.append(work())
        except BaseException as error:  # noqa: BLE001 - raised where it is waited for
            errors.append(error)

    thread = threading.Thread(target=run, daemon=True)
    thread.start()
    thread.join(seconds)
    if errors:
        raise errors[0]
    if not results:
        raise TimeoutError("timed out")
    return results[0]
