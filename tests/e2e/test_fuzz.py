"""Hostile requests against the real server: each is answered, none does harm, and the server lives on."""

from __future__ import annotations

import json
import socket
from typing import TYPE_CHECKING, NamedTuple
from urllib.parse import quote_from_bytes

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from cargohold.types.oci import OCI_INDEX, OCI_MANIFEST
from tests.e2e.server import Server
from tests.e2e.strays import strays
from tests.http.wire import Wire
from tests.registry.documents import ABSENT, CONFIG, LAYER, descriptor, image, index, sha256, sha512

if TYPE_CHECKING:
    from collections.abc import Iterator

WAIT = 20.0
CONTENT = image()
SUBJECT = descriptor(CONTENT, OCI_MANIFEST)
SESSION = "SESSION"

FUZZ = settings(deadline=None, max_examples=1000, suppress_health_check=[HealthCheck.too_slow])


@pytest.fixture(scope="module")
def target(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Server]:
    """A server of these tests' own, in which there is something to be found and to be spoilt."""
    server = Server(tmp_path_factory.mktemp("fuzz") / "data", {"manifests.allow_tag_deletion": "true"})
    fill(server)
    yield server
    assert server.stop() == 0
    assert "Traceback" not in server.log
    assert "ERROR" not in server.log


def fill(server: Server) -> None:
    with Wire(server.url) as wire:
        for content in (CONFIG, LAYER):
            assert (
                wire.ask("POST", f"/v2/app/blobs/uploads/?digest={sha256(content)}", body=content).status
                == 201
            )
        assert wire.ask("PUT", "/v2/app/manifests/latest", body=CONTENT).status == 201


def unharmed(server: Server) -> None:
    """The server still serves, as all its processes did from the start, and its tree holds what it may hold."""
    workers = server.workers()
    assert len(workers) == 2
    fill(server)
    with Wire(server.url) as wire:
        assert wire.ask("GET", "/v2/app/manifests/latest").body == CONTENT
        assert wire.ask("GET", f"/v2/app/blobs/{sha256(LAYER)}", "Range: bytes=1-3").body == LAYER[1:4]
    assert strays(server.storage) == []
    assert "Traceback" not in server.log


DIGESTS = [sha256(CONFIG), sha256(LAYER), sha256(CONTENT), sha512(LAYER), ABSENT]
WORDS = [
    b"v2",
    b"app",
    b"manifests",
    b"blobs",
    b"uploads",
    b"tags",
    b"list",
    b"referrers",
    b"_catalog",
    b"latest",
    b"a",
]
HOSTILE = [
    b"..",
    b".",
    b"",
    b"...",
    b"\x00",
    b"\n",
    b"~",
    b"_layers",
    b"_uploads",
    b"link",
    b"data",
    b"\xff\xfe",
    b"a" * 256,
]
PARTS = st.one_of(
    st.sampled_from(WORDS),
    st.sampled_from([each.encode() for each in DIGESTS]),
    st.sampled_from(HOSTILE),
    st.binary(max_size=8),
)
ENDPOINTS = st.sampled_from(
    [
        "/v2/",
        "/v2/_catalog",
        "/v2/app/tags/list",
        "/v2/app/manifests/latest",
        "/v2/app/blobs/uploads/",
        SESSION,
        *(f"/v2/app/{kind}/{digest}" for kind in ("blobs", "manifests", "referrers") for digest in DIGESTS),
    ]
)
MADE = st.tuples(st.lists(PARTS, max_size=7), st.sampled_from(["/", ".", "%2f", ""])).map(
    lambda made: "/v2/" + "/".join(quote_from_bytes(part, safe=made[1]) for part in made[0])
)
VALUES = st.one_of(
    st.sampled_from(
        [
            *DIGESTS,
            "app",
            "0",
            "-1",
            "5",
            "99999999999999999999",
            "latest",
            "sha512",
            "../..",
            "",
            "%00",
            "%0a",
        ]
    ),
    st.binary(max_size=12).map(quote_from_bytes),
)
KEYS = st.sampled_from(
    ["n", "last", "digest", "mount", "from", "tag", "artifactType", "digest-algorithm", "ns", "", "x"]
)
QUERIES = st.lists(st.tuples(KEYS, VALUES), max_size=4).map(
    lambda pairs: "&".join(f"{key}={value}" for key, value in pairs)
)
METHODS = st.one_of(
    st.sampled_from(["GET", "HEAD", "POST", "PUT", "PATCH", "DELETE", "OPTIONS"]),
    st.from_regex(r"\A[A-Z!#$%&'*+.^_`|~-]{1,12}\Z"),
)
HEADER_VALUES = st.one_of(
    st.sampled_from(
        [
            "bytes=0-0",
            "bytes=9-3",
            "bytes=-5",
            "0-19",
            "5-9",
            "9-5",
            "bytes 0-5/*",
            "0-999999999999999999",
            "*",
            f'"{sha256(LAYER)}"',
            "*/*;q=0",
            OCI_MANIFEST,
            OCI_INDEX,
            "text/html;q=x",
            "application/json",
        ]
    ),
    st.text(st.characters(min_codepoint=32, max_codepoint=255, exclude_characters="\x7f"), max_size=30),
)
HEADERS = st.lists(
    st.tuples(
        st.sampled_from(
            [
                "Range",
                "If-Range",
                "If-None-Match",
                "Accept",
                "Content-Type",
                "Content-Range",
                "Origin",
                "Authorization",
                "Cookie",
                "X-A",
            ]
        ),
        HEADER_VALUES,
    ),
    max_size=4,
)
BODIES = st.one_of(
    st.just(b""),
    st.binary(max_size=64),
    st.sampled_from(
        [
            LAYER,
            CONTENT,
            CONTENT[:-1],
            index([SUBJECT]),
            index([], subject=SUBJECT),
            index([], subject={**SUBJECT, "digest": "sha256:../.."}),
            b"[" * 5000,
            b'{"schemaVersion":2,"manifests":' + b"[" * 5000,
            b" " * 100_000,
        ]
    ),
    st.recursive(
        st.one_of(st.none(), st.integers(), st.text(max_size=5), st.sampled_from(DIGESTS)),
        lambda inner: st.one_of(
            st.lists(inner, max_size=3),
            st.dictionaries(
                st.sampled_from(
                    [
                        "schemaVersion",
                        "mediaType",
                        "config",
                        "layers",
                        "manifests",
                        "subject",
                        "digest",
                        "size",
                        "x",
                    ]
                ),
                inner,
                max_size=6,
            ),
        ),
        max_leaves=12,
    ).map(lambda document: json.dumps(document).encode()),
)


def exchange(server: Server, raw: bytes, *, hang_up: bool = False) -> bytes:
    """All that the server sends until it closes the connection; TimeoutError where it does neither."""
    host, _, port = server.host.partition(":")
    with socket.create_connection((host, int(port)), WAIT) as connection:
        received = b""
        try:
            connection.sendall(raw)
            if hang_up:
                connection.shutdown(socket.SHUT_WR)
            while piece := connection.recv(1 << 20):
                received += piece
        except (ConnectionResetError, BrokenPipeError):
            return received
    return received


def judge(answer: bytes, method: str) -> None:
    """A whole answer, no fault of ours, and an error in its form unless the server never got to see the request."""
    head, _, body = answer.partition(b"\r\n\r\n")
    status = int(head.split(b" ", 2)[1])
    lines = {
        line.partition(b":")[0].lower(): line.partition(b":")[2].strip() for line in head.split(b"\r\n")[1:]
    }
    assert 200 <= status < 500, answer
    if method != "HEAD" and status not in (204, 304):
        assert len(body) == int(lines[b"content-length"]), answer
    if status < 400:
        return
    if b"docker-distribution-api-version" not in lines:
        assert (status in (400, 414, 431), body) == (True, b""), answer
    elif method != "HEAD":
        assert lines[b"content-type"] == b"application/json"
        for entry in json.loads(body)["errors"]:
            assert entry["code"]
            assert entry["message"]


class Hostile(NamedTuple):
    """A request whose framing is right, and nothing else of it need be."""

    method: str
    path: str
    query: str
    headers: list[tuple[str, str]]
    body: bytes
    chunked: bool

    def raw(self, session: str) -> bytes:
        """As it goes over the wire; `session` is the address of an upload session."""
        path = session if self.path == SESSION else self.path
        target = f"{path}?{self.query}" if self.query else path
        lines = [f"{self.method} {target} HTTP/1.1", "Host: fuzz", "Connection: close"]
        lines += [f"{name}: {value}" for name, value in self.headers]
        body = self.body
        if self.chunked:
            lines.append("Transfer-Encoding: chunked")
            body = (b"%x\r\n%s\r\n" % (len(body), body) if body else b"") + b"0\r\n\r\n"
        else:
            lines.append(f"Content-Length: {len(body)}")
        return "\r\n".join([*lines, "", ""]).encode("latin-1") + body


@FUZZ
@given(st.builds(Hostile, METHODS, st.one_of(ENDPOINTS, MADE), QUERIES, HEADERS, BODIES, st.booleans()))
def test_every_hostile_request_is_answered(target: Server, hostile: Hostile) -> None:
    """Whatever a well-framed request asks, the answer is whole and in its form, and never a fault of the server."""
    session = ""
    if hostile.path == SESSION:
        with Wire(target.url) as wire:
            session = wire.ask("POST", "/v2/app/blobs/uploads/")["location"]
    judge(exchange(target, hostile.raw(session)), hostile.method)


@FUZZ
@given(
    st.one_of(
        st.binary(max_size=200),
        st.tuples(
            st.sampled_from(
                [
                    b"GET /v2/ HTTP/1.1",
                    b"PUT /v2/app/manifests/x HTTP/1.1",
                    b"PATCH /v2/app/blobs/uploads/x HTTP/1.1",
                ]
            ),
            st.lists(
                st.one_of(
                    st.sampled_from(
                        [
                            b"Host: fuzz",
                            b"Content-Length: 5",
                            b"Content-Length: 6",
                            b"Content-Length: -1",
                            b"Content-Length: 99999999999999999999",
                            b"Content-Length: 1e3",
                            b"Transfer-Encoding: chunked",
                            b"Transfer-Encoding: gzip, chunked",
                            b"Transfer-Encoding: identity",
                            b"Expect: 100-continue",
                            b"Connection: upgrade",
                            b"Upgrade: h2c",
                            b"Upgrade: websocket",
                            b" folded: yes",
                            b"no colon",
                        ]
                    ),
                    st.binary(max_size=20),
                ),
                max_size=5,
            ),
            st.one_of(
                st.binary(max_size=30),
                st.sampled_from([b"5\r\nhello\r\n0\r\n\r\n", b"fffffffffffffffff\r\n", b"-1\r\n", b"hello"]),
            ),
        ).map(
            lambda parts: (
                parts[0] + b"\r\n" + b"".join(line + b"\r\n" for line in parts[1]) + b"\r\n" + parts[2]
            )
        ),
    )
)
def test_no_bytes_are_a_fault(target: Server, raw: bytes) -> None:
    """Bytes that are no request, or one that contradicts itself or breaks off, end the connection, and are no fault."""
    answer = exchange(target, raw, hang_up=True)
    if answer:
        assert answer.startswith(b"HTTP/1.")
        status = int(answer.split(b" ", 2)[1])
        assert 100 <= status < 500


def test_the_server_is_unharmed(target: Server) -> None:
    """After all of it both workers serve, and nothing lies in the tree, or beside it, that has no place there."""
    unharmed(target)
