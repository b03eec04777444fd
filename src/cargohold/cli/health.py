"""The command `cargohold health`: whether a running server takes requests, for what starts and watches it."""

from __future__ import annotations

import socket
from contextlib import closing
from typing import TYPE_CHECKING, Any
from urllib.parse import SplitResult, urlsplit

import click
import msgspec

from cargohold.cli.certificates import load_client_certificate, with_client_certificate
from cargohold.cli.help import epilog
from cargohold.cli.printing import print_line
from cargohold.cli.received import decoded, within
from cargohold.cli.refusal import Refused
from cargohold.cli.settings_options import with_settings
from cargohold.types.text import printable

if TYPE_CHECKING:
    from http.client import HTTPConnection

    from cargohold.config import Settings

_PATH = "/health/ready"
_OK = 200
_LONGEST_BODY = 4096
_EVERY_ADDRESS = {"0.0.0.0": "127.0.0.1", "::": "::1"}  # noqa: S104 - nothing listens here


@click.command(
    epilog=epilog(
        "cargohold health",
        "cargohold health https://registry.example.com",
        codes="0 where it is ready, 1 where it is not or does not answer, 2 where the settings cannot be used",
    )
)
@click.argument("url", required=False)
@click.option(
    "--timeout",
    type=click.FloatRange(0, 3600, min_open=True),
    default=5.0,
    show_default=True,
    metavar="SECONDS",
    help="How long to wait for an answer.",
)
@with_client_certificate
@with_settings("host", "port", "socket")
def health(
    *, url: str | None, timeout: float, certificate: str | None, key: str | None, settings: Settings
) -> None:
    """Ask a running server whether it takes requests.

    Without a URL it is the server that the settings describe, on this machine. The server's certificate is not
    verified, as nothing that is secret is sent.
    """
    where, path = _split(_url(settings) if url is None else url), settings.socket if url is None else None
    address = printable(path or where.geturl())
    from http.client import HTTPException  # noqa: PLC0415 - it brings in what --help need not wait for

    def ask() -> tuple[int, bytes]:
        with closing(_connection(where, timeout, (certificate, key))) as connection:
            if path is not None:
                connection.sock = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
                connection.sock.settimeout(timeout)
                connection.sock.connect(path)
            connection.request("GET", f"{where.path.rstrip('/')}{_PATH}")
            answer = connection.getresponse()
            return answer.status, answer.read(_LONGEST_BODY)

    try:
        status, body = within(timeout, ask)
    except UnicodeError:
        raise Refused(f"{address}: this can be no URL") from None
    except (OSError, HTTPException) as error:
        raise Refused(f"{address}: {printable(str(error))}") from None
    if status != _OK:
        raise Refused(f"{address} answers {status}: {_reason(body)}")
    print_line("ready")


def _url(settings: Settings) -> str:
    """Of the server that the settings describe."""
    if settings.socket:
        return f"http://localhost{settings.prefix}"
    if settings.port == 0:
        raise click.UsageError("the settings let the system pick the port: write the URL of the server")
    scheme = "https" if settings.tls.certificate else "http"
    host = _EVERY_ADDRESS.get(settings.host, settings.host)
    return f"{scheme}://{f'[{host}]' if ':' in host else host}:{settings.port}{settings.prefix}"


def _split(url: str) -> SplitResult:
    if "@" in url:
        raise click.UsageError("the URL of a server holds no login, which is not asked for")
    try:
        parts = urlsplit(url)
        if parts.scheme in ("http", "https") and parts.hostname and parts.port != 0:
            return parts
    except ValueError:  # a port that is none, or brackets around what is no address
        pass
    raise click.UsageError(f"write the URL of a server, such as http://127.0.0.1:5000, not {url!r}")


def _connection(where: SplitResult, timeout: float, client: tuple[str | None, str | None]) -> HTTPConnection:
    """One that is not made yet. Raises Refused where the client's certificate cannot be used."""
    from http.client import HTTPConnection, HTTPSConnection  # noqa: PLC0415 - see above

    host = where.hostname or ""
    if where.scheme == "https":
        import ssl  # noqa: PLC0415 - see above

        context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
        context.check_hostname = False
        context.verify_mode = ssl.CERT_NONE
        load_client_certificate(context, *client)
        return HTTPSConnection(host, where.port, timeout=timeout, context=context)
    return HTTPConnection(host, where.port, timeout=timeout)


class _Body(msgspec.Struct):
    status: Any = None
    reason: Any = None


def _reason(body: bytes) -> str:
    """What a server says that is not ready, or a proxy for it."""
    try:
        said = decoded(body, _Body)
    except ValueError:
        said = _Body()
    words = ": ".join(str(each) for each in (said.status, said.reason) if each)
    return printable(words or body.decode(errors="replace").strip()) or "nothing more"
