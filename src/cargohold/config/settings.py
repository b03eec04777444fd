"""The tree of settings: each with its default, its kind and what it does, here and nowhere else."""

import os
from typing import Annotated, get_args, get_origin

import msgspec
from msgspec import field

from cargohold.config.access import (
    ACTIONS,
    ALGORITHMS,
    GROUPS,
    KEY_URL,
    NETWORKS,
    OPTIONAL_PATH,
    OPTIONAL_PORT,
    PROXIES,
    PUBLIC_URL,
    RATE,
    RULES,
    TRUST,
    USERS,
    WORDS,
    Rule,
    TrustedIssuer,
)
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


class Server(Section, frozen=True, kw_only=True):
    """How clients reach the registry, where that is not as it listens."""

    public_url: Annotated[
        str | None,
        PUBLIC_URL,
        "The address that clients use, such as `https://registry.example.com`; the token endpoint is below it."
        " Otherwise it is taken from the `Host` of each request.",
    ] = None
    trusted_proxies: Annotated[
        tuple[str, ...],
        PROXIES,
        "Addresses and networks of the proxies whose `X-Forwarded-For` and `X-Forwarded-Proto` are believed;"
        " `unix` is whoever comes by the Unix socket.",
    ] = ()


class TokenService(Section, frozen=True, kw_only=True):
    """The built-in token service, at `/auth/token`."""

    service: Annotated[str, WORDS, "What the service calls itself in challenges and tokens."] = "cargohold"
    lifetime: Annotated[float, duration(60, 86400), "How long a token is valid."] = 300.0
    refresh_lifetime: Annotated[
        float,
        duration(60, _YEAR),
        "How long a refresh token, which a client may keep in place of the password, is valid after its last use.",
    ] = 30 * 86400.0
    job_lifetime: Annotated[
        float,
        duration(60, 86400),
        "How long the refresh token is valid that a CI job is given for its id token, which may end sooner.",
    ] = 3600.0


class Bearer(Section, frozen=True, kw_only=True):
    """Tokens of another token service. One of `key`, `jwks` and `jwks_url` switches it on."""

    realm: Annotated[
        str | None,
        KEY_URL,
        "The address of the token service. Clients are sent there, and no longer to our own.",
    ] = None
    service: Annotated[
        str, WORDS, "The audience (`aud`) that tokens must name, and what challenges call it."
    ] = ""
    issuer: Annotated[str, WORDS, "The issuer (`iss`) that tokens must name."] = ""
    key: Annotated[
        str | None,
        OPTIONAL_PATH,
        "A file with the public keys or certificates that tokens are signed with, in PEM.",
    ] = None
    jwks: Annotated[str | None, OPTIONAL_PATH, "A file with the public keys as a JWK set."] = None
    jwks_url: Annotated[
        str | None,
        KEY_URL,
        "Where the token service publishes its keys as a JWK set. It is asked again for a key that is new.",
    ] = None
    algorithms: Annotated[tuple[str, ...], ALGORITHMS, "The signature algorithms that are accepted."] = (
        "RS256",
        "RS384",
        "RS512",
        "PS256",
        "PS384",
        "PS512",
        "ES256",
        "ES384",
        "EdDSA",
    )
    leeway: Annotated[
        float, duration(0, 300), "How far the clocks of the token service and of the registry may be apart."
    ] = 30.0


class Auth(Section, frozen=True, kw_only=True):
    """Who may do what."""

    htpasswd: Annotated[
        str | None,
        OPTIONAL_PATH,
        "A file of users and their passwords, hashed with bcrypt. `cargohold htpasswd` keeps it; Apache's `htpasswd -B`"
        " writes the same.",
    ] = None
    required: Annotated[
        bool,
        BOOLEAN,
        "Ask for a login also where none of the other settings does. Access tokens are accepted then.",
    ] = False
    open_to_everyone: Annotated[
        bool,
        BOOLEAN,
        "Listen beyond loopback although no login is configured: whoever reaches the port may pull, push and delete.",
    ] = False
    challenge: Annotated[
        str,
        choice("auto", "basic", "bearer"),
        "What clients are told to log in with: `basic`, `bearer` (by the token service), or `auto`, which is `bearer`"
        " where a rule allows anything without a login and `basic` otherwise.",
    ] = "auto"
    remember: Annotated[
        float, duration(0, 3600), "How long a password that was right is not asked of bcrypt again."
    ] = 300.0
    administrators: Annotated[tuple[str, ...], USERS, "Users who may do everything."] = ()
    groups: Annotated[dict[str, tuple[str, ...]], GROUPS, "Groups, and the users in each."] = field(
        default_factory=dict
    )
    rules: Annotated[
        tuple[Rule, ...],
        RULES,
        "Who may do what in which repositories; the first rule that names both the repository and the user decides.",
    ] = ()
    default: Annotated[
        tuple[str, ...] | None,
        ACTIONS,
        "What a signed-in user may do where no rule decides. Without it: everything where there are no rules, and"
        " nothing where there are some.",
    ] = None
    oidc: Annotated[
        tuple[TrustedIssuer, ...],
        TRUST,
        "Issuers of OpenID Connect id tokens, such as those of CI jobs, and what the bearers of which claims may do.",
    ] = ()
    token: TokenService = field(default_factory=TokenService)
    bearer: Bearer = field(default_factory=Bearer)


class Tls(Section, frozen=True, kw_only=True):
    """TLS. A certificate and its key switch it on."""

    certificate: Annotated[
        str | None, OPTIONAL_PATH, "The certificate in PEM, followed by those between it and the root."
    ] = None
    key: Annotated[str | None, OPTIONAL_PATH, "The certificate's private key in PEM."] = None
    minimum: Annotated[str, choice("1.2", "1.3"), "The oldest version that is spoken."] = "1.2"
    client_ca: Annotated[
        str | None, OPTIONAL_PATH, "The certificates, in PEM, of those who sign the certificates of clients."
    ] = None
    client_certificates: Annotated[
        str,
        choice("require", "request"),
        "Whether clients must have a certificate that `tls.client_ca` has signed, or may.",
    ] = "require"
    redirect_port: Annotated[
        int | None,
        OPTIONAL_PORT,
        "Listen on this port for plain HTTP too, and send who comes there to HTTPS.",
    ] = None


class Rates(Section, frozen=True, kw_only=True):
    """How many requests are let through."""

    reads: Annotated[str | None, RATE, "Requests that read: GET and HEAD."] = None
    writes: Annotated[str | None, RATE, "Requests that write."] = None


class Limits(Section, frozen=True, kw_only=True):
    """Rate limits, counted over all workers."""

    address: Rates = field(default_factory=Rates)
    user: Rates = field(default_factory=Rates)
    failed_logins: Annotated[
        str | None,
        RATE,
        "Logins that may fail, from an address and for a user name; then all are refused for a while.",
    ] = "20/minute"
    allow: Annotated[tuple[str, ...], NETWORKS, "Addresses and networks that are never limited."] = ()


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
    server: Server = field(default_factory=Server)
    auth: Auth = field(default_factory=Auth)
    tls: Tls = field(default_factory=Tls)
    limits: Limits = field(default_factory=Limits)


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
