"""The systemd unit: what systemd thinks of it, and the registry run by a real systemd as docs/systemd.md says.

All on a machine of the test's own, with all the restrictions of the unit; there a system call that the unit forbids
kills who makes it, where it would otherwise fail.
"""

from __future__ import annotations

import re
import shlex
import socket
import ssl
from typing import TYPE_CHECKING, Final

import httpx2
import pytest
import yaml

from cargohold.config import Settings
from tests.certificates import Authority
from tests.cli.terminal import PASSWORD, PROMPTS, on_terminal
from tests.deploy.machine import ENVIRONMENT, Machine
from tests.docs.blocks import Block, blocks_of
from tests.docs.session import shows
from tests.e2e.pushing import EMPTY, MANIFEST, digest_of, make_manifest
from tests.http.serving import PROJECT, until

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

pytestmark = pytest.mark.clients

UNIT: Final = PROJECT / "deploy/systemd/cargohold.service"
PAGE: Final = "systemd.md"
(SETTINGS,) = blocks_of(PAGE, "yaml")
EXPOSURE: Final = 15
"""The most that `systemd-analyze security` may find, in tenths; an unrestricted service has 96."""
SERVING = re.compile(r"serving on (https?)://\S+?:(\d+)")
CONTENT = b"a layer" * 100_000


@pytest.fixture
def machine(tmp_path: Path) -> Iterator[Machine]:
    with Machine(tmp_path) as machine:
        yield machine


@pytest.fixture
def installed(machine: Machine) -> Machine:
    """With the registry of the page's first block, on a port that the kernel picks."""
    installation, _, start = block("install ").text.rpartition("systemctl enable")
    machine.run(installation)
    drop_in(machine, "[Service]\nSystemCallErrorNumber=kill\n", "strict.conf")
    machine.run(
        f"sed -i 's/^port: .*/port: 0/' /etc/cargohold/cargohold.yaml\nsystemctl daemon-reload\n{_ + start}"
    )
    return machine


def block(beginning: str) -> Block:
    (found,) = (each for each in blocks_of(PAGE, "sh", "console") if each.first.startswith(beginning))
    return found


def drop_in(machine: Machine, text: str, name: str) -> None:
    folder = machine.folder / "etc/systemd/system/cargohold.service.d"
    folder.mkdir(exist_ok=True)
    (folder / name).write_text(text)
    machine.run("systemctl daemon-reload")


def journal(machine: Machine) -> str:
    # What was said last may still be on its way to the journal.
    return machine.run("journalctl --sync && journalctl --unit cargohold --no-pager --output cat")


def url(machine: Machine) -> str:
    """Where the registry that was started last serves."""
    (scheme, port) = SERVING.findall(journal(machine))[-1]
    return f"{scheme}://localhost:{port}"


def workers(machine: Machine) -> list[int]:
    """The processes of the registry besides the first, as the machine counts them."""
    return [int(pid) for pid in machine.run(f"pgrep --parent {machine.property('MainPID')}").split()]


def push_and_pull(client: httpx2.Client, repository: str = "acme/app") -> None:
    """A push and a pull."""
    begun = client.post(f"/v2/{repository}/blobs/uploads/")
    assert begun.status_code == 202, begun.text
    path = f"{begun.headers['location']}?digest={digest_of(CONTENT)}"
    assert client.put(path, content=CONTENT).status_code == 201
    path = f"/v2/{repository}/blobs/uploads/?digest={digest_of(EMPTY)}"
    assert client.post(path, content=EMPTY).status_code == 201
    manifest = make_manifest("of the test", [CONTENT])
    given = client.put(f"/v2/{repository}/manifests/v1", content=manifest, headers={"Content-Type": MANIFEST})
    assert given.status_code == 201
    assert client.get(f"/v2/{repository}/manifests/v1").content == manifest
    assert client.get(f"/v2/{repository}/blobs/{digest_of(CONTENT)}").content == CONTENT


def delete(client: httpx2.Client) -> None:
    """A deletion of what `push_and_pull` has pushed."""
    found = client.head("/v2/acme/app/manifests/v1").headers["docker-content-digest"]
    assert client.delete(f"/v2/acme/app/manifests/{found}").status_code == 202


def test_verify(machine: Machine) -> None:
    """systemd finds no mistake in the unit."""  # noqa: D403 - its name
    machine.run(
        f"systemd-analyze verify --man=no {UNIT} 2>&1 | tee /dev/stderr | wc --lines | grep --line-regexp 0"
    )


def test_exposure(machine: Machine) -> None:
    """systemd rates what is open to the service among the least."""  # noqa: D403 - its name
    machine.run(f"systemd-analyze security --offline=true --threshold={EXPOSURE} {UNIT}")


def test_time_to_stop(machine: Machine) -> None:
    """Before the registry says how long it takes to stop, systemd waits as long as it takes with default settings."""
    defaults = Settings().server
    machine.run(f"install -D -m 644 {UNIT} /etc/systemd/system/cargohold.service && systemctl daemon-reload")
    assert machine.property("TimeoutStopUSec") == "1min 30s"
    assert defaults.drain + defaults.stop_timeout + 5 < 90


def test_what_is_typed(installed: Machine, tmp_path: Path) -> None:
    """Each command of the page does what the page says, up to a registry with logins and TLS, which works."""
    machine = installed
    looking = block("systemctl status").text.replace("cargohold health ", f"cargohold health {url(machine)} ")
    assert "Active: active (running)" in machine.run(looking)
    with httpx2.Client(base_url=url(machine), timeout=30) as client:
        push_and_pull(client)

    creation = block("cargohold htpasswd")
    command, expected = creation.text.removeprefix("$ ").split("\n", 1)
    typed = shlex.join([*machine.way_in, "sh", "-eu", "-c", command])
    assert shows(on_terminal(typed, tmp_path, PROMPTS, ENVIRONMENT), expected)
    machine.run(block("chgrp").text)

    authority = Authority().write(tmp_path / "ca.pem")
    folder = machine.folder / "etc/cargohold"
    authority.issue("localhost").write(folder / "registry.crt", folder / "registry.key")
    machine.run("chgrp cargohold /etc/cargohold/registry.*; chmod 640 /etc/cargohold/registry.*")
    settings = yaml.safe_load(SETTINGS.text) | {"port": 0, "host": "127.0.0.1"}
    (folder / "cargohold.yaml").write_text(yaml.safe_dump(settings))
    check, restart = block("runuser").text.splitlines()
    machine.run(f"{check}\n{restart}")

    trust = ssl.create_default_context(cafile=tmp_path / "ca.pem")
    until(lambda: url(machine).startswith("https://"))
    with httpx2.Client(base_url=url(machine), timeout=30, verify=trust) as client:
        assert client.get("/v2/acme/app/manifests/v1").status_code == 401
        client.auth = ("ann", PASSWORD)
        assert client.get(f"/v2/acme/app/blobs/{digest_of(CONTENT)}").content == CONTENT
        delete(client)
        push_and_pull(client)
        client.auth = ("ci", machine.run(block("cargohold token").text).strip())
        push_and_pull(client, "acme/other")
    machine.run("systemctl stop cargohold")
    assert (machine.property("Result"), machine.property("ExecMainStatus")) == ("success", "0")
    assert "Traceback" not in journal(machine)


def test_it_is_confined(installed: Machine) -> None:
    """No process of it is root's or may become so, or can write anything but its storage."""
    machine = installed
    pids = [int(machine.property("MainPID")), *workers(machine)]
    assert len(pids) >= 2
    for pid in pids:
        status = dict(
            line.split(":\t", 1)
            for line in machine.run(f"cat /proc/{pid}/status").splitlines()
            if ":\t" in line
        )
        assert "0" not in status["Uid"].split() + status["Gid"].split()
        assert {status[name].strip("0") for name in ("CapPrm", "CapEff", "CapBnd", "CapAmb")} == {""}
        assert (status["NoNewPrivs"], status["Seccomp"]) == ("1", "2")
    inside = f"nsenter --target={pids[0]} --mount"
    for path in ("/etc", "/usr/local/bin", "/var/lib", "/srv", "/opt"):
        assert machine.run(f"{inside} touch {path}/x 2>/dev/null || echo refused") == "refused\n"
    assert machine.run(f"{inside} touch /var/lib/cargohold/x && echo made") == "made\n"
    assert machine.run(f"{inside} find /root /home /tmp -mindepth 1 2>/dev/null || true") == ""
    assert machine.run("stat --format=%a:%U:%G /var/lib/cargohold") == "700:cargohold:cargohold\n"


def test_it_is_started_again(installed: Machine) -> None:
    """Whichever process is killed, the registry is there again; a worker alone is replaced by the registry itself."""
    machine = installed
    first = machine.property("MainPID")
    (killed, *_) = workers(machine)
    machine.run(f"kill -KILL {killed}")
    until(lambda: killed not in workers(machine) and len(workers(machine)) >= 2)
    assert machine.property("MainPID") == first
    machine.run(f"kill -KILL {first}")
    until(lambda: machine.property("NRestarts") == "1" and machine.property("SubState") == "running")
    with httpx2.Client(base_url=url(machine), timeout=30) as client:
        push_and_pull(client)


def test_settings_that_cannot_be_used(installed: Machine) -> None:
    """The service fails at once, for good, and the journal names the setting."""
    machine = installed
    machine.run("echo prot: 1 >>/etc/cargohold/cargohold.yaml")
    machine.run("systemctl restart cargohold", check=False)
    assert (machine.property("SubState"), machine.property("NRestarts")) == ("failed", "0")
    assert re.search(r"cargohold\.yaml:\d+:1: prot", journal(machine))


def test_reload_without_a_certificate(installed: Machine) -> None:
    """A reload with nothing to reload changes nothing."""
    machine = installed
    before = [machine.property("MainPID"), *workers(machine)]
    machine.run("systemctl reload cargohold")
    with httpx2.Client(base_url=url(machine), timeout=30) as client:
        push_and_pull(client)
    assert [machine.property("MainPID"), *workers(machine)] == before


def test_the_files_of_ones_own(installed: Machine) -> None:
    """Each of the page's files does what the page says: all of them together, the unit's restrictions otherwise on."""
    machine = installed
    for each in blocks_of(PAGE, "ini"):
        path, text = each.text.split("\n", 1)
        folder, _, name = path.removeprefix("# ").rpartition("/")
        assert folder == "/etc/systemd/system/cargohold.service.d"
        drop_in(machine, text.replace("WatchdogSec=60", "WatchdogSec=1"), name)
    port = privileged_port()
    settings = machine.folder / "etc/cargohold/cargohold.yaml"
    settings.write_text(f"port: {port}\nstorage: {{path: /srv/registry}}\n")
    machine.run("install -d -m 700 -o cargohold -g cargohold /srv/registry && systemctl restart cargohold")
    with httpx2.Client(base_url=f"http://127.0.0.1:{port}", timeout=30) as client:
        push_and_pull(client)
    assert (machine.folder / "srv/registry/docker").is_dir()
    machine.run("sleep 3")
    assert (machine.property("SubState"), machine.property("NRestarts")) == ("running", "0")
    main = machine.property("MainPID")
    machine.run(f"tr '\\0' '\\n' </proc/{main}/environ | grep --line-regexp REGISTRY_LOG_LEVEL=debug")
    machine.run(f"kill -STOP {main}")
    until(lambda: machine.property("NRestarts") == "1")
    assert "Watchdog timeout" in journal(machine)


def privileged_port() -> int:
    for port in range(1023, 600, -1):
        with socket.socket() as tried:
            try:
                tried.bind(("127.0.0.1", port))
            except OSError:
                continue
            return port
    raise AssertionError("no port below 1024 is free")
