"""What is asked of a certificate and its key before they are served, and what counts as new."""

from __future__ import annotations

import logging
import os
import subprocess
import time
from typing import TYPE_CHECKING

import pytest
from cryptography.hazmat.primitives.asymmetric.ec import EllipticCurvePrivateKey
from cryptography.hazmat.primitives.asymmetric.rsa import RSAPrivateKey
from cryptography.hazmat.primitives.serialization import load_pem_private_key

from cargohold.http.tls import FIRST_PAUSE_SECONDS, LONGEST_PAUSE_SECONDS, Renewal, Tls, TlsError, load
from tests.certificates import CLIENT, Authority, Pair

if TYPE_CHECKING:
    from pathlib import Path

DAY = 86400


@pytest.fixture(scope="module")
def authority() -> Authority:
    return Authority()


@pytest.fixture
def tls(tmp_path: Path) -> Tls:
    return Tls(str(tmp_path / "certificate"), str(tmp_path / "key"))


def put(pair: Pair, tls: Tls, tmp_path: Path) -> None:
    pair.write(tmp_path / "certificate", tmp_path / "key")
    assert tls.certificate == str(tmp_path / "certificate")


def refusal(tls: Tls) -> str:
    with pytest.raises(TlsError) as raised:
        load(tls)
    return str(raised.value)


def test_a_good_pair_is_loaded(authority: Authority, tls: Tls, tmp_path: Path) -> None:
    """Loading gives what the files hold and when the certificate expires, and leaves no descriptor open."""
    pair = authority.issue(ends=40)
    put(pair, tls, tmp_path)
    before = os.listdir("/proc/self/fd")
    found = load(tls)
    assert os.listdir("/proc/self/fd") == before
    assert (found.certificate, found.key, found.client_ca) == (pair.pem, pair.key_pem(), None)
    assert found.expires == pair.certificate.not_valid_after_utc.timestamp()
    assert "PRIVATE" not in repr(found)


def test_the_files_that_were_checked_are_served(authority: Authority, tls: Tls, tmp_path: Path) -> None:
    """The server reads what was checked, even where the files have been replaced since."""
    pair = authority.issue()
    put(pair, tls, tmp_path)
    found = load(tls)
    put(authority.issue(), tls, tmp_path)
    certificate, key, client_ca = found.files()
    with open(certificate, "rb") as served, open(key, "rb") as served_key:
        assert (served.read(), served_key.read()) == (pair.pem, pair.key_pem())
    assert client_ca is None
    for path in (certificate, key):
        os.close(int(path.rpartition("/")[2]))


def test_a_file_that_cannot_be_read(authority: Authority, tls: Tls, tmp_path: Path) -> None:
    """A missing file is named, with its setting."""
    assert f"tls.certificate: cannot read {tls.certificate}: No such file" in refusal(tls)
    put(authority.issue(), tls, tmp_path)
    os.unlink(tls.key)
    assert f"tls.key: cannot read {tls.key}: No such file" in refusal(tls)
    os.mkfifo(tls.key)
    assert f"tls.key: cannot read {tls.key}: it is no regular file" in refusal(tls)
    os.unlink(tls.key)
    os.mkdir(tls.key)
    assert "Is a directory" in refusal(tls)


@pytest.mark.parametrize("content", [b"", b"\x30\x82\x01\x00", b"-----BEGIN CERTIFICATE-----\nAAAA\n"])
def test_a_certificate_that_is_not_pem(
    authority: Authority, tls: Tls, tmp_path: Path, content: bytes
) -> None:
    """What is empty, DER or cut off is no certificate."""
    put(authority.issue(), tls, tmp_path)
    (tmp_path / "certificate").write_bytes(content)
    assert "tls.certificate" in refusal(tls)
    assert "holds no certificate in PEM, or a damaged one" in refusal(tls)


@pytest.mark.parametrize("encoding", ["utf-8", "latin-1"])
def test_comments_in_any_encoding(authority: Authority, tls: Tls, tmp_path: Path, encoding: str) -> None:
    """Names beside certificates, as bundles of authorities have them, are no damage; within one they are."""
    pair = authority.issue()
    comment = "# Fréjus, Fundación\n".encode(encoding)
    (tmp_path / "certificate").write_bytes(comment + pair.pem + comment)
    (tmp_path / "key").write_bytes(comment + pair.key_pem())
    authority.write(tmp_path / "clients")
    clients = (tmp_path / "clients").read_bytes()
    (tmp_path / "clients").write_bytes(comment + clients + comment + pair.pem)
    asking = Tls(tls.certificate, tls.key, client_ca=str(tmp_path / "clients"))
    assert load(asking).certificate == comment + pair.pem + comment
    (tmp_path / "clients").write_bytes(clients.replace(b"\nM", b"\n\xe9M", 1))
    assert "tls.client_ca" in refusal(asking)


FORMS = {
    "PKCS #8": "pkcs8 -topk8 -nocrypt",
    "SEC 1": "ec",
    "with its parameters": "ecparam -name prime256v1 -genkey",
    "PKCS #1": "genrsa -traditional 2048",
    "newer PKCS #8": "genrsa 2048",
}


@pytest.mark.parametrize("form", FORMS)
@pytest.mark.parametrize("lines", [b"\n", b"\r\n"])
def test_forms_of_keys(authority: Authority, tls: Tls, tmp_path: Path, form: str, lines: bytes) -> None:
    """Every form of a key that openssl writes is taken, also in the file of its certificate."""
    given = authority.issue().key_pem()
    written = subprocess.run(
        ["openssl", *FORMS[form].split()], input=given, capture_output=True, timeout=30, check=True
    ).stdout
    key = load_pem_private_key(written, None)
    assert isinstance(key, EllipticCurvePrivateKey | RSAPrivateKey)
    both = authority.issue(key=key).pem + written
    for path in (tmp_path / "certificate", tmp_path / "key"):
        path.write_bytes(both.replace(b"\n", lines))
    assert load(tls).key == both.replace(b"\n", lines)


def test_a_key_that_is_not_pem(authority: Authority, tls: Tls, tmp_path: Path) -> None:
    """A certificate in the place of the key, or a key that is damaged, is told apart from a key."""
    pair = authority.issue()
    put(pair, tls, tmp_path)
    (tmp_path / "key").write_bytes(pair.pem)
    assert f"tls.key: {tls.key} holds no private key" in refusal(tls)
    (tmp_path / "key").write_bytes(b"-----BEGIN PRIVATE KEY-----\nAAAA\n-----END PRIVATE KEY-----\n")
    assert f"tls.key: {tls.key} and {tls.certificate} cannot be used" in refusal(tls)


def test_an_encrypted_key(authority: Authority, tls: Tls, tmp_path: Path) -> None:
    """There is nobody to ask for the password: that is said, and what to do."""
    pair = authority.issue()
    put(pair, tls, tmp_path)
    (tmp_path / "key").write_bytes(pair.key_pem(b"secret"))
    assert "is encrypted" in refusal(tls)
    assert "openssl pkey" in refusal(tls)


def test_the_key_of_another_certificate(authority: Authority, tls: Tls, tmp_path: Path) -> None:
    """A key must be the certificate's, which is the first in its file."""
    put(authority.issue(), tls, tmp_path)
    (tmp_path / "key").write_bytes(authority.issue().key_pem())
    assert "is not the key of the first certificate" in refusal(tls)


def test_validity(authority: Authority, tls: Tls, tmp_path: Path) -> None:
    """A certificate of yesterday, of tomorrow, or for clients, is refused: clients would refuse it."""
    put(authority.issue(begins=-9, ends=-1), tls, tmp_path)
    assert "has expired" in refusal(tls)
    put(authority.issue(begins=1), tls, tmp_path)
    assert "is not valid yet" in refusal(tls)
    put(authority.issue(usage=CLIENT), tls, tmp_path)
    assert "is refused by clients" in refusal(tls)


def test_the_authority_of_clients(authority: Authority, tls: Tls, tmp_path: Path) -> None:
    """The certificates of those who sign clients' are checked like the server's own."""
    put(authority.issue(), tls, tmp_path)
    path = tmp_path / "clients"
    path.write_text("none")
    asking = Tls(tls.certificate, tls.key, client_ca=str(path))
    assert "tls.client_ca" in refusal(asking)
    authority.write(path)
    assert load(asking).client_ca == path.read_bytes()


def test_what_is_new_counts_when_it_has_settled(authority: Authority, tls: Tls, tmp_path: Path) -> None:
    """A certificate without its key is half of a change: it is not offered, and nothing said, before both are there."""
    old, new = authority.issue(), authority.issue()
    put(old, tls, tmp_path)
    renewal = Renewal(load(tls))
    assert renewal.look() is None
    (tmp_path / "certificate").write_bytes(new.pem)
    assert renewal.look() is None
    (tmp_path / "key").write_bytes(new.key_pem())
    assert renewal.look() is None
    found = renewal.look()
    assert found is not None
    assert found.certificate == new.pem
    renewal.accept(found)
    assert renewal.look() is None


def test_what_is_new_counts_at_once_where_that_is_asked(
    authority: Authority, tls: Tls, tmp_path: Path
) -> None:
    """A signal says that the files are whole."""
    put(authority.issue(), tls, tmp_path)
    renewal = Renewal(load(tls))
    assert renewal.look(at_once=True) is None
    put(authority.issue(), tls, tmp_path)
    assert renewal.look(at_once=True) is not None


def test_what_is_no_good_is_said_once(
    authority: Authority, tls: Tls, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    """A bad pair that stays is logged once, and again where a signal asks for it; then a good one is offered."""
    put(authority.issue(), tls, tmp_path)
    renewal = Renewal(load(tls))
    (tmp_path / "key").unlink()
    for _ in range(5):
        assert renewal.look() is None
    assert [record.levelname for record in caplog.records] == ["ERROR"]
    assert "the certificate in use stays" in caplog.text
    assert renewal.look(at_once=True) is None
    assert len(caplog.records) == 2
    put(authority.issue(), tls, tmp_path)
    assert renewal.look(at_once=True) is not None


def test_what_could_not_be_put_to_use_is_offered_again(
    authority: Authority, tls: Tls, tmp_path: Path
) -> None:
    """After a pause that doubles each time, up to an hour; at once where that is asked, or the files are others."""
    put(authority.issue(), tls, tmp_path)
    now = 0.0
    renewal = Renewal(load(tls), uptime=lambda: now)
    put(authority.issue(), tls, tmp_path)
    assert renewal.look() is None
    pause = FIRST_PAUSE_SECONDS
    for _ in range(20):
        assert renewal.look() is not None
        renewal.put_off("a worker was killed")
        now += pause - 1
        assert renewal.look() is None
        now += 1
        pause = min(2 * pause, LONGEST_PAUSE_SECONDS)
    assert renewal.look() is not None
    renewal.put_off("a worker was killed")
    assert renewal.look() is None
    assert renewal.look(at_once=True) is not None
    renewal.put_off("a worker was killed")
    put(authority.issue(), tls, tmp_path)
    assert renewal.look() is None
    assert renewal.look() is not None
    renewal.put_off("a worker was killed")
    now += FIRST_PAUSE_SECONDS
    assert renewal.look() is not None


def test_what_is_refused_for_good_is_not_offered_again(
    authority: Authority, tls: Tls, tmp_path: Path
) -> None:
    """However long it stays, unless that is asked for."""
    put(authority.issue(), tls, tmp_path)
    now = 0.0
    renewal = Renewal(load(tls), uptime=lambda: now)
    put(authority.issue(), tls, tmp_path)
    assert renewal.look(at_once=True) is not None
    renewal.refuse("its key is of an unknown kind")
    now += 1e9
    assert renewal.look() is None
    assert renewal.look(at_once=True) is not None


@pytest.mark.parametrize(("days", "said"), [(20, ""), (10, "expires 20"), (0, "has expired")])
def test_an_end_that_comes_near_is_said_daily(  # noqa: PLR0913, PLR0917 - fixtures
    authority: Authority, tls: Tls, tmp_path: Path, caplog: pytest.LogCaptureFixture, days: int, said: str
) -> None:
    """From 14 days before a certificate expires the log says so, once a day."""
    put(authority.issue(ends=30), tls, tmp_path)
    now = time.time() + (30 - days) * DAY + 60
    renewal = Renewal(load(tls), clock=lambda: now)
    with caplog.at_level(logging.WARNING):
        renewal.look()
        renewal.look()
        assert said in caplog.text
        assert len(caplog.records) == bool(said)
        now += DAY + 1
        renewal.look()
        assert len(caplog.records) == 2 * bool(said)
