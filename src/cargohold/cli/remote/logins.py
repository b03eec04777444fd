"""The logins that docker and podman keep: in files, or with programs that know a keychain.

The files are docker's `config.json` and podman's `auth.json`, which have the same form (containers-auth.json(5)).
"""

from __future__ import annotations

import base64
import binascii
import os
import re
from typing import TYPE_CHECKING

import msgspec

from cargohold.cli.received import decoded
from cargohold.cli.refusal import Refused
from cargohold.storage.files import read_whole
from cargohold.types.text import printable

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping

_HELPER_SECONDS = 30
_HELPER_NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9._-]*")
_REFRESH_TOKEN_USER = "<token>"  # noqa: S105 - a user's name
_NOTHING_KEPT = "credentials not found"
_OTHER_PARTS = re.compile(r"^https?://|/(?:v[12]/?)?$")


class Login(msgspec.Struct, frozen=True):
    """A user's name and password; or a refresh token, which only a token service takes."""

    user: str
    secret: str
    is_refresh_token: bool = False

    def __repr__(self) -> str:
        return f"Login({self.user!r})"


class _Entry(msgspec.Struct):
    auth: str = ""
    username: str = ""
    password: str = ""
    identitytoken: str = ""


class _File(msgspec.Struct, rename="camel"):
    auths: dict[str, _Entry | None] | None = None
    creds_store: str | None = None
    cred_helpers: dict[str, str] | None = None


class _FromHelper(msgspec.Struct, rename="pascal"):
    username: str
    secret: str


def stored_login(host: str, repository: str, environ: Mapping[str, str]) -> Login | None:
    """The login that is kept for a repository, for one above it, or for the whole registry; None without one.

    `repository` is empty where the registry itself is asked. Raises Refused where a file, or a program that one names,
    cannot be used.
    """
    names = [host]
    for part in filter(None, repository.split("/")):
        names.insert(0, f"{names[0]}/{part}")
    for path in _files(environ):
        try:
            kept = decoded(read_whole(path)[0], _File)
        except FileNotFoundError:
            continue
        except OSError as error:
            raise Refused(f"{path}: {error.strerror}") from None
        except ValueError as error:
            raise Refused(f"{path}: is not a file of logins: {error}") from None
        login = _from_file(path, kept, names)
        if login is not None:
            return login
    return None


def _files(environ: Mapping[str, str]) -> Iterator[str]:
    """Where logins may be kept, the first that has one counting."""
    home = environ.get("HOME") or os.path.expanduser("~")
    if environ.get("REGISTRY_AUTH_FILE"):
        yield environ["REGISTRY_AUTH_FILE"]
    yield os.path.join(environ.get("DOCKER_CONFIG") or os.path.join(home, ".docker"), "config.json")
    runtime = environ.get("XDG_RUNTIME_DIR")
    yield os.path.join(
        runtime or f"/run/containers/{os.geteuid()}", "containers/auth.json" if runtime else "auth.json"
    )
    configuration = environ.get("XDG_CONFIG_HOME") or os.path.join(home, ".config")
    yield os.path.join(configuration, "containers", "auth.json")


def _from_file(path: str, kept: _File, names: list[str]) -> Login | None:
    """What a file has for the first of the names; of the last, which is the registry's, a program may have it."""
    host = names[-1]
    helper = (kept.cred_helpers or {}).get(host) or kept.creds_store
    entries = {_OTHER_PARTS.sub("", name): entry for name, entry in (kept.auths or {}).items()}
    for name in names:
        login = _from_helper(helper, host) if helper and name == host else None
        if login is None and (entry := entries.get(name)) is not None:
            login = _from_entry(path, name, entry)
        if login is not None:
            return login
    return None


def _from_entry(path: str, name: str, entry: _Entry) -> Login | None:
    """None where the entry only says that a login is kept elsewhere."""
    if entry.identitytoken:
        return Login(entry.username, entry.identitytoken, is_refresh_token=True)
    user, password = entry.username, entry.password
    if entry.auth:
        try:
            user, _, password = (
                base64.b64decode(entry.auth, validate=True).decode().rstrip("\0").partition(":")
            )
        except (binascii.Error, UnicodeDecodeError):
            raise Refused(f"{path}: auth of {name} is not a name and a password in base64") from None
    return Login(user, password) if user and password else None


def _from_helper(helper: str, name: str) -> Login | None:
    """What a credential helper has; None where it has nothing for the name."""
    import subprocess  # noqa: PLC0415 - few need it

    program = f"docker-credential-{helper}"
    if _HELPER_NAME.fullmatch(helper) is None:
        raise Refused(f"{program} is no name of a program that keeps logins")
    try:
        ran = subprocess.run(  # noqa: S603 - the user's own files name it
            [program, "get"],
            input=name.encode(),
            capture_output=True,
            timeout=_HELPER_SECONDS,
            check=False,
        )
    except (OSError, subprocess.TimeoutExpired) as error:
        reason = error.strerror if isinstance(error, OSError) else f"no answer within {_HELPER_SECONDS} s"
        raise Refused(f"{program}, which keeps the logins: {reason}") from None
    if ran.returncode:
        said = (ran.stdout.strip() or ran.stderr.strip()).decode(errors="replace")
        if _NOTHING_KEPT in said:
            return None
        raise Refused(f"{program}, which keeps the logins, ended with {ran.returncode}: {printable(said)}")
    try:
        found = decoded(ran.stdout, _FromHelper)
    except ValueError:
        raise Refused(f"{program}, which keeps the logins: its answer is not understood") from None
    return Login(found.username, found.secret, is_refresh_token=found.username == _REFRESH_TOKEN_USER)
