"""A listener that lets no handshake begin, and the connections that it then still has."""

from __future__ import annotations

import asyncio
import socket

import pytest

from cargohold.http.closing import last_connections, refuse
from cargohold.http.listen import listen_tcp

IPV6 = (socket.IPPROTO_IPV6, socket.IPV6_UNICAST_HOPS)
IPV4 = (socket.IPPROTO_IP, socket.IP_TTL)
# A listener's address, a client's, and how that one says how many hops its segments may go.
FAMILIES = pytest.mark.parametrize(
    ("host", "client_host", "hops"),
    [("127.0.0.1", "127.0.0.1", IPV4), ("::1", "::1", IPV6), ("::ffff:127.0.0.1", "127.0.0.1", IPV4)],
    ids=["IPv4", "IPv6", "both"],
)


@FAMILIES
def test_no_handshake_begins(host: str, client_host: str, hops: tuple[int, int]) -> None:
    """Who knocks is neither let in nor refused; who was let in before is heard."""
    (listener,) = listen_tcp(host, 0, 1)
    address = (client_host, listener.getsockname()[1])
    family = socket.AF_INET6 if hops == IPV6 else socket.AF_INET
    with listener, socket.create_connection(address) as early, socket.socket(family) as late:
        refuse(listener)
        late.settimeout(0.3)
        with pytest.raises(TimeoutError):
            late.connect(address)
        early.sendall(b"early")
        with listener.accept()[0] as accepted:
            accepted.settimeout(0.1)
            assert accepted.recv(5) == b"early"
        listener.setblocking(False)
        with pytest.raises(BlockingIOError):
            listener.accept()


@FAMILIES
def test_who_was_about_to_come_is_heard(host: str, client_host: str, hops: tuple[int, int]) -> None:
    """A connection whose handshake ends after the refusal is deaf, until the last connections are waited for.

    To have one the client knocks with segments that may go all the hops there can be: these pass.
    """
    (listener,) = listen_tcp(host, 0, 1)
    family = socket.AF_INET6 if hops == IPV6 else socket.AF_INET
    with listener, socket.socket(family) as client:
        refuse(listener)
        client.setsockopt(*hops, 255)
        client.settimeout(10)
        client.connect((client_host, listener.getsockname()[1]))
        client.setsockopt(*hops, 64)
        client.sendall(b"late")
        with listener.accept()[0] as accepted:
            accepted.setblocking(False)
            with pytest.raises(BlockingIOError):
                accepted.recv(4)
            asyncio.run(last_connections(listener))
            assert accepted.recv(4) == b"late"


def test_the_refusal_of_a_unix_socket() -> None:
    """It goes by the name of the socket alone: who has found it is let in."""
    with socket.socket(socket.AF_UNIX) as listener, socket.socket(socket.AF_UNIX) as client:
        listener.bind("")
        listener.listen()
        refuse(listener)
        assert client.connect_ex(listener.getsockname()) == 0
