"""Requests to a registry over HTTP: one at a time, bounded in time and in size, with its errors in its own words."""

from __future__ import annotations

import threading
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any, Self

import httpx2
import msgspec

from cargohold import __version__
from cargohold.cli.certificates import load_client_certificate
from cargohold.cli.received import decoded, within
from cargohold.cli.refusal import Refused
from cargohold.cli.remote.address import is_loopback
from cargohold.types.text import printable

if TYPE_CHECKING:
    import ssl
    from collections.abc import Iterator, Mapping
    from types import TracebackType

    from cargohold.cli.remote.address import Address

LONGEST_BYTES = 32 << 20
AT_ONCE = 8
"""How many requests commands send to a registry at the same time."""
_CONNECT_SECONDS = 10.0
_STEP_SECONDS = 30.0
_ALL_SECONDS = 300.0
_MOST_REDIRECTS = 5
_REDIRECTS = frozenset({301, 302, 303, 307, 308})
_TLS_PERHAPS = "it may speak TLS: begin with https://"
_LONGEST_WORDS = 500
_LONGEST_WAIT = 9
_NO_HTTP = ("illegal request line", "illegal status line", "without sending a response")


@contextmanager
def at_once() -> Iterator[ThreadPoolExecutor]:
    """Threads for `AT_ONCE` requests; where one fails, or the user gives up, those that have not begun are not sent."""
    threads = ThreadPoolExecutor(AT_ONCE)
    try:
        yield threads
    finally:
        threads.shutdown(cancel_futures=True)


class Trust(msgspec.Struct, frozen=True):
    """How a registry is known by its certificate, and how it knows who asks by theirs."""

    ca: str | None = None
    insecure: bool = False
    certificate: str | None = None
    key: str | None = None


class Answer(msgspec.Struct, frozen=True):
    """What a registry has answered, whole. `url` is the one that did, after redirects."""

    url: httpx2.URL
    status: int
    headers: httpx2.Headers
    body: bytes


class _Error(msgspec.Struct):
    code: Any = None
    message: Any = None


class _Errors(msgspec.Struct):
    errors: list[_Error] | None = None
    # What token services say by OAuth 2.0 (RFC 6749, 5.2), or simply.
    error: Any = None
    error_description: Any = None
    details: Any = None


class RegistryRefused(Refused):
    """The registry said no to what was asked `about` something: its `status`, and the `codes` of its errors."""

    def __init__(self, about: object, answer: Answer, advice: str = "") -> None:
        self.status = answer.status
        self.codes, words = _read_errors(answer)
        wait = answer.headers.get("retry-after", "")
        words += f"; it asks to wait for {wait} s" if wait.isdecimal() and len(wait) <= _LONGEST_WAIT else ""
        super().__init__(
            f"{about}: {answer.url.host} answers {self.status} {words}{f'; {advice}' if advice else ''}"
        )


def _read_errors(answer: Answer) -> tuple[frozenset[str], str]:
    """The codes of an error's body, and the words: its own, or those of its status."""
    try:
        found = decoded(answer.body, _Errors)
    except ValueError:
        found = _Errors()
    errors = found.errors or []
    said = [": ".join(str(part) for part in (each.code, each.message) if part) for each in errors]
    said += [str(each) for each in (found.error_description or found.details or found.error,) if each]
    words = printable("; ".join(said))[:_LONGEST_WORDS] or httpx2.codes.get_reason_phrase(answer.status)
    if answer.status == httpx2.codes.BAD_REQUEST and answer.url.scheme == "http" and not said:
        words += f"; {_TLS_PERHAPS}"
    return frozenset(each.code for each in errors if isinstance(each.code, str)), words


class Exchange:
    """Connections to a registry, and to where it sends its clients; a `with` closes them. Threads may share it."""

    def __init__(self, address: Address, trust: Trust) -> None:
        """Raises Refused where the files of `trust` cannot be used."""
        self.address = address
        self._trust = trust
        self._here = self._client(self._context(trust) if address.scheme == "https" else False)
        self._elsewhere: httpx2.Client | None = None
        self._lock = threading.Lock()

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._here.close()
        if self._elsewhere is not None:
            self._elsewhere.close()

    def is_here(self, url: httpx2.URL) -> bool:
        """Whether a URL is of the registry that was named."""
        return _origin(url) == _origin(httpx2.URL(self.address.origin))

    def ask(
        self,
        method: str,
        url: str | httpx2.URL,
        headers: Mapping[str, str],
        *,
        form: Mapping[str, str] | None = None,
        longest: int = LONGEST_BYTES,
    ) -> Answer:
        """The answer to a request. Redirects of GET and HEAD are followed, and nothing secret is sent along elsewhere.

        Raises Refused where no answer comes, or one whose body has more than `longest` bytes.
        """
        url = httpx2.URL(url)
        for _ in range(_MOST_REDIRECTS + 1):
            answer = self._ask(method, url, headers, form, longest)
            location = answer.headers.get("location")
            if method not in ("GET", "HEAD") or answer.status not in _REDIRECTS or location is None:
                return answer
            target = self.join(url, location)
            if (url.scheme, target.scheme) == ("https", "http"):
                raise Refused(f"{self.address} leads from https to http, to {target.host}")
            if _origin(target) != _origin(url):
                headers = {name: value for name, value in headers.items() if name != "authorization"}
            url = target
        raise Refused(f"{self.address} leads from one place to another more than {_MOST_REDIRECTS} times")

    def join(self, url: httpx2.URL, reference: str) -> httpx2.URL:
        """Where a registry leads from a URL. Raises Refused where that is no URL."""
        try:
            return url.join(reference)
        except httpx2.InvalidURL as error:
            raise Refused(f"{self.address} leads to what is no URL: {printable(str(error))}") from None

    def _ask(
        self,
        method: str,
        url: httpx2.URL,
        headers: Mapping[str, str],
        form: Mapping[str, str] | None,
        longest: int,
    ) -> Answer:
        def ask() -> Answer:
            with self._at(url).stream(method, url, headers=headers, data=form) as answer:
                body = bytearray()
                for piece in answer.iter_raw():
                    body += piece
                    if len(body) > longest:
                        raise Refused(f"{url.host} answers with more than {longest >> 20} MiB")
                return Answer(url, answer.status_code, answer.headers, bytes(body))

        try:
            return within(_ALL_SECONDS, ask)
        except TimeoutError:
            raise Refused(f"{url.netloc.decode()}: no answer within {_ALL_SECONDS:g} s") from None
        except (httpx2.HTTPError, httpx2.InvalidURL, UnicodeError) as error:
            raise Refused(f"{url.netloc.decode()}: {_words(url, error)}") from None

    def _at(self, url: httpx2.URL) -> httpx2.Client:
        """Who is elsewhere is trusted as usual, however the registry is: and is never shown a certificate."""
        if self.is_here(url):
            return self._here
        with self._lock:
            if self._elsewhere is None:
                self._elsewhere = self._client(self._context(Trust(ca=self._trust.ca)))
            return self._elsewhere

    def _client(self, verify: ssl.SSLContext | bool) -> httpx2.Client:
        return httpx2.Client(
            verify=verify,
            timeout=httpx2.Timeout(_STEP_SECONDS, connect=_CONNECT_SECONDS),
            limits=httpx2.Limits(max_connections=AT_ONCE),
            headers={"accept-encoding": "identity", "user-agent": f"cargohold/{__version__}"},
            # A proxy of the environment is for others than this machine, as clients written in Go have it.
            trust_env=not is_loopback(self.address.host),
        )

    @staticmethod
    def _context(trust: Trust) -> ssl.SSLContext:
        context = httpx2.create_ssl_context(verify=not trust.insecure)
        if trust.ca is not None:
            try:
                context.load_verify_locations(trust.ca)
            except OSError as error:  # ssl.SSLError is one
                raise Refused(f"{trust.ca}: cannot be used as certificates to trust: {error}") from None
        load_client_certificate(context, trust.certificate, trust.key)
        return context


def _origin(url: httpx2.URL) -> tuple[str, str, int | None]:
    """httpx2 leaves out the port that is the scheme's own."""
    return url.scheme, url.host, url.port


def _words(url: httpx2.URL, error: Exception) -> str:
    """What went wrong, and what may be done."""
    if isinstance(error, UnicodeError):
        return "this can be no host's name"
    text = printable(str(error)) or type(error).__name__
    if "CERTIFICATE_VERIFY_FAILED" in text:
        return f"{text}; name the authority that signed its certificate with --ca"
    if url.scheme == "https" and (
        "WRONG_VERSION" in text or "RECORD_LAYER" in text or "UNKNOWN_PROTOCOL" in text
    ):
        return f"{text}; it may speak plain HTTP: begin with http://"
    if (
        url.scheme == "http"
        and isinstance(error, httpx2.RemoteProtocolError)
        and any(words in text for words in _NO_HTTP)
    ):
        return f"{text}; {_TLS_PERHAPS}"
    return text
