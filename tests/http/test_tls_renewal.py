"""A certificate that is replaced while the server runs: who gets which, and that nobody notices."""

from __future__ import annotations

import collections
import json
import os
import random
import signal
import subprocess
import threading
import time
from typing import TYPE_CHECKING, Self

import pytest

from tests.http.securing import secured
from tests.http.serving import until
from tests.http.wire import Wire

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from pathlib import Path

    from tests.http.securing import Secured

HASTY = "tests.http.server_cases.hasty_echo"
LARGE = 100 << 20
ONE_AND_TWO = pytest.mark.parametrize("workers", [1, 2])


def until_served(secure: Secured, fingerprint: bytes) -> None:
    """Wait until new connections get that certificate, on whatever worker they come to."""
    until(lambda: all(secure.fingerprint() == fingerprint for _ in range(10)))


@ONE_AND_TWO
def test_a_signal_renews_the_certificate(tmp_path: Path, workers: int) -> None:
    """After SIGHUP new connections get the new certificate; old ones, and what runs on them, go on."""
    (tmp_path / "large").write_bytes(random.Random(1).randbytes(LARGE))
    with secured(tmp_path, workers=workers) as secure:
        download, upload, slow = (secure.connect() for _ in range(3))
        download.request("GET", "/file?name=large")
        assert download.head()["content-length"] == str(LARGE)
        upload.request("PUT", "/hash", f"Content-Length: {LARGE}")
        slow.request("GET", "/sleep?seconds=3")
        secure.server.until_outcome("reading")
        new = secure.renew()
        secure.server.process.send_signal(signal.SIGHUP)
        until_served(secure, new.fingerprint)
        for _ in range(100):
            upload.send(bytes(LARGE // 100))
        assert json.loads(upload.response().body)["received"] == LARGE
        assert slow.response().status == 204
        assert rest(download) == (tmp_path / "large").read_bytes()
        assert secure.server.stop() == 0
        assert secure.server.stderr() == f"ready {secure.server.address}\n"


def rest(wire: Wire) -> bytes:
    """The body of the answer whose head was read."""
    body = bytearray(wire._buffer)
    while len(body) < LARGE and (piece := wire.socket.recv(1 << 20)):
        body += piece
    return bytes(body)


class Crowd:
    """Clients that open connections, 200 a second, and clients that keep one; what became of their requests."""

    def __init__(self, secure: Secured) -> None:
        self._secure = secure
        self._context = secure.context()
        self._done = threading.Event()
        self.outcomes: collections.Counter[str] = collections.Counter()
        actions = [*[self._come] * 10, *[self._stay] * 4]
        self._threads = [threading.Thread(target=self._run, args=(action,)) for action in actions]

    def __enter__(self) -> Self:
        for thread in self._threads:
            thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._done.set()
        for thread in self._threads:
            thread.join(60)

    def _run(self, action: Callable[[], None]) -> None:
        while not self._done.wait(0.05):
            try:
                action()
            except (OSError, EOFError) as error:
                self.outcomes[repr(error)] += 1

    def _come(self) -> None:
        with self._connect() as wire:
            self.outcomes[str(wire.ask("GET", "/v2/").status)] += 1

    def _stay(self) -> None:
        """Ask on one connection for as long as the server does not end it with an answer that says so."""
        with self._connect() as wire:
            while not self._done.wait(0.002):
                answer = wire.ask("GET", "/bytes?n=1000")
                self.outcomes[str(answer.status)] += 1
                if "connection" in answer:
                    break

    def _connect(self) -> Wire:
        wire = Wire(self._secure.server.address)
        wire.socket = self._context.wrap_socket(wire.socket, server_hostname="localhost")
        return wire


@ONE_AND_TWO
def test_nobody_is_refused_meanwhile(tmp_path: Path, workers: int) -> None:
    """Under hundreds of new connections a second, and busy ones that last, five renewals fail no request."""
    with secured(tmp_path, HASTY, workers=workers) as secure:
        with Crowd(secure) as crowd:
            for _ in range(5):
                time.sleep(1)
                new = secure.renew()
                secure.server.process.send_signal(signal.SIGHUP)
                until_served(secure, new.fingerprint)
            until(lambda: len(secure.server.processes()) == 1 + workers)
        assert crowd.outcomes["200"] > 1000
        assert list(crowd.outcomes) == ["200"]
        assert secure.server.stop() == 0
        assert secure.server.stderr() == f"ready {secure.server.address}\n"


def test_files_that_have_changed_are_noticed(tmp_path: Path) -> None:
    """Without a signal, a pair that was replaced by renames is served within seconds; so is one behind a link."""
    with secured(tmp_path) as secure:
        until_served(secure, secure.renew().fingerprint)
        for name in ("one", "two"):
            folder = tmp_path / name
            folder.mkdir()
            new = secure.authority.issue()
            new.write(folder / "certificate", folder / "key")
            for file in ("certificate", "key"):
                link = tmp_path / "link"
                link.symlink_to(folder / file)
                link.rename(tmp_path / file)
            until_served(secure, new.fingerprint)


@pytest.fixture
def running(tmp_path: Path) -> Iterator[Secured]:
    with secured(tmp_path, HASTY, workers=2) as started:
        yield started


def test_a_pair_that_is_no_good_is_left_alone(running: Secured) -> None:
    """A key without its certificate, or a certificate that has expired, is logged, and the old one is served."""
    old = running.fingerprint()
    processes = running.server.processes()
    (running.folder / "key").write_bytes(running.authority.issue().key_pem())
    running.server.process.send_signal(signal.SIGHUP)
    until(lambda: "is not the key of the first certificate" in running.server.stderr())
    running.renew(running.authority.issue(begins=-9, ends=-1))
    running.server.process.send_signal(signal.SIGHUP)
    until(lambda: "has expired" in running.server.stderr())
    assert running.fingerprint() == old
    assert running.server.processes() == processes
    until_served(running, running.renew().fingerprint)


def test_a_pair_that_only_the_server_cannot_use_is_left_alone(tmp_path: Path) -> None:
    """What the check takes and that of HTTP/2 does not shows when a worker starts: the others go on."""
    with secured(tmp_path, HASTY, workers=2, http2=True) as running:
        old = running.fingerprint()
        processes = running.server.processes()
        new = running.authority.issue()
        others = (running.folder / "authority").read_bytes()
        (running.folder / "certificate").write_bytes(
            new.pem.replace(b" CERTIFICATE-", b" X509 CERTIFICATE-")
            + others  # a name that OpenSSL knows alone
        )
        (running.folder / "key").write_bytes(new.key_pem())
        running.server.process.send_signal(signal.SIGHUP)
        until(
            lambda: "the certificate in use stays, as the new one cannot be used" in running.server.stderr()
        )
        assert "a worker ended with signal 6 as it started" in running.server.stderr()
        until(lambda: running.server.processes() == processes)
        assert running.fingerprint() == old
        until_served(running, running.renew().fingerprint)


def test_a_new_worker_that_dies_for_a_reason_of_its_own_costs_only_time(running: Secured) -> None:
    """What killed it is said, and nothing of the certificate, which is tried again, and taken in the end."""
    old = running.fingerprint()
    processes = running.server.processes()
    outcomes = running.folder / "outcomes"
    outcomes.unlink()
    outcomes.mkdir()  # new workers cannot write there, and die
    new = running.renew()
    until(lambda: "trying again in 10 seconds" in running.server.stderr())
    assert "could not be put to use: a worker ended with exit code 1" in running.server.stderr()
    assert "keys" not in running.server.stderr()
    until(lambda: running.server.processes() == processes)
    assert running.fingerprint() == old
    outcomes.rmdir()
    until_served(running, new.fingerprint)


def test_a_worker_that_dies_is_replaced_by_one_with_the_new_certificate(running: Secured) -> None:
    """A renewal outlives the workers that it came to."""
    new = running.renew()
    running.server.process.send_signal(signal.SIGHUP)
    until_served(running, new.fingerprint)
    until(lambda: len(running.server.processes()) == 3)
    for pid in running.server.processes()[1:]:
        os.kill(pid, signal.SIGKILL)
    until(lambda: "ended with signal 9" in running.server.stderr())
    until_served(running, new.fingerprint)


def test_a_signal_to_all_processes_renews_too(running: Secured) -> None:
    """`killall -HUP` reaches the workers as well: they leave it to their supervisor."""
    new = running.renew()
    for pid in running.server.processes():
        os.kill(pid, signal.SIGHUP)
    until_served(running, new.fingerprint)
    assert running.server.stderr() == f"ready {running.server.address}\n"


def test_nothing_happens_where_nothing_has_changed(running: Secured) -> None:
    """A SIGHUP with the same files leaves the workers as they are."""
    processes = running.server.processes()
    for _ in range(20):
        running.server.process.send_signal(signal.SIGHUP)
    assert running.connect().ask("GET", "/v2/").status == 200
    time.sleep(0.5)
    assert running.server.processes() == processes


def test_a_stop_ends_workers_that_retire(tmp_path: Path) -> None:
    """SIGTERM while old workers still serve: their requests may end too, and then every process is gone; exit 0."""
    with secured(tmp_path, workers=2) as secure:
        slow = secure.connect()
        slow.request("GET", "/sleep?seconds=3")
        secure.server.until_outcome("sleeping")
        new = secure.renew()
        secure.server.process.send_signal(signal.SIGHUP)
        until_served(secure, new.fingerprint)
        processes = secure.server.processes()
        assert len(processes) == 5
        secure.server.process.terminate()
        assert slow.response().status == 204
        assert secure.server.process.wait(30) == 0
        assert secure.server.outcomes().count("stopped") == 4
        for pid in processes:
            with pytest.raises(ProcessLookupError):
                os.kill(pid, 0)


def test_http2_goes_on(tmp_path: Path) -> None:
    """A connection that speaks HTTP/2 is used on across a renewal."""
    (tmp_path / "done").write_bytes(b"done")
    with secured(tmp_path, http2=True) as secure:
        url = f"https://localhost:{secure.port}"
        write = ["--write-out", "%{http_version} %{http_code} %{num_connects};"]
        curl = ["curl", "--silent", "--http2", "--cacert", str(tmp_path / "authority"), *write]
        with subprocess.Popen(
            [*curl, f"{url}/sleep?seconds=3", f"{url}/file?name=done"], stdout=subprocess.PIPE, text=True
        ) as running:
            secure.server.until_outcome("sleeping")
            new = secure.renew()
            secure.server.process.send_signal(signal.SIGHUP)
            until_served(secure, new.fingerprint)
            assert running.communicate(timeout=30)[0] == "2 204 1;done2 200 0;"
