"""An issuer of tokens: keys, tokens signed with them however one likes, and a web server that publishes the keys."""

from __future__ import annotations

import base64
import datetime as dt
import functools
import ipaddress
import json
import ssl
import threading
import time
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import TYPE_CHECKING, Any, Self

from cryptography import x509
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.serialization import Encoding
from joserfc.jwk import ECKey, OKPKey, RSAKey
from joserfc.jws import JWSRegistry

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping
    from pathlib import Path

ACCESS = [{"type": "repository", "name": "org/app", "actions": ["pull", "push"]}]
_STOP_SECONDS = 10.0
_DRIP_SECONDS = 0.02


class Clock:
    """A clock that moves only when it is told to."""

    def __init__(self) -> None:
        self.now = 1000.0

    def __call__(self) -> float:
        return self.now


@functools.cache
def _generated(form: str, number: int) -> RSAKey | ECKey | OKPKey:
    """Keys take long to make: each is made once. `number` tells those of one form apart."""
    del number
    match form:
        case "P-256" | "P-384" | "P-521":
            return ECKey.generate_key(form)
        case "Ed25519" | "Ed448" | "X25519":
            return OKPKey.generate_key(form)
    return RSAKey.generate_key(int(form))


_FORMS = {"RS": "2048", "PS": "2048", "ES256": "P-256", "ES384": "P-384", "EdDSA": "Ed25519"}


@dataclass(frozen=True)
class SigningKey:
    """A private key with its name and algorithm; `number` makes another one of the same sort."""

    kid: str | None = "one"
    algorithm: str = "RS256"
    number: int = 0
    form: str = ""

    @property
    def key(self) -> RSAKey | ECKey | OKPKey:
        algorithm = self.algorithm
        return _generated(self.form or _FORMS.get(algorithm) or _FORMS[algorithm[:2]], self.number)

    def sign(self, message: bytes, algorithm: str = "") -> bytes:
        return JWSRegistry.algorithms[algorithm or self.algorithm].sign(message, self.key)

    @property
    def jwk(self) -> dict[str, Any]:
        """The public key as issuers publish it."""
        return {**self.key.as_dict(private=False), **({} if self.kid is None else {"kid": self.kid})}

    @property
    def pem(self) -> bytes:
        """The public key in PEM."""
        return self.key.as_pem(private=False)

    @property
    def der(self) -> bytes:
        return self.key.as_der(private=False)

    def certificate(self) -> bytes:
        """A certificate of the key, in PEM, which ended long ago."""
        return _certificate(self.key.private_key, dt.datetime(2020, 1, 2, tzinfo=dt.UTC))


def server_certificate() -> bytes:
    """A certificate for 127.0.0.1 that nobody vouches for but itself, and its key, in PEM."""
    key = _generated("P-256", -1)
    written: bytes = key.as_pem(private=True)
    return written + _certificate(key.private_key, dt.datetime.now(dt.UTC) + dt.timedelta(days=1))


def _certificate(private: Any, end: dt.datetime) -> bytes:
    """A certificate for 127.0.0.1, signed with its own key."""
    name = x509.Name([x509.NameAttribute(x509.NameOID.COMMON_NAME, "token service")])
    host = x509.IPAddress(ipaddress.ip_address("127.0.0.1"))
    return (
        x509.CertificateBuilder()
        .subject_name(name)
        .issuer_name(name)
        .public_key(private.public_key())
        .serial_number(1)
        .not_valid_before(end - dt.timedelta(days=2))
        .not_valid_after(end)
        .add_extension(x509.SubjectAlternativeName([host]), critical=False)
        .sign(private, hashes.SHA256())
        .public_bytes(Encoding.PEM)
    )


def encode(part: bytes) -> str:
    """Base64url without padding."""
    return base64.urlsafe_b64encode(part).rstrip(b"=").decode()


def as_json(value: object) -> bytes:
    return value if isinstance(value, bytes) else json.dumps(value).encode()


def compact(header: object, claims: object, sign: Callable[[bytes], bytes]) -> str:
    """A token of a header and claims (bytes as they are, all else as JSON) and whatever `sign` makes of them."""
    message = f"{encode(as_json(header))}.{encode(as_json(claims))}"
    return f"{message}.{encode(sign(message.encode()))}"


def signed(key: SigningKey, claims: object, header: Mapping[str, object] | None = None) -> str:
    """A token as an honest issuer makes it; members of the header that are None are left out."""
    whole = {"alg": key.algorithm, "typ": "JWT", "kid": key.kid, **(header or {})}
    written = {name: value for name, value in whole.items() if value is not None}
    return compact(written, claims, key.sign)


def jwks(*keys: SigningKey) -> bytes:
    return json.dumps({"keys": [key.jwk for key in keys]}).encode()


@dataclass
class Reply:
    """What a web server answers. `endless` goes on sending the body, `drip` sends it byte by byte, `silent` nothing."""

    body: bytes = b""
    status: int = 200
    headers: dict[str, str] = field(default_factory=dict)
    endless: bool = False
    drip: bool = False
    silent: bool = False


class Issuer:
    """A web server on loopback that publishes keys as issuers do; `asked` are the paths that it was asked for.

    `keys` are published as they are at each request; `replies` are answered in place of what is otherwise at a path.
    With a file of a certificate and its key, it speaks TLS.
    """

    DISCOVERY = "/.well-known/openid-configuration"
    KEYS = "/keys"

    def __init__(self, *keys: SigningKey, certificate: Path | None = None) -> None:
        self.keys = list(keys or (SigningKey(),))
        self.replies: dict[str, Reply] = {}
        self.headers: dict[str, str] = {}
        self.asked: list[str] = []
        self.stopping = threading.Event()
        self._server = _Server(self)
        scheme = "http" if certificate is None else "https"
        self.url = f"{scheme}://127.0.0.1:{self._server.server_port}"
        if certificate is not None:
            context = ssl.create_default_context(ssl.Purpose.CLIENT_AUTH)
            context.load_cert_chain(certificate)
            self._server.socket = context.wrap_socket(self._server.socket, server_side=True)
        self._thread = threading.Thread(target=self._server.serve_forever, args=(0.01,), daemon=True)

    def __enter__(self) -> Self:
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self.stop()

    def stop(self) -> None:
        """Be gone: connections are refused from now on."""
        if not self.stopping.is_set():
            self.stopping.set()
            self._server.shutdown()
            self._server.server_close()
            self._thread.join(_STOP_SECONDS)

    @property
    def keys_url(self) -> str:
        return self.url + self.KEYS

    def reply(self, path: str) -> Reply:
        """What is at a path."""
        if path in self.replies:
            return self.replies[path]
        if path == self.DISCOVERY:
            return Reply(as_json({"issuer": self.url, "jwks_uri": self.keys_url}), headers=self.headers)
        if path == self.KEYS:
            return Reply(jwks(*self.keys), headers=self.headers)
        return Reply(b"no such page", 404)

    def claims(self, audience: str, **more: object) -> dict[str, object]:
        """The claims of a token that is valid for five minutes; those that are None are left out."""
        now = int(time.time())
        claims = {
            "iss": self.url,
            "aud": audience,
            "sub": "a job",
            "iat": now,
            "nbf": now,
            "exp": now + 300,
            **more,
        }
        return {name: value for name, value in claims.items() if value is not None}

    def token(self, audience: str, **more: object) -> str:
        """A token signed with the last of the keys."""
        return signed(self.keys[-1], self.claims(audience, **more))


class _Server(ThreadingHTTPServer):
    daemon_threads = True

    def __init__(self, issuer: Issuer) -> None:
        super().__init__(("127.0.0.1", 0), _Handler)
        self.issuer = issuer

    def handle_error(self, request: object, client_address: object) -> None:
        """A client that hangs up in the middle of an answer is what some tests are about."""


class _Handler(BaseHTTPRequestHandler):
    server: _Server

    def do_GET(self) -> None:
        issuer = self.server.issuer
        issuer.asked.append(self.path)
        reply = issuer.reply(self.path)
        if reply.silent:
            issuer.stopping.wait(_STOP_SECONDS)
            return
        self.send_response(reply.status)
        for name, value in reply.headers.items():
            self.send_header(name, value)
        if not reply.endless:
            self.send_header("Content-Length", str(len(reply.body)))
        self.end_headers()
        if reply.drip:
            for byte in reply.body:
                self.wfile.write(bytes((byte,)))
                if issuer.stopping.wait(_DRIP_SECONDS):
                    return
        else:
            self.wfile.write(reply.body)
        while reply.endless and not issuer.stopping.is_set():
            self.wfile.write(reply.body)

    def log_message(self, *_: object) -> None:
        """Tests look at what was asked, not at a log."""
