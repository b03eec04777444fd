"""Root at work in a storage that belongs to another user."""

from __future__ import annotations

import os
import pwd
from contextlib import contextmanager
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Iterator


@contextmanager
def acting_for_owner(path: str) -> Iterator[None]:
    """Do as the owner of a directory what root has typed.

    A server that is not root must be able to use what is made there, and must not be able to lead root elsewhere by a
    link that it has put there. So nothing is done with what root may do: the user is the owner, the group that of the
    directory, the other groups are those that the owner is in. Raises OSError where the directory is not there, or
    where this root may not act for others.
    """
    if os.geteuid() != 0:
        yield
        return
    owner, group, groups = os.lstat(path), os.getegid(), os.getgroups()
    try:
        if owner.st_uid != 0:
            os.setgroups(_groups_of(owner))
        os.setegid(owner.st_gid)
        os.seteuid(owner.st_uid)
        yield
    finally:
        os.seteuid(0)
        os.setegid(group)
        if owner.st_uid != 0:
            os.setgroups(groups)


def _groups_of(owner: os.stat_result) -> list[int]:
    """As a login of the owner has them; the directory's alone where the system knows no such user."""
    try:
        name = pwd.getpwuid(owner.st_uid).pw_name
    except KeyError:
        return [owner.st_gid]
    return os.getgrouplist(name, owner.st_gid)
