"""The metrics of real servers: exact over all workers, whatever becomes of them, and cheap however much is stored."""

from __future__ import annotations

import asyncio
import os
import random
import re
import signal
import ssl
import subprocess
import threading
from collections import Counter
from contextlib import closing, suppress
from functools import partial
from typing import TYPE_CHECKING

import httpx2

from cargohold.storage.filesystem import FilesystemStore
from tests.certificates import Authority
from tests.cli.test_command import CLEAN, SCRIPT
from tests.crash.pusher import Pusher
from tests.e2e.pushing import EMPTY, digest_of, make_manifest, push_blob, put_manifest, start_upload
from tests.e2e.tracing import Tracer
from tests.http.serving import until
from tests.http.wire import Wire
from tests.observe.reading import Scrape, scraped
from tests.storage.contract.base import sample
from tests.storage.foreign import Foreign
from tests.storage.test_totals import truth

if TYPE_CHECKING:
    from pathlib import Path

    from tests.e2e.conftest import Start
    from tests.e2e.server import Server

MANY = 1000
STORED = ("registry_storage_bytes", "registry_active_uploads", "registry_repositories_total")


def read(url: str) -> Scrape:
    """What the server says over a connection of its own."""
    with Wire(url) as wire:
        response = wire.ask("GET", "/metrics")
    assert (response.status, response.complete) == (200, True)
    return scraped(response.body)


def held(found: Scrape) -> tuple[int, ...]:
    """Bytes, sessions and repositories."""
    return tuple(int(found.one(name)) for name in STORED)


def counted(server: Server) -> Scrape:
    """A scrape that tells what is stored."""
    until(lambda: STORED[0] in read(server.url))
    return read(server.url)


def requests_of(found: Scrape) -> Counter[tuple[str, str, int]]:
    """How many were counted, by method, route and status."""
    return Counter(
        {
            (labels["method"], labels["route"], int(labels["status"])): int(found[name, labels])
            for name, labels in found.names_and_labels("registry_http_requests_total")
        }
    )


class Client:
    """Asks each request over a new connection, so that any worker may get it, and knows what must be counted."""

    def __init__(self, url: str) -> None:
        self.url = url
        self.sent = self.received = 0
        found = read(url)
        self._last = found.counters()
        self.requests = requests_of(found)
        self.requests["GET", "/metrics", 200] += 1

    def ask(self, method: str, target: str, route: str, status: int, body: bytes = b"") -> str:
        """One request whose answer has this status; the Location of the answer."""
        with Wire(self.url) as wire:
            response = wire.ask(method, target, body=body)
        assert response.status == status, (method, target, response)
        self.requests[method, route, status] += 1
        if route.startswith("/v2/{name}/blobs/"):
            self.sent += len(body)
            self.received += len(response.body) if status == 200 else 0
        return next((value for name, value in response.headers if name == "location"), "")

    def work(self, name: str) -> None:
        """A push and a pull, and some mistakes."""
        uploads, upload = "/v2/{name}/blobs/uploads/", "/v2/{name}/blobs/uploads/{upload}"
        manifest, blob = "/v2/{name}/manifests/{reference}", "/v2/{name}/blobs/{digest}"
        content, text = name.encode() * 7, make_manifest(name)
        location = self.ask("POST", f"/v2/{name}/blobs/uploads/", uploads, 202)
        self.ask("PATCH", location, upload, 202, content)
        self.ask("PUT", f"{location}?digest={digest_of(content)}", upload, 201)
        self.ask("POST", f"/v2/{name}/blobs/uploads/?digest={digest_of(EMPTY)}", uploads, 201, EMPTY)
        self.ask("PUT", f"/v2/{name}/manifests/latest", manifest, 201, text)
        for _ in range(3):
            self.ask("GET", f"/v2/{name}/manifests/latest", manifest, 200)
            self.ask("GET", f"/v2/{name}/blobs/{digest_of(content)}", blob, 200)
        self.ask("GET", f"/v2/{name}/manifests/nothing", manifest, 404)
        self.ask("GET", f"/v2/{name}/tags/list", "/v2/{name}/tags/list", 200)
        self.ask("DELETE", "/v2/", "other", 405)
        self.ask("GET", f"/{name}", "other", 404)

    def check(self) -> Scrape:
        """Every total is exact, and nothing that counts has fallen since the last check."""
        found = read(self.url)
        assert requests_of(found) == self.requests
        self.requests["GET", "/metrics", 200] += 1
        durations = Counter[tuple[str, str]]()
        for (method, route, _), times in self.requests.items():
            durations[method, route] += times
        durations["GET", "/metrics"] -= 1
        for (method, route), times in durations.items():
            labels = {"method": method, "route": route}
            assert found["registry_http_request_duration_seconds_count", labels] == times
            assert found["registry_http_request_duration_seconds_bucket", {**labels, "le": "+Inf"}] == times
        assert found.one("registry_blob_upload_bytes_total") == self.sent
        assert found.one("registry_blob_download_bytes_total") == self.received
        self.never_less(found)
        return found

    def never_less(self, found: Scrape) -> None:
        """Nothing that counts has fallen, or gone."""
        now = found.counters()
        assert {
            key: (value, now.get(key)) for key, value in self._last.items() if now.get(key, -1) < value
        } == {}
        self._last = now


def is_replaced(server: Server, pid: int, workers: int) -> bool:
    """Whether another process is in the place of one that was killed."""
    now = server.workers()
    return pid not in now and len(now) == workers


def test_exact_while_workers_are_killed(start: Start) -> None:
    """Over three workers that are killed and replaced, between requests, every total is exact and none ever falls."""
    server = start({"workers": 3})
    counted(server)
    client, dice = Client(server.url), random.Random(3)
    for number in range(6):
        client.work(f"team/app{number}")
        client.check()
        victim = dice.choice(server.workers())
        os.kill(victim, signal.SIGKILL)
        client.work(f"team/more{number}")
        until(partial(is_replaced, server, victim, 3))
        found = client.check()
        assert found.one("registry_workers") == 3
    assert held(found)[1:] == (0, 12)
    assert server.log.count("ended with signal 9") == 6


def test_never_too_few_while_workers_are_killed_at_work(start: Start) -> None:
    """Killed under load, no answer is missing from the totals, nothing counts that was not sent, and nothing falls."""
    server = start({"workers": 3})
    sent, answered, is_over = Counter[int](), Counter[int](), threading.Event()

    def ask(number: int) -> None:
        while not is_over.is_set():
            with suppress(EOFError, ConnectionError), Wire(server.url) as wire:
                for _ in range(50):
                    sent[number] += 1
                    assert wire.ask("GET", "/v2/").status == 200
                    answered[number] += 1

    threads = [threading.Thread(target=ask, args=(number,)) for number in range(3)]
    client = Client(server.url)
    for thread in threads:
        thread.start()
    try:
        for _ in range(6):
            victim = random.choice(server.workers())
            os.kill(victim, signal.SIGKILL)
            until(partial(is_replaced, server, victim, 3))
            with suppress(EOFError, ConnectionError):
                client.never_less(read(server.url))
    finally:
        is_over.set()
        for thread in threads:
            thread.join(60)
    found = read(server.url)
    client.never_less(found)
    assert 0 < sum(answered.values()) <= found.total("registry_http_requests_total", route="/v2/")
    assert found.total("registry_http_requests_total", route="/v2/") <= sum(sent.values())


def test_exact_across_renewals_of_the_certificate(start: Start, tmp_path: Path) -> None:
    """Workers that give way to those with a new certificate lose no count; the metrics tell when it expires."""
    authority = Authority()
    authority.write(tmp_path / "authority")
    files = tmp_path / "certificate", tmp_path / "key"
    authority.issue(ends=20).write(*files)
    server = start({"workers": 2, "tls.certificate": files[0], "tls.key": files[1]})
    trust = ssl.create_default_context(cafile=str(tmp_path / "authority"))

    def get(target: str) -> bytes:
        with httpx2.Client(base_url=server.url, verify=trust) as session:
            answer = session.get(target)
        assert answer.status_code == 200
        return answer.content

    answered = 0
    for days in (20, 30, 40):
        new = authority.issue(ends=days)
        expires = new.certificate.not_valid_after_utc.timestamp()
        new.write(*files)
        os.kill(server.process.pid, signal.SIGHUP)

        def is_served(expires: float = expires) -> bool:
            found = scraped(get("/metrics"))
            return found.one("registry_tls_certificate_expiry_timestamp_seconds") == expires

        until(is_served)
        for _ in range(20):
            get("/v2/")
            answered += 1
        found = scraped(get("/metrics"))
        assert found.total("registry_http_requests_total", route="/v2/") == answered


def test_one_process_counts_too(start: Start) -> None:
    """Where one process does all by itself, everything is as with several."""
    server = start({"workers": 1})
    counted(server)
    client = Client(server.url)
    client.work("app")
    found = client.check()
    assert found.one("registry_workers") == 1
    assert held(found)[1:] == (0, 1)


def test_stored_by_two_servers(start: Start) -> None:
    """Two servers that share a tree tell the same of it, whichever of them something was pushed to, and restarted."""
    first = start({"workers": 2})
    counted(first)
    second = start({"workers": 2}, storage=first.storage)
    for number, server in enumerate((first, second) * 2):
        with Wire(server.url) as wire:
            push_blob(wire, "app", b"%d" % number * 100)
            push_blob(wire, f"other{number}", EMPTY)
            start_upload(wire, "app")
            assert put_manifest(wire, f"other{number}", "latest", make_manifest("same")).status == 201
        size = 100 * (number + 1) + len(EMPTY) + len(make_manifest("same"))
        for each in (first, second):
            assert held(read(each.url)) == (size, number + 1, number + 1)
    first.stop()
    third = start({"workers": 1}, storage=first.storage)
    assert held(read(third.url)) == (size, 4, 4)


def test_killed_in_the_middle_of_pushes(start: Start, tmp_path: Path) -> None:
    """What a server that was killed did not come to note is found by the next count, which gives the truth."""
    storage = tmp_path / "data"
    for start_number in range(3):
        pushers = [Pusher(f"crash/{start_number}/{number}", number) for number in range(3)]
        server = start({"workers": 2}, storage=storage)
        counted(server)
        threads = [threading.Thread(target=pusher.run, args=(server.url,)) for pusher in pushers]
        for thread in threads:
            thread.start()
        threads[0].join(random.uniform(0.1, 0.5))
        server.kill()
        for thread in threads:
            thread.join(60)
    server = start({"workers": 2}, storage=storage)
    with closing(FilesystemStore(str(storage))) as store:
        # Not while the server counts, as it does when it starts after a kill.
        until(lambda: asyncio.run(store.recount(0)))
        assert held(read(server.url)) == truth(store)


def test_a_scrape_opens_no_folder(start: Start, tmp_path: Path) -> None:
    """However much is stored, a scrape looks at none of it: no folder is opened, and one small file."""
    storage = tmp_path / "data"
    with closing(FilesystemStore(str(storage))) as store:
        store.prepare()
        foreign = Foreign(store.layout)
        for number in range(MANY):
            foreign.content(sample(str(number)))
        server = start({"workers": 1}, storage=storage)
        assert held(counted(server)) == truth(store)
    with Wire(server.url) as wire:
        (worker,) = server.workers()
        tracer = Tracer(worker, tmp_path / "trace")
        for _ in range(5):
            assert wire.ask("GET", "/metrics").status == 200
        calls = tracer.calls()
    opened = [call for call in calls if call.name == "openat"]
    assert opened, "the processes' own state is read"
    assert [call for call in opened if "O_DIRECTORY" in call.arguments] == []
    stored = {path for call in opened for path in call.paths if path.startswith(str(storage))}
    assert stored == {str(storage / "cargohold/gc/last.json")}


def test_nobody_is_told(start: Start) -> None:
    """Where nobody may read them nothing is counted, and nothing noted of what is stored is gone through."""
    server = start({"workers": 1, "metrics.access": "nobody"})
    with Wire(server.url) as wire:
        assert wire.ask("GET", "/metrics").status == 404
    assert "counted what is stored" not in server.log


def test_lines_that_were_dropped(tmp_path: Path) -> None:
    """Lines of the log that nobody reads are lost, and counted over all workers."""
    options = ["--set", "port=0", "--set", f"storage.path={tmp_path / 'data'}", "--set", "workers=2"]
    with subprocess.Popen(
        [SCRIPT, "serve", *options], stderr=subprocess.PIPE, env=CLEAN, text=True
    ) as process:
        assert process.stderr is not None
        found = re.search(r"serving on (http://[^,]*)", process.stderr.readline())
        assert found is not None
        try:
            long = f"/v2/{'a' * 200}/manifests/{'b' * 128}?{'c' * 1000}"
            for _ in range(8):
                with Wire(found[1]) as wire:
                    for _ in range(500):
                        assert wire.ask("GET", long).status == 404
            until(lambda: read(found[1]).one("registry_log_lines_dropped_total") > 0)
        finally:
            process.kill()
