"""The tree of settings: each with its default, its kind and what it does, here and nowhere else."""

import os
from typing import Annotated, get_args, get_origin

import msgspec
from msgspec import field

from cargohold.config.kinds import (
    BOOLEAN,
    HEADERS,
    HOST,
    ORIGINS,
    PATH,
    PREFIX,
    SOCKET,
    Kind,
    choice,
    duration,
    size,
    whole,
)

_YEAR = 365 * 86400


def _default_workers() -> int:
    """2, or 1 on a single core."""
    cores = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1
    return min(2, cores)


class Section(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """Settings that share the first part of their path.

    A field is another section, or a setting: its type, its kind, and what it does.
    """


class Storage(Section, frozen=True, kw_only=True):
    """Where the content lies."""

    path: Annotated[
        str,
        PATH,
        "The directory that holds everything. It is made when it is missing; a relative path starts from the"
        " working directory.",
    ] = "./data"


class Manifests(Section, frozen=True, kw_only=True):
    """What is asked of manifests."""

    allow_tag_deletion: Annotated[
        bool,
        BOOLEAN,
        "Let a `DELETE` by tag remove that tag alone, as the OCI specification has it. Otherwise it is"
        " refused, and manifests are deleted by digest.",
    ] = False
    allow_sparse: Annotated[
        bool,
        BOOLEAN,
        "Take images whose blobs, and indexes whose manifests, are not in their repository.",
    ] = False
    max_bytes: Annotated[int, size(1, 2**30), "The largest manifest that is taken."] = 4 * 2**20


class Uploads(Section, frozen=True, kw_only=True):
    """How long an unfinished upload is kept."""

    timeout: Annotated[
        float,
        duration(1, _YEAR),
        "An upload session that has not grown for so long is removed.",
    ] = 3600.0
    stall_timeout: Annotated[
        float,
        duration(0.01, _YEAR),
        "A request whose body brings nothing for so long is given up. Its upload session stays.",
    ] = 60.0


class Lists(Section, frozen=True, kw_only=True):
    """How long the pages of lists are."""

    default_page: Annotated[
        int,
        whole(1, 1_000_000),
        "Entries in a page of the catalog that is asked for without `n`, never more than `lists.max_page`."
        " Tags are then listed whole.",
    ] = 100
    max_page: Annotated[
        int,
        whole(1, 1_000_000),
        "The most entries in a page, of the catalog or of tags. A larger `n` is lowered to it.",
    ] = 1000


class Cors(Section, frozen=True, kw_only=True):
    """Web pages that may call the registry from a browser."""

    origins: Annotated[
        tuple[str, ...],
        ORIGINS,
        "Origins whose pages may read the answers, such as `https://ui.example.com`; `*` is every origin.",
    ] = ()


class Http(Section, frozen=True, kw_only=True):
    """What is added to answers."""

    headers: Annotated[dict[str, str], HEADERS, "Headers that every answer bears."] = field(
        default_factory=dict
    )
    cors: Cors = field(default_factory=Cors)


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
    log_level: Annotated[
        str,
        choice("debug", "info", "warning", "error"),
        "The least severe messages that are logged.",
    ] = "info"
    storage: Storage = field(default_factory=Storage)
    manifests: Manifests = field(default_factory=Manifests)
    uploads: Uploads = field(default_factory=Uploads)
    lists: Lists = field(default_factory=Lists)
    http: Http = field(default_factory=Http)


class Setting(msgspec.Struct, frozen=True):
    """One leaf of the tree: `path` is dotted, `default` is written as its kind writes it."""

    path: str
    kind: Kind
    description: str
    default: str

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
    if entry.default_factory is _default_workers:
        return Setting(path, kind, description, str(_default_workers.__doc__).rstrip("."))
    default = entry.default_factory() if entry.default is msgspec.NODEFAULT else entry.default
    return Setting(path, kind, description, kind.write(default))


_TREE = _sections(Settings, "")

SECTIONS = frozenset(prefix.rstrip(".") for prefix in _TREE if prefix)

SETTINGS = {
    prefix + entry.name: _setting(prefix + entry.name, entry)
    for prefix, section in _TREE.items()
    for entry in msgspec.structs.fields(section)
    if get_origin(entry.type) is Annotated
}
