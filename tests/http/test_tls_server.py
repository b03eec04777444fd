"""TLS on the real server: versions, protocols, clients' certificates, and those who do not speak it."""

from __future__ import annotations

import json
import socket
import ssl
import subprocess
import sys
from typing import TYPE_CHECKING, Any

import pytest
from cryptography.hazmat.primitives.asymmetric import ec, ed448, ed25519, rsa

from tests.certificates import CLIENT, Authority
from tests.http.securing import secured
from tests.http.serving import ECHO, PROJECT, serving, until
from tests.http.wire import Wire

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from cryptography.hazmat.primitives.asymmetric.types import CertificateIssuerPrivateKeyTypes

    from tests.http.securing import Secured

GET = b"GET /v2/ HTTP/1.1\r\nHost: registry\r\n\r\n"


@pytest.fixture(scope="module")
def running(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Secured]:
    with secured(tmp_path_factory.mktemp("tls"), workers=2) as started:
        yield started


def s_client(secure: Secured, *options: str) -> str:
    """What openssl's client says of a handshake."""
    address = f"127.0.0.1:{secure.port}"
    command = ["openssl", "s_client", "-connect", address, "-CAfile", str(secure.folder / "authority")]
    done = subprocess.run(
        [*command, *options], input="Q\n", capture_output=True, text=True, timeout=30, check=False
    )
    return done.stdout + done.stderr


def test_requests_and_files(running: Secured) -> None:
    """Over TLS the application is told so, and files and uploads are the same."""
    assert running.server.address == f"https://127.0.0.1:{running.port}"
    content = bytes(range(256)) * 40_000
    (running.folder / "content").write_bytes(content)
    wire = running.connect()
    assert json.loads(wire.ask("GET", "/v2/").body)["scheme"] == "https"
    assert wire.ask("GET", "/file?name=content").body == content
    assert wire.ask("GET", "/file?name=content&start=5&stop=9").body == content[5:9]
    assert json.loads(wire.ask("PUT", "/hash", body=content).body)["received"] == len(content)


@pytest.mark.parametrize(
    ("minimum", "option", "spoken"),
    [
        ("1.2", "-tls1_1", False),
        ("1.2", "-tls1_2", True),
        ("1.2", "-tls1_3", True),
        ("1.3", "-tls1_2", False),
        ("1.3", "-tls1_3", True),
    ],
)
def test_versions(tmp_path: Path, minimum: str, option: str, *, spoken: bool) -> None:
    """TLS 1.2 and 1.3 are spoken, or 1.3 alone; the chain is verified by a client that trusts the authority."""
    with secured(tmp_path, rules={"minimum": minimum}) as secure:
        said = s_client(secure, option, "-cipher", "ALL:@SECLEVEL=0")
        assert ("Verify return code: 0 (ok)" in said and "New, TLSv1" in said) is spoken
        assert ("no peer certificate available" in said) is not spoken


@pytest.mark.parametrize(
    ("http2", "offer", "chosen"), [(False, "h2,http/1.1", "http/1.1"), (True, "h2", "h2")]
)
def test_http2_is_chosen_only_where_it_is_on(tmp_path: Path, offer: str, chosen: str, *, http2: bool) -> None:
    """HTTP/1.1, unless HTTP/2 was asked for: clients choose it by themselves, and their uploads are slower then."""
    with secured(tmp_path, http2=http2) as secure:
        assert f"ALPN protocol: {chosen}\n" in s_client(secure, "-alpn", offer)
        url = f"https://localhost:{secure.port}/hash"
        given = secure.folder / "given"
        given.write_bytes(bytes(1 << 20))
        curl = ["curl", "--silent", "--cacert", str(secure.folder / "authority"), "--http2", "-T", str(given)]
        write = ["--write-out", "\n%{http_version} %{http_code}", url]
        body, _, version = subprocess.check_output([*curl, *write], text=True, timeout=30).rpartition("\n")
        assert version == ("2 201" if http2 else "1.1 201")
        assert json.loads(body)["received"] == 1 << 20


def keys() -> list[tuple[CertificateIssuerPrivateKeyTypes, bool]]:
    return [
        (rsa.generate_private_key(65537, 2048), True),
        (ec.generate_private_key(ec.SECP384R1()), True),
        (ed25519.Ed25519PrivateKey.generate(), True),
        (ec.generate_private_key(ec.SECP521R1()), False),
        (ed448.Ed448PrivateKey.generate(), False),
        (rsa.generate_private_key(65537, 2560), False),
        (rsa.generate_private_key(3, 2048), False),
    ]


@pytest.mark.parametrize(("key", "usable"), keys())
def test_kinds_of_keys(tmp_path: Path, key: CertificateIssuerPrivateKeyTypes, *, usable: bool) -> None:
    """RSA, ECDSA on the usual curves and Ed25519 are served; of others a line says which can be."""
    authority = Authority()
    pair = authority.issue(key=key)
    if usable:
        with secured(tmp_path, pair=pair) as secure:
            assert secure.folder == tmp_path
            context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
            context.check_hostname, context.verify_mode = False, ssl.CERT_NONE
            assert secure.connect(context).ask("GET", "/v2/").status == 200
    else:
        pair.write(tmp_path / "certificate", tmp_path / "key")
        said = refused(tmp_path, certificate=str(tmp_path / "certificate"), key=str(tmp_path / "key"))
        assert said.startswith(
            f"cargohold: tls.key: {tmp_path}/key is of a kind that cannot be served; RSA keys"
        )
        assert said.count("\n") == 1


def refused(root: Path, **tls: Any) -> str:
    """What a server says that does not start."""
    command = [sys.executable, "-m", ECHO, str(root), json.dumps({"tls": tls})]
    done = subprocess.run(command, cwd=PROJECT, capture_output=True, text=True, timeout=30, check=False)
    assert done.returncode == 1
    return done.stderr


def test_a_certificate_that_is_no_good_is_refused_at_the_start(tmp_path: Path) -> None:
    """One line says what is wrong with which file, and the exit code is 1."""
    Authority().issue(begins=-5, ends=-1).write(tmp_path / "certificate", tmp_path / "key")
    said = refused(tmp_path, certificate=str(tmp_path / "certificate"), key=str(tmp_path / "key"))
    assert said == (
        f"cargohold: tls.certificate: the certificate in {tmp_path}/certificate has expired; give a valid one\n"
    )


def greets(secure: Secured, context: ssl.SSLContext) -> bool:
    """Whether a client gets an answer; in TLS 1.3 a refusal comes after its side of the handshake."""
    try:
        return secure.connect(context).ask("GET", "/v2/").status == 200
    except (ssl.SSLError, EOFError, ConnectionError):
        return False


@pytest.mark.parametrize("version", [ssl.TLSVersion.TLSv1_2, ssl.TLSVersion.TLSv1_3])
@pytest.mark.parametrize("rule", ["require", "request"])
def test_certificates_of_clients(tmp_path: Path, rule: str, version: ssl.TLSVersion) -> None:
    """A client's certificate is one of the authority's, valid and for clients; where it is required there is one."""
    mine, other = Authority("mine").write(tmp_path / "clients"), Authority("other")
    comment = "# Főtanúsítvány\n".encode()
    (tmp_path / "clients").write_bytes(comment + (tmp_path / "clients").read_bytes() + comment)
    rules = {"client_ca": str(tmp_path / "clients"), "client_certificates": rule}
    with secured(tmp_path, rules=rules) as secure:
        cases = {
            "good": (mine.issue("alice", usage=CLIENT), True),
            "none": (None, rule == "request"),
            "of another authority": (other.issue("alice", usage=CLIENT), False),
            "expired": (mine.issue("alice", usage=CLIENT, begins=-9, ends=-1), False),
            "of a server": (mine.issue("alice"), False),
        }
        for name, (pair, passes) in cases.items():
            context = secure.context(pair)
            context.maximum_version = context.minimum_version = version
            assert greets(secure, context) is passes, name
        assert secure.server.stderr() == f"ready {secure.server.address}\n"


def test_plain_http_on_the_tls_port(running: Secured) -> None:
    """It gets a 400 and the end of the connection, and the log not a line, however often it comes."""
    said = running.server.stderr()
    for _ in range(50):
        wire = running.server.connect()
        wire.send(GET)
        assert wire.response().status == 400
        assert wire.closed()
    assert running.server.stderr() == said


def test_tls_on_a_plain_port(tmp_path: Path) -> None:
    """It is refused like any other garbage, and the log says nothing."""
    with serving(tmp_path) as server:
        for _ in range(20):
            wire = server.connect()
            with pytest.raises(ssl.SSLError):
                ssl.create_default_context().wrap_socket(wire.socket, server_hostname="localhost")
        assert server.connect().ask("GET", "/v2/").status == 200
        assert server.stderr() == f"ready {server.address}\n"


def client_hello() -> bytes:
    sent = ssl.MemoryBIO()
    client = ssl.create_default_context().wrap_bio(ssl.MemoryBIO(), sent, server_hostname="localhost")
    with pytest.raises(ssl.SSLWantReadError):
        client.do_handshake()
    return sent.read()


def test_handshakes_that_come_to_no_end(running: Secured) -> None:
    """Hundreds of clients that begin a handshake and fall silent keep nobody out, and lose their connections."""
    hello = client_hello()
    stuck = []
    for number in range(300):
        connection = socket.create_connection(("127.0.0.1", running.port))
        connection.sendall((b"", hello[:20], hello)[number % 3])
        stuck.append(connection)
    for _ in range(20):
        with running.connect() as wire:
            assert wire.ask("GET", "/v2/").status == 200
    for connection in stuck:
        connection.settimeout(30)
        while connection.recv(1 << 16):
            pass
        connection.close()


def test_more_handshakes_than_there_is_room_for(tmp_path: Path) -> None:
    """Where those that are silent take all connections that a worker has, the oldest give way to who comes."""
    with secured(tmp_path, descriptors=200) as secure:
        stuck = [socket.create_connection(("127.0.0.1", secure.port)) for _ in range(80)]
        for _ in range(5):
            with secure.connect() as wire:
                assert wire.ask("GET", "/v2/").status == 200
        for connection in stuck:
            connection.close()


def test_ipv6(tmp_path: Path) -> None:
    """The address is said with its scheme and brackets."""
    with socket.socket(socket.AF_INET6) as probe:
        try:
            probe.bind(("::1", 0))
        except OSError:
            pytest.skip("this machine has no IPv6")
    with secured(tmp_path, host="::1") as secure:
        assert secure.server.address.startswith("https://[::1]:")
        assert secure.connect().ask("GET", "/v2/").status == 200


def test_a_stop_lets_a_download_end(tmp_path: Path) -> None:
    """A download over TLS in flight at SIGTERM comes to its end; exit 0."""
    (tmp_path / "large").write_bytes(bytes(64 << 20))
    with secured(tmp_path) as secure:
        download = secure.connect()
        download.request("GET", "/file?name=large")
        assert download.head().status == 200
        secure.server.process.terminate()
        until(lambda: not accepts(secure.port))
        received = len(download._buffer)
        while piece := download.socket.recv(1 << 20):
            received += len(piece)
        assert received == 64 << 20
        assert secure.server.process.wait(30) == 0


def accepts(port: int) -> bool:
    try:
        Wire(f"http://127.0.0.1:{port}").socket.close()
    except ConnectionRefusedError:
        return False
    return True
