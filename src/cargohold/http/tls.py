"""TLS: the certificate and its key, what must hold of them, and how they are renewed while the server runs."""

from __future__ import annotations

import contextlib
import logging
import math
import os
import ssl
import time
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Final

from cargohold.storage.files import read_whole

if TYPE_CHECKING:
    from collections.abc import Callable

    Found = tuple[bytes, bytes, bytes | None] | str  # contents, or why they cannot be had

WARN_SECONDS: Final = 14 * 86400
FIRST_PAUSE_SECONDS: Final = 10.0
LONGEST_PAUSE_SECONDS: Final = 3600.0
USABLE_KEYS: Final = (
    "RSA keys of 2048, 3072 or 4096 bits, ECDSA keys on P-256 or P-384, and Ed25519 keys can be used"
)

_RSA_BITS: Final = 2048, 3072, 4096
_LEAST_EXPONENT: Final = 65537
_CURVES: Final = "secp256r1", "secp384r1"
_DAY: Final = 86400
_HAS_EXPIRED: Final = 10  # X509_V_ERR_CERT_HAS_EXPIRED
_NOT_YET_VALID: Final = 9  # X509_V_ERR_CERT_NOT_YET_VALID
_VERSIONS: Final = {"1.2": ssl.TLSVersion.TLSv1_2, "1.3": ssl.TLSVersion.TLSv1_3}
_FLIGHTS: Final = 4  # a handshake has no more, of each end
_END: Final = "-----END CERTIFICATE-----"

_log = logging.getLogger(__name__)


class TlsError(Exception):
    """What is wrong with one of the files, and what to change."""


@dataclass(frozen=True)
class Tls:
    """What connections are secured with: paths of files in PEM, and rules.

    `certificate` holds the server's own certificate first, then those between it and the root; `key` its
    private key, not encrypted. `minimum` is the oldest version that is spoken, "1.2" or "1.3". `client_ca`
    holds the certificates of those who sign clients' certificates; `client_certificates` says whether clients
    must have one ("require") or may ("request").
    """

    certificate: str
    key: str
    minimum: str = "1.2"
    client_ca: str | None = None
    client_certificates: str = "require"


@dataclass(frozen=True)
class Credentials:
    """What the files of `tls` held when they were found to be good.

    `expires` is when the certificate does, in seconds since the epoch.
    """

    tls: Tls
    certificate: bytes
    key: bytes = field(repr=False)
    client_ca: bytes | None
    expires: float

    def files(self) -> tuple[str, str, str | None]:
        """Paths of the certificate, the key and the client CA, for this process and as long as it lives.

        They lead to what was checked, whatever has become of the files since.
        """
        client_ca = None if self.client_ca is None else _path(_in_memory(self.client_ca))
        return _path(_in_memory(self.certificate)), _path(_in_memory(self.key)), client_ca

    def context(self) -> ssl.SSLContext:
        """What secures the connections of this process."""
        certificate, key = _in_memory(self.certificate), _in_memory(self.key)
        context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        context.minimum_version = _VERSIONS[self.tls.minimum]
        context.set_alpn_protocols(["http/1.1"])
        try:
            context.load_cert_chain(_path(certificate), _path(key))
        finally:
            os.close(certificate)
            os.close(key)
        if self.client_ca is not None:
            context.load_verify_locations(cadata=_text(self.client_ca))
            required = self.tls.client_certificates == "require"
            context.verify_mode = ssl.CERT_REQUIRED if required else ssl.CERT_OPTIONAL
        return context


def load(tls: Tls) -> Credentials:
    """Read the files and check that a server can work with them.

    Raises TlsError: a file that cannot be read or is not PEM, an encrypted key, one that is not the
    certificate's, a certificate that has expired, is not yet valid, or is not for servers.
    """
    return _checked(tls, *_read(tls))


def check_client_ca(path: str) -> None:
    """Raises TlsError where the file cannot be read, or holds no certificates."""
    _check_certificates("tls.client_ca", path, _content("tls.client_ca", path))


class Renewal:
    """Looks whether the files of `current`, the credentials in use, were replaced, and by what."""

    def __init__(
        self,
        current: Credentials,
        clock: Callable[[], float] = time.time,
        uptime: Callable[[], float] = time.monotonic,
    ) -> None:
        self.current = current
        self._seen: Found | None = None
        self._held_back: Found | None = None
        self._until = math.inf
        self._pause = FIRST_PAUSE_SECONDS
        self._clock = clock
        self._uptime = uptime
        self._warned = -math.inf

    def look(self, *, at_once: bool = False) -> Credentials | None:
        """The new credentials, good as far as can be told, or None.

        Files are written one after the other: what is new counts when it was the same at two looks, or
        `at_once`. What is no good is refused.
        """
        self._warn()
        current = self.current
        try:
            found: Found = _read(current.tls)
        except TlsError as error:
            found = str(error)
        settled = at_once or found == self._seen
        held_back = found == self._held_back and self._uptime() < self._until
        known = found == (current.certificate, current.key, current.client_ca) or (held_back and not at_once)
        self._seen = found
        if known and at_once:
            _log.info("the files of the certificate have not changed")
        if known or not settled:
            return None
        try:
            if isinstance(found, str):
                raise TlsError(found)  # noqa: TRY301 - one place logs what is refused
            return _checked(current.tls, *found)
        except TlsError as error:
            self.refuse(str(error))
            return None

    def refuse(self, reason: str) -> None:
        """Log why what was seen last is not used; it is offered again only where it is asked for `at_once`."""
        self._hold_back(math.inf)
        _log.error("the certificate in use stays, as the new one cannot be used: %s", reason)

    def put_off(self, reason: str) -> None:
        """Log what kept the workers from taking what was seen last; it is offered again after a pause.

        The pause is longer each time that the same contents are put off, up to LONGEST_PAUSE_SECONDS.
        """
        again = self._held_back == self._seen and self._until < math.inf
        self._pause = min(2 * self._pause, LONGEST_PAUSE_SECONDS) if again else FIRST_PAUSE_SECONDS
        self._hold_back(self._uptime() + self._pause)
        _log.error(
            "the certificate in use stays for now, as the new one could not be put to use: %s;"
            " trying again in %g seconds, or at a SIGHUP",
            reason,
            self._pause,
        )

    def _hold_back(self, until: float) -> None:
        self._held_back, self._until = self._seen, until

    def accept(self, credentials: Credentials) -> None:
        """Log that these are in use now."""
        self.current = credentials
        self._held_back = None
        _log.info(
            "new connections get the new certificate, which is valid until %s", _date(credentials.expires)
        )

    def _warn(self) -> None:
        now = self._clock()
        left = self.current.expires - now
        if left < WARN_SECONDS and now - self._warned > _DAY:
            self._warned = now
            verb = "expires" if left > 0 else "has expired, and clients refuse it since"
            _log.warning(
                "the certificate %s %s %s", self.current.tls.certificate, verb, _date(self.current.expires)
            )


def _date(seconds: float) -> str:
    return time.strftime("%Y-%m-%d %H:%M UTC", time.gmtime(seconds))


def _read(tls: Tls) -> tuple[bytes, bytes, bytes | None]:
    client_ca = None if tls.client_ca is None else _content("tls.client_ca", tls.client_ca)
    return _content("tls.certificate", tls.certificate), _content("tls.key", tls.key), client_ca


def _content(setting: str, path: str) -> bytes:
    try:
        return read_whole(path)[0]
    except (OSError, ValueError) as error:
        reason = error.strerror if isinstance(error, OSError) else error
        raise TlsError(
            f"{setting}: cannot read {path}: {reason}; give a file that user {os.getuid()} may read"
        ) from error


def _checked(tls: Tls, certificate: bytes, key: bytes, client_ca: bytes | None) -> Credentials:
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    _check_certificates("tls.certificate", tls.certificate, certificate)
    _check_key(context, tls, certificate, key)
    if not _is_served(key):
        raise TlsError(f"tls.key: {tls.key} is of a kind that cannot be served; {USABLE_KEYS}")
    if client_ca is not None:
        _check_certificates("tls.client_ca", str(tls.client_ca), client_ca)
    return Credentials(tls, certificate, key, client_ca, _expiry(context, tls, certificate))


def _check_certificates(setting: str, path: str, content: bytes) -> None:
    try:
        text = _text(content)
        if _END not in text:
            raise ValueError("no certificate")  # noqa: TRY301 - the message is the same
        ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT).load_verify_locations(cadata=text)
    except (ValueError, ssl.SSLError) as error:
        raise TlsError(
            f"{setting}: {path} holds no certificate in PEM, or a damaged one; give a file that begins with"
            " -----BEGIN CERTIFICATE-----"
        ) from error


def _text(content: bytes) -> str:
    """Certificates in ASCII; what stands between them may be in any encoding, and what they hold may not."""
    return content.decode("ascii", "backslashreplace")


def _check_key(context: ssl.SSLContext, tls: Tls, certificate: bytes, key: bytes) -> None:
    if b"ENCRYPTED" in key:
        raise TlsError(
            f"tls.key: {tls.key} is encrypted and no one is there to give the password; decrypt it with"
            f" openssl pkey -in {tls.key}"
        )
    if b"PRIVATE KEY-----" not in key:
        raise TlsError(
            f"tls.key: {tls.key} holds no private key in PEM; give a file with -----BEGIN PRIVATE KEY-----"
        )
    files = _in_memory(certificate), _in_memory(key)
    try:
        context.load_cert_chain(_path(files[0]), _path(files[1]), password="")
    except ssl.SSLError as error:
        problem = (
            f"is not the key of the first certificate in {tls.certificate}; that must be the server's own"
            if error.reason == "KEY_VALUES_MISMATCH"
            else f"and {tls.certificate} cannot be used: {error.reason or 'the key is damaged'}; make them anew"
        )
        raise TlsError(f"tls.key: {tls.key} {problem}") from error
    finally:
        for descriptor in files:
            os.close(descriptor)


def _is_served(key: bytes) -> bool:
    """Whether granian's TLS library takes such a key: where it does not, it would take the process down.

    A process is forked to find out: what tells keys apart takes a quarter of the memory of all else, for good.
    """
    pid = os.fork()
    if pid == 0:
        code = 1
        try:
            code = 0 if _is_of_a_kind_that_is_served(key) else 1
        finally:
            os._exit(code)
    _, status = os.waitpid(pid, 0)
    return os.waitstatus_to_exitcode(status) == 0


def _is_of_a_kind_that_is_served(key: bytes) -> bool:
    from cryptography.exceptions import UnsupportedAlgorithm  # noqa: PLC0415
    from cryptography.hazmat.primitives.asymmetric.ec import EllipticCurvePrivateKey  # noqa: PLC0415
    from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey  # noqa: PLC0415
    from cryptography.hazmat.primitives.asymmetric.rsa import RSAPrivateKey  # noqa: PLC0415
    from cryptography.hazmat.primitives.serialization import load_pem_private_key  # noqa: PLC0415

    try:
        found = load_pem_private_key(key, None)
    except (ValueError, UnsupportedAlgorithm):
        return False
    if isinstance(found, RSAPrivateKey):
        return found.key_size in _RSA_BITS and found.public_key().public_numbers().e >= _LEAST_EXPONENT
    if isinstance(found, EllipticCurvePrivateKey):
        return found.curve.name in _CURVES
    return isinstance(found, Ed25519PrivateKey)


def _expiry(context: ssl.SSLContext, tls: Tls, certificate: bytes) -> float:
    """When the certificate expires, from a handshake in which its own client trusts it alone."""
    client = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    client.check_hostname = False
    client.verify_flags |= ssl.VERIFY_X509_PARTIAL_CHAIN
    client.load_verify_locations(cadata=_text(certificate).partition(_END)[0] + _END)
    requests, answers = ssl.MemoryBIO(), ssl.MemoryBIO()
    ends = client.wrap_bio(answers, requests), context.wrap_bio(requests, answers, server_side=True)
    try:
        for _ in range(_FLIGHTS):
            for end in ends:
                with contextlib.suppress(ssl.SSLWantReadError):
                    end.do_handshake()
    except ssl.SSLCertVerificationError as error:
        problem = {_HAS_EXPIRED: "has expired", _NOT_YET_VALID: "is not valid yet"}.get(
            error.verify_code, f"is refused by clients: {error.verify_message}"
        )
        raise TlsError(
            f"tls.certificate: the certificate in {tls.certificate} {problem}; give a valid one"
        ) from error
    except ssl.SSLError as error:
        raise TlsError(f"tls.certificate: {tls.certificate} cannot be used: {error.reason}") from error
    return float(ssl.cert_time_to_seconds(str((ends[0].getpeercert() or {})["notAfter"])))


def _in_memory(content: bytes) -> int:
    """A descriptor of a file that is in memory alone: keys do not go to disk a second time."""
    descriptor = os.memfd_create("pem")
    os.write(descriptor, content)
    return descriptor


def _path(descriptor: int) -> str:
    return f"/proc/self/fd/{descriptor}"
