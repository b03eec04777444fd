"""The tree of settings: each with its default, its kind and what it does, here and in its sections alone."""

import os
from typing import Annotated, Any, get_args, get_origin

import msgspec
from msgspec import field

from cargohold.config.keeping import QUOTAS, RETENTION, Quota, Retention
from cargohold.config.kinds import BOOLEAN, HOST, PREFIX, SOCKET, Kind, whole
from cargohold.config.logins import Auth
from cargohold.config.section import Section
from cargohold.config.sections import (
    Gc,
    Http,
    Limits,
    Lists,
    Log,
    Manifests,
    Metrics,
    Server,
    Storage,
    Tags,
    Tls,
    Tracing,
    Trash,
    Uploads,
)


def _default_workers() -> int:
    """2, or 1 on a single core."""
    cores = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1
    return min(2, cores)


class Settings(Section, frozen=True, kw_only=True):
    """All that can be set."""

    host: Annotated[
        str,
        HOST,
        "The address to listen on; `0.0.0.0` is every IPv4 address of the machine, `::` every IPv6 address.",
    ] = "127.0.0.1"
    port: Annotated[int, whole(0, 65535), "The port to listen on; 0 lets the system pick a free one."] = 5000
    socket: Annotated[str | None, SOCKET, "Listen on this Unix socket instead of host and port."] = None
    workers: Annotated[int, whole(1, 64), "Worker processes."] = field(default_factory=_default_workers)
    prefix: Annotated[str, PREFIX, "What stands before every path, behind a proxy that hands it on."] = ""
    http2: Annotated[bool, BOOLEAN, "Speak HTTP/2 too. Uploads are slower over it."] = False
    read_only: Annotated[bool, BOOLEAN, "Refuse every request that would change the content."] = False
    deletion: Annotated[bool, BOOLEAN, "Let clients delete manifests, tags and blobs."] = True
    retention: Annotated[
        tuple[Retention, ...],
        RETENTION,
        "Which tags are kept in which repositories; the others are removed. The first rule that names the repository"
        " decides, and where none does, all are kept.",
    ] = ()
    quotas: Annotated[
        tuple[Quota, ...],
        QUOTAS,
        "How many bytes repositories may hold, all that match together or `each` for itself. All quotas hold that name"
        " the repository.",
    ] = ()
    storage: Storage = field(default_factory=Storage)
    manifests: Manifests = field(default_factory=Manifests)
    tags: Tags = field(default_factory=Tags)
    uploads: Uploads = field(default_factory=Uploads)
    gc: Gc = field(default_factory=Gc)
    trash: Trash = field(default_factory=Trash)
    lists: Lists = field(default_factory=Lists)
    http: Http = field(default_factory=Http)
    server: Server = field(default_factory=Server)
    auth: Auth = field(default_factory=Auth)
    tls: Tls = field(default_factory=Tls)
    limits: Limits = field(default_factory=Limits)
    log: Log = field(default_factory=Log)
    metrics: Metrics = field(default_factory=Metrics)
    tracing: Tracing = field(default_factory=Tracing)


class Setting(msgspec.Struct, frozen=True):
    """One leaf of the tree: `path` is dotted, `default` is written as its kind writes it.

    `value` is the default itself, of this machine where it is not the same on all of them.
    """

    path: str
    kind: Kind
    description: str
    default: str
    value: Any

    @property
    def is_the_same_everywhere(self) -> bool:
        """Whether the default is that of every machine."""
        return self.default == self.kind.write(self.value)

    @property
    def variable(self) -> str:
        """The environment variable that sets it."""
        return variable(self.path)


def variable(path: str) -> str:
    """The environment variable of a dotted path."""
    return f"REGISTRY_{path.replace('.', '_').upper()}"


def _sections(section: type[Section], prefix: str) -> dict[str, type[Section]]:
    """A section and those below it, by what their settings' paths begin with."""
    found = {prefix: section}
    for entry in msgspec.structs.fields(section):
        if isinstance(entry.type, type) and issubclass(entry.type, Section):
            found |= _sections(entry.type, f"{prefix}{entry.name}.")
    return found


def _setting(path: str, entry: msgspec.structs.FieldInfo) -> Setting:
    _, kind, description = get_args(entry.type)
    default = entry.default_factory() if entry.default is msgspec.NODEFAULT else entry.default
    if entry.default_factory is _default_workers:
        return Setting(path, kind, description, str(_default_workers.__doc__).rstrip("."), default)
    return Setting(path, kind, description, kind.write(default), default)


_TREE = _sections(Settings, "")

SECTIONS = {prefix.rstrip("."): str(section.__doc__) for prefix, section in _TREE.items() if prefix}
"""What each section is for."""

SETTINGS = {
    prefix + entry.name: _setting(prefix + entry.name, entry)
    for prefix, section in _TREE.items()
    for entry in msgspec.structs.fields(section)
    if get_origin(entry.type) is Annotated
}
