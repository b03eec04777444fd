"""What is answered to who would store more than a quota allows, and what becomes of what was being stored."""

from __future__ import annotations

import pytest

from cargohold.storage.memory import MemoryStore
from cargohold.types.quotas import Quota, Quotas
from tests.registry.documents import image, sha256
from tests.routes.caller import Pieces, Registry, Reply, answered, request

LIMIT = 10_000
TOGETHER = Quota("team/**", LIMIT)


def limited(*quotas: Quota) -> Registry:
    return Registry(store=MemoryStore(Quotas(quotas or (TOGETHER,))))


def assert_denied(reply: Reply, used: int, needed: int) -> str:
    """403 DENIED, in whose detail a program finds what the message says to people; the message."""
    assert reply.error == (403, "DENIED")
    (entry,) = reply.errors
    detail = entry["detail"]
    assert (detail["used"], detail["needed"]) == (used, needed)
    message: str = entry["message"]
    assert f"{detail['allowed']:,} bytes, of which {used:,} are used" in message
    assert detail["quota"] in message
    return message


def test_nothing_is_left() -> None:
    """Where nothing is left an upload does not start, by whichever way, and says so."""
    registry = limited()
    registry.push_blob("team/app", bytes(LIMIT))
    digest = sha256(b"1")
    for target in ("", f"?digest={digest}", f"?mount={digest}&from=team/other"):
        reply = registry.ask(
            "POST", f"/v2/team/other/blobs/uploads/{target}", body=b"1" if "digest=" in target else b""
        )
        assert "nothing is left" in assert_denied(reply, LIMIT, 1)


@pytest.mark.parametrize("method", ["PATCH", "PUT"])
def test_an_announced_body(method: str) -> None:
    """A body that is known not to fit is refused before a byte of it is read; the session stays, and goes on."""
    registry = limited()
    location = registry.start("team/app")
    assert registry.ask("PATCH", location, body=bytes(4_000)).status == 202
    content = bytes(10_001)
    target = f"{location}?digest={sha256(content)}" if method == "PUT" else location
    reply = registry.ask(method, target, body=content[4_000:])
    assert "6,001 more do not fit" in assert_denied(reply, 4_000, 6_001)
    body = Pieces([content[4_000:]])
    asked = request(method, target, body=body)
    asked.length = 6_001
    assert (answered(registry.handle, asked).status, body.received) == (403, 0)
    assert registry.ask("GET", location)["range"] == "0-3999"
    content = bytes(LIMIT)
    reply = registry.ask("PUT", f"{location}?digest={sha256(content)}", body=content[4_000:])
    assert reply.status == 201


def test_a_body_without_a_length() -> None:
    """Of a body whose length is not announced, what fits is kept, and the client may go on from there."""
    registry = limited()
    location = registry.start("team/app")
    body = Pieces([bytes(4_000), bytes(4_000), bytes(4_000)])
    assert_denied(registry.ask("PATCH", location, body=body), 8_000, 4_000)
    assert registry.ask("GET", location)["range"] == "0-7999"
    headers = {"content-range": "8000-9999"}
    assert registry.ask("PATCH", location, headers, bytes(2_000)).status == 202
    assert registry.ask("PUT", f"{location}?digest={sha256(bytes(LIMIT))}").status == 201


def test_a_blob_in_one_request() -> None:
    """Of a blob that comes with its POST nothing is left when it does not fit, whether its length is known or not."""
    registry = limited()
    content = bytes(LIMIT + 1)
    for body in (content, Pieces([content[:1_000], content[1_000:]])):
        reply = registry.ask("POST", f"/v2/team/app/blobs/uploads/?digest={sha256(content)}", body=body)
        assert reply.error == (403, "DENIED")
    registry.push_blob("team/app", bytes(LIMIT))


def test_a_mount() -> None:
    """A blob that does not fit is not mounted, and no session is opened in its place."""
    registry = limited()
    registry.push_blob("team/app", bytes(6_000))
    digest = registry.push_blob("elsewhere", b"1" * 5_000)
    target = f"/v2/team/app/blobs/uploads/?mount={digest}&from=elsewhere"
    assert_denied(registry.ask("POST", target), 6_000, 5_000)
    assert registry.ask("HEAD", f"/v2/team/app/blobs/{digest}").status == 404
    assert registry.ask("DELETE", f"/v2/team/app/blobs/{sha256(bytes(6_000))}").status == 202
    assert registry.ask("POST", target).status == 201


def test_a_manifest() -> None:
    """A manifest that does not fit is not stored, nor its tag; what is there already can be tagged again."""
    registry = limited(Quota("**", LIMIT))
    registry.push_layers("app")
    registry.push("app", "first", image())
    second = image(annotations={"filler": "1" * LIMIT})
    reply = registry.ask("PUT", "/v2/app/manifests/second", body=second)
    message = assert_denied(reply, reply.errors[0]["detail"]["used"], len(second))
    assert "make room" in message
    assert registry.ask("GET", "/v2/app/manifests/second").status == 404
    registry.push("app", "second", image())


@pytest.mark.parametrize(
    ("quota", "holder"),
    [
        (Quota("team/**", LIMIT), "the repositories team/** together"),
        (Quota("team/*", LIMIT, each=True), "the repository team/app, by the quota of each in team/*,"),
        (Quota("team/app", LIMIT, each=True), "the repository team/app"),
    ],
)
def test_by_which_quota(quota: Quota, holder: str) -> None:
    """The message says which quota it is, and of what."""
    registry = limited(Quota("**", LIMIT * 9), quota)
    registry.push_blob("team/app", bytes(9_000))
    reply = registry.ask("PATCH", registry.start("team/app"), body=bytes(1_001))
    message = assert_denied(reply, 9_000, 1_001)
    assert message == (
        f"{holder} may hold 10,000 bytes, of which 9,000 are used: 1,001 more do not fit; make room there, or ask for"
        " a larger quota"
    )
    (entry,) = reply.errors
    assert entry["detail"]["quota"] == quota.repository
    assert entry["detail"]["allowed"] == LIMIT
