"""What settings ask of the machine: files that can be used, a storage that can be written, ports that are free.

Nothing is left behind, and nothing is asked of the network but whether a port can be had, and for the address of a host
that is given as a name.
"""

from __future__ import annotations

import errno
import os
import socket
import stat
import tempfile
import time
from dataclasses import replace
from typing import TYPE_CHECKING

from cargohold.config.checks import IN_THE_CLEAR, asks_for_login, sends_passwords_in_the_clear
from cargohold.config.places import Fault
from cargohold.http.listen import is_served
from cargohold.storage.files import read_whole
from cargohold.storage.filesystem import FilesystemStore
from cargohold.storage.layout import Layout
from cargohold.storage.protocols import StoreError
from cargohold.types.digest import Algorithm

if TYPE_CHECKING:
    from collections.abc import Iterator

    from cargohold.auth.userfile import Users
    from cargohold.config import Settings
    from cargohold.http.tls import Credentials, TlsError

_DAY = 86400
_BLOCK = b"x" * 4096  # less may find a place on a disk that is full


class Surroundings:
    """Looks once at what the settings name.

    `faults` are what is in the way of serving; `warnings` what is not, and is odd. `users` and `credentials` are what
    was read of the file of users and of the certificate, where they are good.
    """

    def __init__(self, settings: Settings, *, running: bool) -> None:
        self.users: Users | None = None
        self.credentials: Credentials | None = None
        self.faults = [
            *_of_storage(settings),
            *self._of_users(settings),
            *_of_logins(settings),
            *self._of_tls(settings),
            *([] if running else _of_listening(settings)),
        ]
        self.warnings = list(self._oddities(settings))

    def _of_users(self, settings: Settings) -> Iterator[Fault]:
        path = settings.auth.htpasswd
        if not path:
            return
        from cargohold.auth.userfile import parse, read_file  # noqa: PLC0415 - as all that few settings need

        if reason := _why_unreadable(path):
            yield Fault("auth.htpasswd", f"{reason} (cargohold htpasswd create makes one)")
            return
        try:
            self.users = parse(read_file(path)[0])
        except (OSError, ValueError) as error:
            yield Fault("auth.htpasswd", f"{path}: {error}")

    def _of_tls(self, settings: Settings) -> Iterator[Fault]:
        tls = settings.tls
        given = {"certificate": tls.certificate, "key": tls.key, "client_ca": tls.client_ca}
        paths = {name: path for name, path in given.items() if path}
        if not paths:
            return
        from cargohold.app import tls_of  # noqa: PLC0415 - as above
        from cargohold.http.tls import TlsError, check_client_ca, load  # noqa: PLC0415 - as above

        unreadable = {name: reason for name, path in paths.items() if (reason := _why_unreadable(path))}
        yield from (Fault(f"tls.{name}", reason) for name, reason in unreadable.items())
        try:
            if tls.client_ca and "client_ca" not in unreadable:
                check_client_ca(tls.client_ca)
        except TlsError as error:
            yield _of_file(error)
        served = tls_of(settings)
        if served is not None and unreadable.keys() <= {"client_ca"}:
            try:
                self.credentials = load(replace(served, client_ca=None))
            except TlsError as error:
                yield _of_file(error)

    def _oddities(self, settings: Settings) -> Iterator[Fault]:
        if sends_passwords_in_the_clear(settings):
            yield Fault(
                "host",
                IN_THE_CLEAR,
                ("server.public_url", "auth.htpasswd"),
                needs=("socket", "tls.certificate", "server.trusted_proxies"),
            )
        if self.users is not None:
            for oddity in self.users.oddities:
                yield Fault("auth.htpasswd", f"{settings.auth.htpasswd}: {oddity}")
            if not self.users.entries:
                yield Fault("auth.htpasswd", f"{settings.auth.htpasswd}: nobody can log in by it yet")
        if self.credentials is not None:
            from cargohold.http.tls import WARN_SECONDS  # noqa: PLC0415 - as above

            left = self.credentials.expires - time.time()
            if left < WARN_SECONDS:
                yield Fault(
                    "tls.certificate", f"{settings.tls.certificate} expires in {left / _DAY:.0f} days"
                )


def _of_file(error: TlsError) -> Fault:
    setting, _, message = str(error).partition(": ")
    return Fault(setting, message)


def _of_storage(settings: Settings) -> Iterator[Fault]:
    """The folders that are there are tried; one that is missing can be made where the nearest above it can be used."""
    store = FilesystemStore(settings.storage.path)
    root = store.layout.root
    try:
        store.check()
    except StoreError as error:
        yield Fault("storage.path", f"cannot serve {root}: {error}")
    finally:
        store.close()
    if settings.read_only:
        if reason := _why_unlisted(root):
            yield Fault("storage.path", reason, needs=("read_only",))
        return
    for folder in sorted({_nearest(folder) for folder in _written_to(store.layout)}):
        reason = _why_unwritable(folder)
        if reason is None and f"{folder}/".startswith(f"{root}/"):
            reason = _why_unlisted(folder)
        if reason:
            yield Fault("storage.path", reason, needs=("read_only",))


def _written_to(layout: Layout) -> Iterator[str]:
    yield from (
        layout.root,
        layout.blobs,
        layout.repositories,
        layout.own,
        layout.catalog,
        layout.locks,
        layout.new,
    )
    yield from (f"{layout.blobs}/{algorithm.value}" for algorithm in Algorithm)


def _of_logins(settings: Settings) -> Iterator[Fault]:
    if not asks_for_login(settings):
        return
    from cargohold.auth.key_files import JwksFile, PemKeys  # noqa: PLC0415 - as above
    from cargohold.auth.keys import SigningKeys  # noqa: PLC0415 - as above

    bearer = settings.auth.bearer
    for name, path, source in (("key", bearer.key, PemKeys), ("jwks", bearer.jwks, JwksFile)):
        if path and (reason := _why_unreadable(path)):
            yield Fault(f"auth.bearer.{name}", reason)
        elif path:
            try:
                source(path)
            except ValueError as error:
                yield Fault(f"auth.bearer.{name}", str(error))
    keys = Layout(os.path.abspath(settings.storage.path)).keys
    if os.path.isdir(keys):
        try:
            SigningKeys(keys).check()
        except StoreError as error:
            yield Fault("storage.path", str(error))


def _of_listening(settings: Settings) -> Iterator[Fault]:
    if settings.socket:
        if reason := _why_no_socket(settings.socket):
            yield Fault("socket", reason)
        return
    share = settings.server.reuse_port
    if reason := _why_not_free(settings.host, settings.port, share=share):
        yield Fault("port", reason, ("host",), needs=("socket", "server.reuse_port"))
    redirect = settings.tls.redirect_port
    if (
        redirect
        and settings.tls.certificate
        and (reason := _why_not_free(settings.host, redirect, share=share))
    ):
        yield Fault("tls.redirect_port", reason, needs=("host", "socket", "server.reuse_port"))


def _why_not_free(host: str, port: int, *, share: bool) -> str | None:
    """Bound and never listened on: of those who connect meanwhile nobody comes here."""
    try:
        family, kind, protocol, _, address = socket.getaddrinfo(
            host, port, type=socket.SOCK_STREAM, flags=socket.AI_PASSIVE
        )[0]
        with socket.socket(family, kind, protocol) as trial:
            trial.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
            trial.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEPORT, int(share))
            trial.bind(address)
    except OSError as error:
        return f"cannot listen on {host}:{port}: {error.strerror}; {_advice(error)}"
    return None


def _advice(error: OSError) -> str:
    if isinstance(error, PermissionError):
        return "choose a port above 1023, or let the program have the capability CAP_NET_BIND_SERVICE"
    if error.errno == errno.EADDRINUSE:
        return "stop the server that has it (with --running this is not asked), or choose another port"
    return "choose an address of this machine"


def _why_no_socket(path: str) -> str | None:
    try:
        if not stat.S_ISSOCK(os.lstat(path).st_mode):
            return f"{path} is there and is no socket; choose another path"
        if is_served(path):
            return f"a server listens on {path}; stop it (with --running this is not asked), or choose another path"
    except FileNotFoundError:
        pass
    except OSError as error:
        return f"{path}: {error.strerror}"
    return _why_unwritable(os.path.dirname(os.path.abspath(path)))


def _nearest(folder: str) -> str:
    """The folder, or what is there of the path to it."""
    while not os.path.lexists(folder):
        folder = os.path.dirname(folder)
    return folder


def _why_unwritable(folder: str) -> str | None:
    try:
        with tempfile.TemporaryFile(dir=folder, buffering=0) as file:
            file.write(_BLOCK)
    except OSError as error:
        return f"user {os.geteuid()} cannot write in {folder}: {error.strerror}; let that user, or choose another place"
    return None


def _why_unlisted(folder: str) -> str | None:
    try:
        os.listdir(folder)
    except OSError as error:
        return f"user {os.geteuid()} cannot read {folder}: {error.strerror}; let that user, or choose another place"
    return None


def _why_unreadable(path: str) -> str | None:
    try:
        read_whole(path)
    except OSError as error:
        return (
            f"user {os.geteuid()} cannot read {path}: {error.strerror}; let that user, or name another file"
        )
    except ValueError as error:
        return f"{path} cannot be read: {error}; name another file"
    return None
