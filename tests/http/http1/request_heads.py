"""Heads of requests as they are sent, and what they are made of."""

from __future__ import annotations

from hypothesis import strategies as st

HOST = b"Host: registry"
ENDS = [b"\r\n", b"\r", b"\n", b"\0", b" ", b"\t", b":", b"a", b"\xff", b"%2f", b"?", b"#", b"[", b"@"]
WORDS = [b"GET", b"BREW", b"CONNECT", b"PRI", b"/", b"*", b"http://", b" HTTP/1.1", b" HTTP/1.0"]
LINES = [
    b"Host: a",
    b"Content-Length: 3",
    b"Transfer-Encoding: chunked",
    b"Connection: Upgrade",
    b"Connection: close",
    b"Upgrade: h2c",
    b"Expect: 100-continue",
]
PIECES = st.sampled_from([*ENDS, *WORDS, *LINES])


def lines(first: bytes, *headers: bytes) -> bytes:
    return b"\r\n".join([first, *headers, b"", b""])


def put(*headers: bytes) -> bytes:
    """The head of a PUT with a Host and these lines."""
    return lines(b"PUT /x HTTP/1.1", HOST, *headers)


def get(target: bytes, host: bytes = HOST) -> bytes:
    return lines(b"GET " + target + b" HTTP/1.1", host)
