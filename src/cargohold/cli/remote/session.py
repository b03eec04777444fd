"""What commands ask of a registry: manifests, blobs and lists, with the login that it asks for."""

from __future__ import annotations

import re
from contextlib import contextmanager
from typing import TYPE_CHECKING

import msgspec

from cargohold.cli.received import decoded
from cargohold.cli.refusal import Refused
from cargohold.cli.remote.authorization import Authorization
from cargohold.cli.remote.exchange import LONGEST_BYTES, Answer, Exchange, RegistryRefused
from cargohold.types.digest import Digest
from cargohold.types.errors import DigestInvalid
from cargohold.types.oci import (
    DOCKER_MANIFEST,
    DOCKER_MANIFEST_LIST,
    DOCKER_SCHEMA1,
    DOCKER_SCHEMA1_SIGNED,
    OCI_INDEX,
    OCI_MANIFEST,
)

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from cargohold.cli.remote.address import Address
    from cargohold.cli.remote.exchange import Trust
    from cargohold.cli.remote.logins import Login

_LARGEST_DOCUMENT = 8 << 20
CATALOG_SCOPE = "registry:catalog:*"
_MOST_PAGES = 1_000_000
_OK, _UNAUTHORIZED, _NOT_FOUND = 200, 401, 404
_SUCCESS = range(200, 300)
_NEXT = re.compile(r'<([^<>]*)>\s*;[^<>]*\brel="?next\b')
_TYPES = (
    OCI_INDEX,
    DOCKER_MANIFEST_LIST,
    OCI_MANIFEST,
    DOCKER_MANIFEST,
    DOCKER_SCHEMA1_SIGNED,
    DOCKER_SCHEMA1,
)
_ACCEPT = ", ".join(_TYPES)


class Found(msgspec.Struct, frozen=True):
    """A manifest as it was sent: `content` has the `digest`."""

    digest: Digest
    media_type: str
    content: bytes


class _Names(msgspec.Struct):
    repositories: list[str] | None = None
    tags: list[str] | None = None


@contextmanager
def open_session(address: Address, trust: Trust, login: Callable[[], Login | None]) -> Iterator[Session]:
    """A session with a registry that has answered. Raises Refused where there is none at the address."""
    with Exchange(address, trust) as exchange:
        session = Session(exchange, Authorization(exchange, login))
        session.greet()
        yield session


class Session:
    """Requests to one registry; each raises Refused. Threads may share it."""

    def __init__(self, exchange: Exchange, authorization: Authorization) -> None:
        self.address = exchange.address
        self._exchange = exchange
        self._authorization = authorization

    def greet(self) -> None:
        """Find out whether there is a registry, and what it asks for (spec.md, "Determining Support")."""
        answer = self._exchange.ask("GET", f"{self.address.origin}{self.address.prefix}/v2/", {})
        if answer.status == _UNAUTHORIZED:
            if not self._authorization.learn(answer, ""):
                raise RegistryRefused(self.address, answer, self._authorization.advice())
        elif answer.status == _NOT_FOUND:
            raise RegistryRefused(
                self.address, answer, "there is no registry here, unless it is below another path"
            )
        elif answer.status != _OK:
            raise RegistryRefused(self.address, answer)

    def digest(self, repository: str, reference: str) -> Digest:
        """The digest of the manifest that a reference names: a digest names itself, whatever the registry says."""
        about = _about(self.address, repository, reference)
        answer = self._ask("HEAD", f"/v2/{repository}/manifests/{reference}", _pull(repository), about)
        header = answer.headers.get("docker-content-digest")
        said = None if header is None else _digest(about, header)
        if ":" in reference:
            asked = Digest(reference)
            # By another algorithm, the same manifest has another digest.
            if said is not None and said.algorithm == asked.algorithm and said != asked:
                raise Refused(f"{about}: the registry has {said} there, which was not asked for")
            return asked
        return self.manifest(repository, reference).digest if said is None else said

    def manifest(self, repository: str, reference: str) -> Found:
        """A manifest, whose bytes are held against its digest."""
        about = _about(self.address, repository, reference)
        path = f"/v2/{repository}/manifests/{reference}"
        answer = self._ask("GET", path, _pull(repository), about, _LARGEST_DOCUMENT)
        said = reference if ":" in reference else answer.headers.get("docker-content-digest")
        digest = Digest.of(answer.body) if said is None else _digest(about, said)
        _verify(about, digest, answer.body)
        return Found(digest, answer.headers.get("content-type", "").partition(";")[0], answer.body)

    def blob(self, repository: str, digest: Digest) -> bytes:
        """A blob that is small, held against its digest."""
        about = _about(self.address, repository, digest)
        path = f"/v2/{repository}/blobs/{digest}"
        answer = self._ask("GET", path, _pull(repository), about, _LARGEST_DOCUMENT)
        _verify(about, digest, answer.body)
        return answer.body

    def delete_manifest(self, repository: str, reference: str) -> None:
        """Delete a manifest by its digest, or a tag."""
        about = _about(self.address, repository, reference)
        self._ask(
            "DELETE", f"/v2/{repository}/manifests/{reference}", f"repository:{repository}:delete", about
        )

    def repositories(self) -> Iterator[list[str]]:
        """The catalog, page by page."""
        return self._names("/v2/_catalog", CATALOG_SCOPE, str(self.address), "repositories")

    def tags(self, repository: str) -> Iterator[list[str]]:
        """The tags of a repository, page by page."""
        about = f"{self.address}/{repository}"
        return self._names(f"/v2/{repository}/tags/list", _pull(repository), about, "tags")

    def referrers(self, repository: str, digest: Digest) -> Iterator[bytes]:
        """The pages of the index of what refers to a manifest (spec.md, "Listing Referrers")."""
        about = _about(self.address, repository, digest)
        path = f"/v2/{repository}/referrers/{digest}"
        pages = self._pages(path, _pull(repository), about, _LARGEST_DOCUMENT)
        return (answer.body for answer in pages)

    def _pages(self, path: str, scope: str, about: str, longest: int = LONGEST_BYTES) -> Iterator[Answer]:
        """The answers to a request and to those that the header Link leads on to, each asked for when it is wanted."""
        for _ in range(_MOST_PAGES):
            answer = self._ask("GET", path, scope, about, longest)
            yield answer
            link = _NEXT.search(", ".join(answer.headers.get_list("link")))
            if link is None:
                return
            # Whatever host it names, it is asked where the first page was.
            target = self._exchange.join(answer.url, link[1]).raw_path.decode()
            following = target.removeprefix(self.address.prefix)
            if following == path:
                raise Refused(f"{about}: the list leads from a page to the same page")
            path = following
        raise Refused(f"{about}: the list has more than {_MOST_PAGES} pages")

    def _names(self, path: str, scope: str, about: str, field: str) -> Iterator[list[str]]:
        for answer in self._pages(path, scope, about):
            try:
                page: list[str] | None = getattr(decoded(answer.body, _Names), field)
            except ValueError:
                raise Refused(f"{about}: the answer is not a list of {field}") from None
            yield page or []

    def _ask(self, method: str, path: str, scope: str, about: str, longest: int = LONGEST_BYTES) -> Answer:
        url = f"{self.address.origin}{self.address.prefix}{path}"
        for again in (False, True):
            headers = {"accept": _ACCEPT if "/manifests/" in path else "*/*"}
            headers |= self._authorization.header(scope)
            answer = self._exchange.ask(method, url, headers, longest=longest)
            if again or answer.status != _UNAUTHORIZED or not self._authorization.learn(answer, scope):
                break
        if answer.status not in _SUCCESS:
            advice = self._authorization.advice() if answer.status == _UNAUTHORIZED else ""
            raise RegistryRefused(about, answer, advice)
        return answer


def _pull(repository: str) -> str:
    return f"repository:{repository}:pull"


def _about(address: Address, repository: str, reference: str) -> str:
    return f"{address}/{repository}{'@' if ':' in reference else ':'}{reference}"


def _digest(about: str, text: str) -> Digest:
    try:
        return Digest(text)
    except DigestInvalid as error:
        raise Refused(f"{about}: the registry names a digest that is none: {error.message}") from None


def _verify(about: str, digest: Digest, content: bytes) -> None:
    if not digest.equals(Digest.of(content, digest.algorithm)):
        raise Refused(f"{about}: what the registry sent has not the digest {digest}")
