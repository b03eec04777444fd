"""Public keys in files, which are read again when they change."""

from __future__ import annotations

import logging
import os
import time
from typing import TYPE_CHECKING

from cargohold.auth.jwks import Keys, parse_jwks, parse_pem
from cargohold.storage.files import read_whole

if TYPE_CHECKING:
    from collections.abc import Callable

    from cargohold.auth.jwks import PublicKey

LOOK_SECONDS = 1.0
LONGEST_BYTES = 1 << 20

# A file that is younger than the step of the file system's clock may change again and keep its time.
_SETTLED_SECONDS = 2.0

_log = logging.getLogger(__name__)


class KeyFile:
    """A `KeySource` that is a file.

    It is looked at no more than once a second. A change that cannot be read is logged, and the keys from before stay.

    Raises ValueError, with a message for people, where it cannot be read at first. With `later`, for a worker that
    comes after others, the log says it instead, and there are no keys until it can.
    """

    def __init__(
        self,
        path: str,
        parse: Callable[[bytes], Keys],
        *,
        later: bool = False,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self._path = path
        self._parse = parse
        self._clock = clock
        self._version = 0
        self._complaint = ""
        self._seen: object = None
        self._next_look = clock() + LOOK_SECONDS
        self._content, self._keys = b"", Keys()
        try:
            content = self._read()
            self._keys, self._content = self._parsed(content), content
        except ValueError as error:
            if not later:
                raise
            self._complain(error)

    async def find(self, kid: str | None) -> tuple[PublicKey, ...]:
        """See `KeySource`."""
        self._look()
        return self._keys.named(kid)

    def version(self) -> int:
        """See `KeySource`."""
        self._look()
        return self._version

    def _look(self) -> None:
        now = self._clock()
        if now < self._next_look:
            return
        self._next_look = now + LOOK_SECONDS
        try:
            if self._seen == self._stamp():
                return
            content = self._read()
            if content != self._content:
                self._keys, self._content = self._parsed(content), content
                self._version += 1
                _log.info("%s has changed: its keys are in use", self._path)
            self._complaint = ""
        except ValueError as error:
            self._complain(error)

    def _complain(self, error: ValueError) -> None:
        if str(error) != self._complaint:
            self._complaint = str(error)
            _log.warning("%s; the keys from before stay in use", error)

    def _stamp(self) -> object:
        """What tells whether the file has changed. Raises ValueError where it cannot be looked at."""
        try:
            return _stamp(os.stat(self._path))
        except OSError as error:
            raise ValueError(f"{self._path}: {error.strerror}") from None

    def _read(self) -> bytes:
        try:
            content, found = read_whole(self._path, LONGEST_BYTES)
        except OSError as error:
            raise ValueError(f"{self._path}: {error.strerror}") from None
        except ValueError as error:
            raise ValueError(f"{self._path}: {error}") from None
        self._seen = _stamp(found)
        return content

    def _parsed(self, content: bytes) -> Keys:
        try:
            keys = self._parse(content)
        except ValueError as error:
            raise ValueError(f"{self._path}: {error}") from None
        if not keys:
            raise ValueError(f"{self._path} has no key that verifies signatures")
        return keys


class PemKeys(KeyFile):
    """The public keys and certificates of a PEM file."""

    def __init__(
        self, path: str, *, later: bool = False, clock: Callable[[], float] = time.monotonic
    ) -> None:
        super().__init__(path, parse_pem, later=later, clock=clock)


class JwksFile(KeyFile):
    """The keys of a file that is a JWK set."""

    def __init__(
        self, path: str, *, later: bool = False, clock: Callable[[], float] = time.monotonic
    ) -> None:
        super().__init__(path, parse_jwks, later=later, clock=clock)


def _stamp(found: os.stat_result) -> object:
    """What differs once a file has been changed or replaced; of one that was changed just now, always."""
    if time.time() - found.st_mtime < _SETTLED_SECONDS:
        return object()
    return (found.st_mtime_ns, found.st_ctime_ns, found.st_size, found.st_ino)
