"""Changing a file that others read meanwhile, and that several may want to change at once."""

from __future__ import annotations

import os
import time
from contextlib import contextmanager, suppress
from typing import TYPE_CHECKING

from cargohold.storage.durable import write_all
from cargohold.storage.locks import Busy, locked

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

LOCK_SECONDS = 10.0
_NEW_MODE = 0o600
_ASIDE = ".cargohold-new"


def rewrite(path: str, edit: Callable[[], bytes]) -> None:
    """Put what `edit` gives in the place of a file, atomically and durably; links to it stay links.

    Mode and owner stay as they were; a new file has the mode 0600. `edit` runs under a lock that whoever changes a
    file of that folder in this way takes. Whoever is killed while doing this may leave a file beside the target, which
    the next removes. Raises OSError, TimeoutError where the lock is held for LOCK_SECONDS.
    """
    target = os.path.realpath(path)
    folder = os.path.dirname(target)
    descriptor = os.open(folder, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
    try:
        with locked(descriptor, time.monotonic() + LOCK_SECONDS):
            content = edit()
            with _aside(target) as (aside, file):
                write_all(file, content)
                os.fsync(file)
                os.rename(aside, target)
            os.fsync(descriptor)
    except Busy:
        raise TimeoutError(0, "another program is changing it; try again") from None
    finally:
        os.close(descriptor)


@contextmanager
def _aside(target: str) -> Iterator[tuple[str, int]]:
    """A new file beside the target, with its mode and owner; it is removed where it was not renamed."""
    aside = f"{target}{_ASIDE}"
    with suppress(FileNotFoundError):
        os.unlink(aside)
    descriptor = os.open(aside, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC, _NEW_MODE)
    try:
        with suppress(FileNotFoundError):
            before, made = os.stat(target), os.fstat(descriptor)
            if (before.st_uid, before.st_gid) != (made.st_uid, made.st_gid):
                os.fchown(descriptor, before.st_uid, before.st_gid)
            os.fchmod(descriptor, before.st_mode & 0o7777)
        yield aside, descriptor
    finally:
        os.close(descriptor)
        with suppress(FileNotFoundError):
            os.unlink(aside)
