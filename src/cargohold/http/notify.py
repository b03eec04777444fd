"""What a service manager such as systemd is told of the server, where it asks for that (sd_notify(3))."""

from __future__ import annotations

import logging
import os
import socket

_log = logging.getLogger(__name__)


def notify(*lines: str) -> None:
    """Send `READY=1` and the like to $NOTIFY_SOCKET; nothing where there is none.

    That it cannot be sent is logged: the server serves all the same.
    """
    address = os.environ.get("NOTIFY_SOCKET")
    if not address:
        return
    if address.startswith("@"):
        address = "\0" + address[1:]  # in the abstract namespace
    with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM | socket.SOCK_CLOEXEC) as sender:
        try:
            sender.sendto("\n".join(lines).encode(), address)
        except OSError as error:
            _log.warning("the service manager cannot be told %s: %s", " ".join(lines), error.strerror)


def notify_stop(seconds: float) -> None:
    """Say that the server stops, and that it may take so many seconds, whatever the unit says."""
    notify("STOPPING=1", f"EXTEND_TIMEOUT_USEC={int(seconds * 1_000_000)}")


def feed_watchdog() -> None:
    """Say that the server is alive."""
    notify("WATCHDOG=1")


def watchdog_pause() -> float | None:
    """How many seconds to let pass between two calls of `feed_watchdog`: half of what is allowed.

    None where nobody asks for them, or not this process ($WATCHDOG_PID).
    """
    microseconds, pid = os.environ.get("WATCHDOG_USEC", ""), os.environ.get("WATCHDOG_PID")
    if not microseconds.isdecimal() or (pid and pid != str(os.getpid())):
        return None
    return int(microseconds) / 2_000_000 or None
