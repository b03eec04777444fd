"""What tests of TLS share: a server with a certificate, and connections to it."""

from __future__ import annotations

import contextlib
import hashlib
import ssl
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from tests.certificates import Authority, Pair
from tests.http.serving import ECHO, Serving, serving

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from tests.http.wire import Wire


@dataclass(frozen=True)
class Secured:
    """A server with a certificate for localhost, and the authority that signed it."""

    server: Serving
    authority: Authority

    @property
    def port(self) -> int:
        return int(self.server.address.rpartition(":")[2])

    @property
    def folder(self) -> Path:
        """Where the certificate and its key are."""
        return self.server.root

    def context(self, client: Pair | None = None) -> ssl.SSLContext:
        """A client's, which trusts the authority; `client` is its own certificate."""
        context = ssl.create_default_context(cafile=str(self.folder / "authority"))
        if client is not None:
            client.write(self.folder / "client", self.folder / "client-key")
            context.load_cert_chain(self.folder / "client", self.folder / "client-key")
        return context

    def connect(self, context: ssl.SSLContext | None = None) -> Wire:
        """A connection on which the handshake is done; closed with the server at the latest."""
        wire = self.server.connect()
        wire.socket = (context or self.context()).wrap_socket(wire.socket, server_hostname="localhost")
        return wire

    def fingerprint(self) -> bytes:
        """Of the certificate that a new connection gets."""
        with self.connect() as wire:
            assert isinstance(wire.socket, ssl.SSLSocket)
            return hashlib.sha256(wire.socket.getpeercert(binary_form=True) or b"").digest()

    def renew(self, pair: Pair | None = None) -> Pair:
        """Replace the certificate in its files."""
        pair = pair or self.authority.issue()
        pair.write(self.folder / "certificate", self.folder / "key")
        return pair


@contextlib.contextmanager
def secured(
    root: Path,
    case: str = ECHO,
    *,
    pair: Pair | None = None,
    rules: dict[str, Any] | None = None,
    **arguments: Any,
) -> Iterator[Secured]:
    """Run `case` with a certificate, with the arguments of `serve` and, as `rules`, more of those of `Tls`."""
    authority = Authority().write(root / "authority")
    (pair or authority.issue()).write(root / "certificate", root / "key")
    tls = {"certificate": str(root / "certificate"), "key": str(root / "key"), **(rules or {})}
    with serving(root, case, tls=tls, **arguments) as server:
        yield Secured(server, authority)
