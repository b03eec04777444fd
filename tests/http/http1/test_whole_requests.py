"""Requests that come whole, with their bodies: each begins where the one before ends, and nothing of it is lost."""

from __future__ import annotations

import json
import time
from typing import TYPE_CHECKING, Any

import pytest

from tests.http.http1.running import GET, ended_after
from tests.http.serving import until

if TYPE_CHECKING:
    from tests.http.http1.running import Running
    from tests.http.wire import Wire

TIMES = 4
"""So often a head comes that it is remembered, and made of others."""
CONTENT = b"0123456789"


def putting(target: str, *headers: str, length: int = len(CONTENT)) -> bytes:
    """The head of a PUT."""
    lines = [f"PUT {target} HTTP/1.1", "Host: a", f"Content-Length: {length}", *headers, "", ""]
    return "\r\n".join(lines).encode()


def idle(server: Running) -> Wire:
    """A connection on which a request is awaited, with its first answered."""
    wire = server.connect()
    assert wire.ask("GET", "/v2/").status == 200
    return wire


def hashed(wire: Wire) -> dict[str, Any]:
    """What the server has read of a body."""
    response = wire.response()
    value: dict[str, Any] = json.loads(response.body)
    return {"status": response.status, **value}


def says_nothing(wire: Wire) -> bool:
    wire.socket.settimeout(0.1)
    try:
        wire.response()
    except TimeoutError:
        return True
    else:
        return False
    finally:
        wire.socket.settimeout(20)


def test_what_is_behind_a_body_is_the_next_request(server: Running) -> None:
    """Requests that come in one piece are answered in their order, also where only a part of the last came with it."""
    with idle(server) as wire:
        for number in range(TIMES):
            content = CONTENT[number:]
            wire.send(putting(f"/hash?n={number}", length=len(content)) + content + GET)
            assert hashed(wire)["received"] == len(content)
            assert wire.response().status == 200
            wire.send((putting(f"/hash?m={number}") + CONTENT) * 3 + GET[:-9])
            assert [hashed(wire)["received"] for _ in range(3)] == [len(CONTENT)] * 3
            wire.send(GET[-9:])
            assert wire.response().status == 200


def test_heads_that_are_nearly_alike_are_not_confused(server: Running) -> None:
    """Each body is as long as its own head says, and comes as that says, however often others came before."""
    chunked = b"PUT /hash?%d HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\n\r\n"
    with idle(server) as wire:
        for number in range(TIMES):
            for length in (0, 1, 9, 10):
                wire.send(putting(f"/hash?{number}", length=length) + CONTENT[:length])
                assert hashed(wire)["received"] == length
                wire.send(putting(f"/hash?{number}", "Expect: 100-continue", length=length))
                if length:
                    assert wire.response().status == 100
                    wire.send(CONTENT[:length])
                assert hashed(wire)["received"] == length
            wire.send(chunked % number + b"3\r\nabc\r\n0\r\n\r\n")
            assert hashed(wire)["received"] == 3
            wire.send(b"GET /v2/ HTTP/1.1\r\nHost: a\r\nContent-Length: 10\r\n\r\n" + CONTENT)
            assert wire.response().status == 200


def test_leave_is_asked_for_in_vain_where_the_body_is_there(server: Running) -> None:
    """Who sends the body with a head that expects leave is sent no 100 (RFC 9110, 10.1.1)."""
    with idle(server) as wire:
        for number in range(TIMES):
            wire.send(putting(f"/hash?{number}", "Expect: 100-continue") + CONTENT)
            assert hashed(wire)["status"] == 201


def test_who_waits_for_leave_and_is_refused_has_the_end(server: Running) -> None:
    """What comes then could be the body or a request: the connection ends, also if such a head is remembered."""
    for _ in range(TIMES):
        with idle(server) as wire:
            wire.send(putting("/early?status=413", "Expect: 100-continue"))
            assert wire.response().status == 413
            wire.send(CONTENT + GET)
            assert wire.closed()


def test_who_sends_without_leave_gets_the_refusal(server: Running) -> None:
    """What is sent after a refusal is dropped for a while, with no reset, also if such a head is remembered."""
    for _ in range(TIMES):
        with idle(server) as wire:
            wire.send(putting("/early?status=413", "Expect: 100-continue", length=2_000_000))
            time.sleep(0.05)
            for _ in range(20):
                wire.send(b"x" * 100_000)
            assert wire.response().status == 413
            assert wire.closed()


def test_a_body_that_lacks_a_byte_is_waited_for(server: Running) -> None:
    """It is whole with its last byte and no sooner, and what comes with that is the next request."""
    with idle(server) as wire:
        for number in range(TIMES):
            wire.send(putting(f"/hash?{number}") + CONTENT[:-1])
            assert says_nothing(wire)
            wire.send(CONTENT[-1:] + GET)
            assert hashed(wire)["received"] == len(CONTENT)
            assert wire.response().status == 200


def test_a_body_that_lacks_a_byte_at_the_end_is_cut_off(server: Running) -> None:
    """A client that sends no more than that has sent no body."""
    for _ in range(TIMES):
        with idle(server) as wire:
            wire.send(putting("/hash") + CONTENT[:-1])
            wire.finish()
            assert hashed(wire) == {
                "status": 400,
                "error": "SizeInvalid",
                "message": "the connection ended before the body",
            }
            assert wire.closed()


def test_a_byte_too_many_is_the_next_request(server: Running) -> None:
    """It is none of the body: a request goes on with it, or the client is told that it is none."""
    with idle(server) as wire:
        for number in range(TIMES):
            wire.send(putting(f"/hash?{number}") + CONTENT + GET[:1])
            assert hashed(wire)["received"] == len(CONTENT)
            assert says_nothing(wire)
            wire.send(GET[1:])
            assert wire.response().status == 200
        wire.send(putting("/hash") + CONTENT + b"\0")
        assert hashed(wire)["received"] == len(CONTENT)
        assert wire.response().status == 400
        assert wire.closed()


def test_empty_lines_before_a_request_are_none_of_it(server: Running) -> None:
    """They mean nothing (RFC 9112, 2.2), also between a body and what follows it."""
    with idle(server) as wire:
        for number in range(TIMES):
            for blank in (b"\r\n", b"\r\n\r\n"):
                wire.send(blank + putting(f"/hash?{number}") + CONTENT + blank)
                assert hashed(wire)["received"] == len(CONTENT)
        assert wire.ask("GET", "/v2/").status == 200


def test_a_body_is_no_request(server: Running) -> None:
    """What looks like a request in a body is not answered, be the body read or dropped."""
    with idle(server) as wire:
        for number in range(TIMES):
            for pieces in (0, 1):
                head = putting(f"/early?status=404&pieces={pieces}&n={number}", length=len(GET))
                wire.send(head + GET + GET)
                assert [wire.response().status for _ in range(2)] == [404, 200]
        assert says_nothing(wire)


@pytest.mark.parametrize("target", ["/hash", "/early?status=404&pieces=1", "/early?status=404"])
def test_nothing_is_done_after_the_last_request(server: Running, target: str) -> None:
    """What comes in one piece with a request that is to be the last is not answered (RFC 9112, 9.6)."""
    for _ in range(TIMES):
        with idle(server) as wire:
            wire.send(putting(target, "Connection: close") + CONTENT + GET)
            assert wire.response()["connection"] == "close"
            assert ended_after(wire) < 1


@pytest.mark.parametrize(
    "bad",
    [
        putting("/hash", "Content-Length: 10") + CONTENT,
        putting("/hash", "Transfer-Encoding: chunked") + CONTENT,
        putting("/hash", " folded") + CONTENT,
        b"PUT /hash\r\n\r\n" + CONTENT,
        b"\x16\x03\x01\x02\x00",
    ],
)
def test_a_bad_head_with_a_body_is_refused_each_time(server: Running, bad: bytes) -> None:
    """Its sender is told with a 400, whether it comes first or behind another request, and the connection ends."""
    for number in range(TIMES):
        with idle(server) as wire:
            if number % 2:
                wire.send(putting("/hash") + CONTENT + bad)
                assert hashed(wire)["received"] == len(CONTENT)
            else:
                wire.send(bad)
            response = wire.response()
            assert (response.status, response["connection"]) == (400, "close")
            assert wire.closed()


def test_an_answer_that_takes_its_time_is_followed_by_the_next(server: Running) -> None:
    """What came behind a request waits until that is answered."""
    with idle(server) as wire:
        for _ in range(TIMES):
            wire.send(putting("/sleep?seconds=0.05") + CONTENT + putting("/hash") + CONTENT)
            assert wire.response().status == 204
            assert hashed(wire)["received"] == len(CONTENT)


def test_a_stop_lets_the_request_finish_that_came_whole(server: Running) -> None:
    """It is answered, as the last of its connection, and what came behind it is not."""
    with idle(server) as wire:
        wire.send(putting("/sleep?seconds=0.5") + CONTENT + GET)
        until(
            lambda: (
                server.on_loop(lambda: [each.silent_since for each in server.server.connections]) == [None]
            )
        )
        server.loop.call_soon_threadsafe(server.server.stop)
        response = wire.response()
        assert (response.status, response["connection"]) == (204, "close")
        assert wire.closed()


def test_a_stop_lets_the_body_come(server: Running) -> None:
    """A request whose head has come is answered when its body is whole."""
    with idle(server) as wire:
        wire.send(putting("/hash") + CONTENT[:-1])
        until(lambda: server.on_loop(lambda: server.server.bodies) == 1)
        server.loop.call_soon_threadsafe(server.server.stop)
        time.sleep(0.1)
        wire.send(CONTENT[-1:])
        response = wire.response()
        assert (response.status, response["connection"]) == (201, "close")
        assert wire.closed()
