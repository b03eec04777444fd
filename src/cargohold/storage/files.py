"""Reading files that somebody names: nobody waits for a pipe, and no endless file fills the memory."""

from __future__ import annotations

import errno
import os
import stat

MOST_BYTES = 16 * 2**20


def read_whole(path: str, most: int = MOST_BYTES) -> tuple[bytes, os.stat_result]:
    """The file's content, and what the file was when it was opened.

    Raises OSError, and ValueError where it is no regular file or larger than `most` bytes. A pipe to which nobody
    writes is told of at once.
    """
    descriptor = os.open(path, os.O_RDONLY | os.O_CLOEXEC | os.O_NONBLOCK)
    try:
        found = os.fstat(descriptor)
        if stat.S_ISDIR(found.st_mode):
            raise IsADirectoryError(errno.EISDIR, os.strerror(errno.EISDIR), path)
        if not stat.S_ISREG(found.st_mode):
            raise ValueError("it is no regular file")
        with open(descriptor, "rb", closefd=False) as file:
            content = file.read(most + 1)
    finally:
        os.close(descriptor)
    if len(content) > most:
        raise ValueError(f"it is larger than {most // 2**20} MiB")
    return content, found
