"""The sections of the tree of settings, those about logins apart."""

from typing import Annotated

from msgspec import field

from cargohold.config.access import (
    COLLECTOR_URL,
    NETWORKS,
    OPTIONAL_PATH,
    OPTIONAL_PORT,
    PROXIES,
    PUBLIC_URL,
    RATE,
    WORDS,
)
from cargohold.config.keeping import IMMUTABLE, Immutable
from cargohold.config.kinds import (
    BOOLEAN,
    HEADERS,
    ORIGINS,
    PATH,
    PREFIX,
    choice,
    duration,
    fraction,
    size,
    whole,
)
from cargohold.config.schedules import SCHEDULE
from cargohold.config.section import YEAR, Section


class Storage(Section, frozen=True, kw_only=True):
    """Where the content lies."""

    path: Annotated[
        str,
        PATH,
        "The directory that holds everything. The server makes it where it is missing, unless `read_only` is on, and so"
        " does an import; no other command does. A relative path starts from the working directory.",
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


class Tags(Section, frozen=True, kw_only=True):
    """What is asked of tags."""

    immutable: Annotated[
        tuple[Immutable, ...],
        IMMUTABLE,
        "Which tags of which repositories cannot be moved to another manifest once they are there. They can be"
        " deleted.",
    ] = ()


class Uploads(Section, frozen=True, kw_only=True):
    """How long an unfinished upload is kept."""

    timeout: Annotated[
        float,
        duration(1, YEAR),
        "An upload session that has not grown for so long is removed.",
    ] = 3600.0
    stall_timeout: Annotated[
        float,
        duration(0.01, YEAR),
        "A request whose body brings nothing for so long is given up. Its upload session stays.",
    ] = 60.0


class Gc(Section, frozen=True, kw_only=True):
    """What nothing uses any more is collected while clients push and pull."""

    grace: Annotated[
        float,
        duration(1, YEAR),
        "What nobody has pushed, mounted or asked for within this time may be collected where nothing uses it. No push"
        " may take longer.",
    ] = 86400.0
    untagged: Annotated[
        bool,
        BOOLEAN,
        "Collect manifests too that have no tag, where no other manifest refers to them.",
    ] = False
    schedule: Annotated[
        str,
        SCHEDULE,
        "When the server collects by itself: at times of its local clock, in the five fields of cron, or so long after"
        " the last time.",
    ] = "0 3 * * *"
    share: Annotated[
        float,
        fraction(0.01),
        "Which part of a processor the collector may take; it rests in between.",
    ] = 0.2


class Trash(Section, frozen=True, kw_only=True):
    """What was deleted can be brought back for a while."""

    keep: Annotated[
        float,
        duration(0, YEAR),
        "How long a manifest or tag that was deleted can be restored. Its content takes up room until then.",
    ] = 86400.0


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
    accel_redirect: Annotated[
        str,
        PREFIX,
        "Leave the sending of blobs to nginx, by `X-Accel-Redirect`: the address of its internal location whose `alias`"
        " is `storage.path`. For nginx alone, as one of `server.trusted_proxies`.",
    ] = ""
    drain: Annotated[
        float,
        duration(0, 3600),
        "How long requests are still taken after a SIGTERM, while `/health/ready` says 503, so that load balancers can"
        " notice.",
    ] = 0.0
    stop_timeout: Annotated[
        float,
        duration(0.01, 86400),
        "How long requests that are under way may go on once no more are taken.",
    ] = 30.0
    reuse_port: Annotated[
        bool,
        BOOLEAN,
        "Let another server that does so too listen on the same port, to take over from this one.",
    ] = False


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


class Log(Section, frozen=True, kw_only=True):
    """What is written to standard error."""

    level: Annotated[
        str,
        choice("debug", "info", "warning", "error"),
        "The least severe messages that are logged. Requests are `info`, those of health checks and metrics `debug`,"
        " and those that fail by our fault `error`.",
    ] = "info"
    format: Annotated[
        str,
        choice("auto", "human", "json"),
        "How lines are written: for people, or as JSON; `auto` is for people in a terminal, and JSON elsewhere.",
    ] = "auto"
    requests: Annotated[bool, BOOLEAN, "Log a line for each request."] = True


class Metrics(Section, frozen=True, kw_only=True):
    """`/metrics`, for Prometheus."""

    access: Annotated[
        str,
        choice("login", "everyone", "nobody"),
        "Who may read them: whoever is logged in, where a login is asked for (`login`); `everyone`; or `nobody`, and"
        " nothing is counted.",
    ] = "login"
    recount: Annotated[
        float,
        duration(60, YEAR),
        "How often what is stored is counted anew, in the background. In between the totals follow what is written.",
    ] = 86400.0


class Tracing(Section, frozen=True, kw_only=True):
    """Traces, sent by OpenTelemetry's protocol. Needs `pip install 'cargohold[tracing]'`."""

    endpoint: Annotated[
        str | None,
        COLLECTOR_URL,
        "Where spans are sent, by OTLP over HTTP, such as `http://127.0.0.1:4318/v1/traces`; without it there are"
        " none.",
    ] = None
    sample: Annotated[
        float,
        fraction(),
        "Which part of the requests is traced that do not come with a decision of their own.",
    ] = 1.0
    service: Annotated[str, WORDS, "What the registry is called in the traces."] = "cargohold"
