"""The hash of an upload session so far, kept beside it, so that no byte is hashed twice.

The state is worth something only while the bytes that it was made from are surely in the file: within one run of the
machine. After a power cut the file may have lost what the state remembers, so a state names the boot that it is of.
A state that is missing, of another boot, or of another build of the hash costs a reading of the file, and no more.
"""

from __future__ import annotations

import os

from cargohold.storage.boot import boot_id
from cargohold.storage.durable import remove, replace_unsynced
from cargohold.types.digest import Algorithm, Digest, Hasher

_PIECE = 1 << 20


def save_hasher(path: str, hasher: Hasher) -> None:
    """Keep a hasher's state; not synced, for it is worth nothing after a power cut."""
    state = hasher.save()
    if state is None and hasher.length:
        remove(path)
        return
    head = b"%s %s %d\n" % (boot_id().encode(), hasher.algorithm.value.encode(), hasher.length)
    replace_unsynced(path, head + (state or b""))


def load_hasher(path: str) -> Hasher | None:
    """The hasher that was kept; None where there is none that this process can take up."""
    try:
        with open(path, "rb", buffering=0) as file:
            head, _, state = file.read().partition(b"\n")
    except OSError:
        return None
    fields = head.split(b" ")
    if len(fields) != 3:  # noqa: PLR2004 - the three fields that save_hasher writes
        return None
    boot, name, length = fields
    try:
        algorithm, count = Algorithm(name.decode()), int(length)
    except ValueError:
        return None
    if count == 0:
        return Hasher(algorithm)
    return Hasher.restore(algorithm, count, state) if boot == boot_id().encode() else None


def hash_from(descriptor: int, size: int, algorithm: Algorithm, hasher: Hasher | None) -> Digest:
    """The digest of a file's first `size` bytes, going on from where a hasher stands if it is of this algorithm."""
    if hasher is None or hasher.algorithm is not algorithm or hasher.length > size:
        hasher = Hasher(algorithm)
    advance(hasher, descriptor, size)
    return hasher.digest()


def advance(hasher: Hasher, descriptor: int, size: int) -> None:
    """Take in the file's bytes from where the hasher stands up to `size`. Raises OSError where the file is shorter."""
    while hasher.length < size:
        piece = os.pread(descriptor, min(_PIECE, size - hasher.length), hasher.length)
        if not piece:
            raise OSError(0, "a file is shorter than it was")
        hasher.update(piece)
