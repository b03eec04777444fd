"""The keys that the registry signs its tokens with: made on first start, kept on disk, rotated by a command.

Each key (ES256: ECDSA on P-256) is a file of its own, `<thumbprint>.jwk`: its private JWK (RFC 7517) and `since`, the
time from which it signs. It signs until the next one does, and its tokens are accepted for as long as the longest of
them may live. Nothing else is written down: the loss of a command at any moment leaves a set of keys that is whole.
"""

from __future__ import annotations

import errno
import logging
import os
import stat
import time
import uuid
from contextlib import contextmanager, suppress
from typing import TYPE_CHECKING, Literal, NamedTuple, TypedDict

import msgspec
from joserfc.errors import JoseError
from joserfc.jwk import ECKey

from cargohold.storage.durable import write_all
from cargohold.storage.files import read_whole
from cargohold.storage.locks import PATIENCE, locked, open_lock
from cargohold.storage.protocols import Conflict, Unavailable

if TYPE_CHECKING:
    from collections.abc import Iterator

PUBLISH_SECONDS = 60.0
"""Seconds between the publication of a key and its first signature, so that others who cache the set know it."""

LONGEST_TOKEN_SECONDS = 86400.0
"""The longest that a token may live, and so the time for which a key that signs no longer is still accepted."""

_LOOK_SECONDS = 1.0
# A file system may step its clock by milliseconds: a folder that was changed just before it was read may have been
# changed again without a new time.
_SETTLED_NANOSECONDS = 2_000_000_000
_CURVE = "P-256"
_LARGEST_FILE = 4096
_SUFFIX = ".jwk"
_ASIDE = "new-"

_FOLDER_OPEN_TO_OTHERS = stat.S_IWGRP | stat.S_IWOTH
_FILE_OPEN_TO_OTHERS = stat.S_IRWXG | stat.S_IRWXO

_log = logging.getLogger(__name__)


class Published(TypedDict):
    """A JWK set (RFC 7517)."""

    keys: list[dict[str, object]]


class _Written(msgspec.Struct, frozen=True):
    """What a file holds: a JWK (RFC 7518, "Parameters for Elliptic Curve Keys") and when it begins to sign."""

    kty: Literal["EC"]
    crv: Literal["P-256"]
    x: str
    y: str
    d: str
    since: float


class SigningKey(msgspec.Struct, frozen=True):
    """A key, by its RFC 7638 thumbprint. Times are seconds of the epoch.

    It signs from `since`, and is accepted and published until `until`, which is None while no other follows.
    """

    kid: str
    key: ECKey
    since: float
    until: float | None = None

    @classmethod
    def of(cls, key: ECKey, since: float) -> SigningKey:
        """The key under its thumbprint."""
        return cls(key.thumbprint(), key, since)

    def lasts(self, now: float) -> bool:
        """Whether what it signed is still to be accepted."""
        return self.until is None or now < self.until


# What is wrong with one file, and not with the disk.
_OF_THIS_FILE = frozenset({errno.EACCES, errno.EPERM, errno.ELOOP})


class _Mark(NamedTuple):
    """What differs once a file, or the mode of one, has been changed."""

    name: str
    inode: int
    modified: int
    changed: int

    @classmethod
    def of(cls, name: str, found: os.stat_result) -> _Mark:
        return cls(name, found.st_ino, found.st_mtime_ns, found.st_ctime_ns)


class SigningKeys:
    """The keys in a folder that any number of processes and commands share.

    What another process changes there is known within a second. Nothing is read before the first call.
    """

    def __init__(self, folder: str) -> None:
        self._folder = folder
        self._keys: dict[str, SigningKey] = {}
        self._problems: frozenset[str] = frozenset()
        self._version = 0
        self._seen: tuple[_Mark, ...] | None = None
        self._looked = float("-inf")

    def prepare(self, now: float) -> None:
        """Make the first key where there is none; to be called once, before the first token.

        Where there is one, nothing is written. Raises Conflict where a key cannot be used or others may read it, and
        Unavailable where the system is in the way.
        """
        with _told(self._folder):
            if not _sound(self._folder):
                with _alone(self._folder):
                    if not _sound(self._folder):
                        _make(self._folder, now)
        self._look()

    def rotate(self, now: float, *, at_once: bool = False) -> SigningKey:
        """Make a new key that will take the place of the one that signs; gives the new one.

        It is published now and signs after `PUBLISH_SECONDS`; the others follow their course, and those whose time is
        over are removed. `at_once`, for a key that others may have come to know: it signs now, and all others are
        removed, usable or not, so that no token that was ever issued is accepted any more. Raises as `prepare`.
        """
        with _told(self._folder), _alone(self._folder):
            old = _names(self._folder)
            keep = set() if at_once else {_name(key) for key in _sound(self._folder) if key.lasts(now)}
            made = _make(self._folder, now if at_once else now + PUBLISH_SECONDS)
            for name in old:
                if name not in keep:
                    with suppress(IsADirectoryError):  # which is no key
                        os.unlink(f"{self._folder}/{name}")
            _sync_folder(self._folder)
        self._look()
        return made

    def check(self) -> None:
        """Raise Conflict where a key cannot be used, and Unavailable where the system is in the way."""
        with _told(self._folder):
            _sound(self._folder)

    def all(self, now: float) -> list[SigningKey]:
        """Those whose time is not over, the oldest first."""
        self._keep_up()
        return [key for key in self._keys.values() if key.lasts(now)]

    def signing(self, now: float) -> SigningKey:
        """The key to sign with. Raises Unavailable where there is none."""
        keys = self.all(now)
        if not keys:
            raise Unavailable(f"there is no key to sign tokens with in {self._folder}")
        return next((key for key in reversed(keys) if key.since <= now), keys[0])

    def verifying(self, kid: str, now: float) -> ECKey | None:
        """The key of that thumbprint, if what it signed is to be accepted.

        An unknown one may just have been made by another process: the folder is looked at at once.
        """
        self._keep_up()
        if kid not in self._keys:
            self._look()
        key = self._keys.get(kid)
        return key.key if key is not None and key.lasts(now) else None

    def published(self, now: float) -> Published:
        """The public keys of all that sign, signed or will, for others to verify tokens with."""
        return {
            "keys": [
                {**each.key.as_dict(private=False), "kid": each.kid, "use": "sig", "alg": "ES256"}
                for each in self.all(now)
            ]
        }

    def version(self) -> int:
        """Another number once a key was made or removed; it takes a microsecond."""
        # Not by `_keep_up`: a call costs as much as the rest of it.
        if time.monotonic() - self._looked >= _LOOK_SECONDS:
            self._look()
        return self._version

    def _keep_up(self) -> None:
        if time.monotonic() - self._looked >= _LOOK_SECONDS:
            self._look()

    def _look(self) -> None:
        """Read the folder again if it has changed. Where it cannot be read, what is known stands until the next look.

        A key that cannot be used is left out, and the log says why.
        """
        self._looked, now = time.monotonic(), time.time_ns()
        try:
            seen = _marks(self._folder)
            if seen == self._seen:
                return
            keys, problems = _read(self._folder)
        except FileNotFoundError:
            seen, keys, problems = (), [], []
        except OSError as error:
            _log.warning("cannot read the keys for tokens in %s: %s", self._folder, error.strerror)
            return
        changed = max((mark.changed for mark in seen), default=0)
        self._seen = seen if abs(now - changed) > _SETTLED_NANOSECONDS else None
        for problem in problems:
            if problem not in self._problems:
                _log.error("%s", problem)
        self._problems = frozenset(problems)
        if [*map(_known_by, keys)] != [*map(_known_by, self._keys.values())]:
            self._keys = {key.kid: key for key in keys}
            self._version += 1


def _marks(folder: str) -> tuple[_Mark, ...]:
    """Of the folder and of what is in it, in the order of names. Raises FileNotFoundError where there is none."""
    marks = [_Mark.of("", os.stat(folder))]
    for name in sorted(os.listdir(folder)):
        with suppress(FileNotFoundError):  # removed meanwhile
            marks.append(_Mark.of(name, os.lstat(f"{folder}/{name}")))
    return tuple(marks)


def _known_by(key: SigningKey) -> tuple[str, float, float | None]:
    return key.kid, key.since, key.until


def _name(key: SigningKey) -> str:
    return f"{key.kid}{_SUFFIX}"


def _names(folder: str) -> list[str]:
    return [name for name in os.listdir(folder) if name.endswith(_SUFFIX)]


def _sound(folder: str) -> list[SigningKey]:
    """The keys of a folder, none where it is missing. Raises Conflict where one cannot be used."""
    try:
        keys, problems = _read(folder)
    except FileNotFoundError:
        return []
    if problems:
        raise Conflict(problems[0])
    return keys


def _read(folder: str) -> tuple[list[SigningKey], list[str]]:
    """The keys in the order in which they sign, and what is wrong with each that cannot be used."""
    mode = stat.S_IMODE(os.stat(folder).st_mode)
    if mode & _FOLDER_OPEN_TO_OTHERS:
        return [], [f"{folder} may be written by others (mode {mode:04o}): run chmod 700 {folder}"]
    keys, problems = [], []
    for name in sorted(_names(folder)):
        try:
            keys.append(_load(f"{folder}/{name}"))
        except FileNotFoundError:
            continue  # removed meanwhile
        except OSError as error:
            if error.errno not in _OF_THIS_FILE:
                raise
            problems.append(
                f"{folder}/{name} cannot be read: {error.strerror}; give it to the user that serves"
            )
        except Conflict as problem:
            problems.append(str(problem))
    keys.sort(key=lambda each: (each.since, each.kid))
    for i, following in enumerate(keys[1:]):
        keys[i] = msgspec.structs.replace(keys[i], until=following.since + LONGEST_TOKEN_SECONDS)
    return keys, problems


def _load(path: str) -> SigningKey:
    """The key in a file. Raises Conflict where it is none, or where others may read it."""
    with suppress(msgspec.DecodeError, JoseError, ValueError, IsADirectoryError):
        content, found = read_whole(path, _LARGEST_FILE)
        mode = stat.S_IMODE(found.st_mode)
        if content and mode & _FILE_OPEN_TO_OTHERS:
            raise Conflict(
                f"{path} is a private key that others may read (mode {mode:04o}): if nobody can have read it, run chmod"
                f" 600 {path}, otherwise replace all keys with: cargohold keys rotate --now"
            )
        written = msgspec.json.decode(content, type=_Written)
        members = {name: getattr(written, name) for name in ("kty", "crv", "x", "y", "d")}
        made = SigningKey.of(ECKey.import_key(members), written.since)
        if _name(made) == os.path.basename(path):
            return made
    raise Conflict(f"{path} is no key of this registry, or is damaged: restore it or remove it")


def _make(folder: str, since: float) -> SigningKey:
    """Write a new key, whole or not at all."""
    key = ECKey.generate_key(_CURVE)
    made = SigningKey.of(key, since)
    aside = f"{folder}/{_ASIDE}{uuid.uuid4().hex}"
    descriptor = os.open(aside, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC, 0o600)
    try:
        write_all(descriptor, msgspec.json.encode({**key.as_dict(private=True), "since": since}))
        os.fsync(descriptor)
    finally:
        os.close(descriptor)
    os.rename(aside, f"{folder}/{_name(made)}")
    _sync_folder(folder)
    return made


def _sync_folder(path: str) -> None:
    descriptor = os.open(path, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)


@contextmanager
def _alone(folder: str) -> Iterator[None]:
    """Be the only one who changes the folder, which is made where it is missing. Raises Busy."""
    with suppress(FileExistsError):
        os.mkdir(folder, 0o700)
        _sync_folder(os.path.dirname(folder))
    descriptor = open_lock(f"{folder}/lock")
    try:
        with locked(descriptor, time.monotonic() + PATIENCE):
            for name in os.listdir(folder):
                if name.startswith(_ASIDE):
                    os.unlink(f"{folder}/{name}")  # whoever wrote it was killed
            yield
    finally:
        os.close(descriptor)


@contextmanager
def _told(folder: str) -> Iterator[None]:
    """Tell an error of the system as one of the storage."""
    try:
        yield
    except OSError as error:
        raise Unavailable(
            f"the keys for tokens in {folder} cannot be read or made: {error.strerror}"
        ) from error
