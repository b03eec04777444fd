"""To whom files are handed over in place of their bytes, and what such an answer says."""

from __future__ import annotations

import pytest

from cargohold.http.accel import hand_over
from cargohold.http.proxies import forwarded
from cargohold.messages import Answer, Bytes, Empty, File, Request
from tests.routes.caller import answered, request

TRUSTED = ["10.0.0.0/8"]
FORWARDED = ("X-Forwarded-For", "203.0.113.9")
NAMED = [("docker-content-digest", "sha256:aa"), ("etag", '"sha256:aa"'), ("content-type", "x/y")]
WHOLE = File(200, [*NAMED, ("accept-ranges", "bytes"), ("content-length", "9")], "/srv/data/blobs/aa/data")
PART = File(
    206, [*NAMED, ("content-length", "3"), ("content-range", "bytes 2-4/9")], "/srv/data/blobs/aa/data", 2, 5
)
HANDED_OVER = Empty(200, [*NAMED, ("x-accel-redirect", "/internal/blobs/aa/data")])


def said(answer: Answer, peer: str = "10.0.0.1", *lines: tuple[str, str]) -> Answer:
    """What `peer`, with these header lines, gets in place of an answer."""

    async def handle(_request: Request) -> Answer:
        return answer

    asked = request("GET", "/v2/a/blobs/sha256:aa", lines)
    asked.client = peer
    believing = forwarded(handle, TRUSTED)
    return answered(hand_over(believing, location="/internal", root="/srv/data", trusted=TRUSTED), asked)


@pytest.mark.parametrize("answer", [WHOLE, PART], ids=["whole", "part"])
def test_a_trusted_proxy_gets_the_name(answer: File) -> None:
    """With all that names the content, and nothing of its length: also for a part, which nginx cuts out."""
    assert said(answer, "10.0.0.1", FORWARDED) == HANDED_OVER


@pytest.mark.parametrize(
    ("peer", "lines"),
    [("10.0.0.1", []), ("192.0.2.1", [FORWARDED]), ("", [FORWARDED])],
    ids=["not handed on", "by nobody trusted", "by the socket, which is not trusted"],
)
def test_others_get_the_bytes(peer: str, lines: list[tuple[str, str]]) -> None:
    """Who asks directly, or by a proxy that is not trusted, has nobody who would send the file."""
    assert said(WHOLE, peer, *lines) is WHOLE


@pytest.mark.parametrize(
    "answer",
    [
        Bytes(200, NAMED, b"small"),
        Empty(304, NAMED),
        File(200, WHOLE.headers, "/srv/data-of-others/aa"),
        File(200, WHOLE.headers, "/etc/passwd"),
    ],
    ids=["bytes", "nothing", "a neighbour's file", "a file elsewhere"],
)
def test_other_answers_stay(answer: Answer) -> None:
    """What is in memory, has no body, or is no file of the storage is answered as it is."""
    assert said(answer, "10.0.0.1", FORWARDED) is answer
