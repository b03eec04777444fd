"""Root at work in a storage that belongs to another user."""

from __future__ import annotations

import os
from contextlib import contextmanager
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Iterator


@contextmanager
def acting_for_owner(path: str) -> Iterator[None]:
    """Do as the owner of a directory what root has typed.

    A server that is not root must be able to use what is made there, and must not be able to lead root elsewhere by a
    link that it has put there. Raises OSError where the directory is not there.
    """
    if os.geteuid() != 0:
        yield
        return
    owner, group = os.lstat(path), os.getegid()
    os.setegid(owner.st_gid)
    os.seteuid(owner.st_uid)
    try:
        yield
    finally:
        os.seteuid(0)
        os.setegid(group)
