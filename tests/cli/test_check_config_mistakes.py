"""`cargohold check-config` tells of mistakes of every kind in one run, and of none that only follows from another."""

from __future__ import annotations

import json
import os
import socket
from typing import TYPE_CHECKING

import pytest

from tests.cli.test_check_config import check, problems

if TYPE_CHECKING:
    from pathlib import Path


def test_every_kind_at_once(tmp_path: Path) -> None:
    """What cannot be read hides neither what does not go together nor what the good settings name."""
    (tmp_path / "file").write_text("")
    text = (
        f"prt: 1\nworkers: 0\ntls:\n  certificate: {tmp_path}/none\n"
        f"storage:\n  path: {tmp_path}/file/x\nauth:\n  open_to_everyone: true\n  required: true\n"
        f"  htpasswd: {tmp_path}/users\n"
    )
    found = problems(tmp_path, text)
    assert [line.split(": ")[:3] for line in found] == [
        ["registry.yaml:1:1", "prt", "is not a setting; did you mean port?"],
        ["registry.yaml:2:1", "workers", "must be a whole number from 1 to 64, not 0"],
        ["registry.yaml:8:3", "auth.open_to_everyone", "must be false where a login is configured"],
        ["registry.yaml:4:3", "tls.key", "must be written too"],
        ["registry.yaml:6:3", "storage.path", f"user {os.geteuid()} cannot write in file"],
        ["registry.yaml:10:3", "auth.htpasswd", f"user {os.geteuid()} cannot read users"],
        ["registry.yaml:4:3", "tls.certificate", f"user {os.geteuid()} cannot read none"],
    ]


@pytest.mark.parametrize(
    ("text", "told"),
    [
        ("prt: 1", ["prt"]),
        ("port: http", ["port"]),
        ("port: 0\nport: 0", ["port"]),
        ("host: [a]\ntls: {redirect_port: PORT}", ["host", "tls.redirect_port"]),
        ("port: 0\ntls: {certificat: c, key: /dev/null/k}", ["tls.certificat", "tls.key"]),
        ("port: 0\ntls: {certificat: c, client_ca: /proc/none}", ["tls.certificat", "tls.client_ca"]),
        ("port: 0\nstorge: {path: /srv}", ["storge"]),
        ("port: 0\nstorage: /srv", ["storage"]),
        ("port: 0\nstorage: {path: /proc/none}\nread_only: maybe", ["read_only"]),
        ("port: 0\nhost: '::'\nauth: {htpaswd: users}", ["auth.htpaswd"]),
        ("port: 0\nhost: '::'\nauth: {rules: [{}]}", ["auth.rules"]),
        ("port: 0\nauth: {required: true, groups: [], rules: [{groups: [a], actions: []}]}", ["auth.groups"]),
        ("port: 0\nauth: {default: [], required: maybe}", ["auth.required"]),
        (
            "port: 0\nauth: {bearer: {key: /proc/none, issuer: 3, service: s}}",
            ["auth.bearer.issuer", "auth.bearer.key"],
        ),
        ("port: 0\nauth: {bearer: {kye: k, issuer: i, service: s}}", ["auth.bearer.kye"]),
        ("port: [", [""]),
        ("[]", [""]),
    ],
)
def test_what_is_not_known(
    text: str, told: list[str], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A mistake brings no other with it: what depends on a setting that could not be read is not told as wrong."""
    monkeypatch.chdir(tmp_path)
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = taken.getsockname()[1]
        (tmp_path / "registry.yaml").write_text(text.replace("PORT", str(port)))
        result = check("registry.yaml", "--json")
    found = json.loads(result.stdout)["problems"]
    assert [each["setting"] or "" for each in found] == told


def test_sources_over_what_is_not_known(tmp_path: Path) -> None:
    """What the command line gives is known, whatever the file has; a mistake there hides what the file gives."""
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = taken.getsockname()[1]
        found = problems(tmp_path, "port: http\n", "--port", str(port))
        assert [line.split(": ")[1] for line in found] == ["port", "port"]
        (tmp_path / "registry.yaml").write_text(f"port: {port}\n")
        found = problems(tmp_path, "", "--port", "http")
    assert [line.split(": ")[:2] for line in found] == [["command line", "port"]]


def test_what_is_written_comes_first(tmp_path: Path) -> None:
    """Settings that cannot be read are told of before those that do not go together."""
    assert problems(tmp_path, "prot: 1\nlog:\n  level: loud\n", "--workers", "0") == [
        "registry.yaml:1:1: prot: is not a setting; did you mean port?",
        "registry.yaml:3:3: log.level: must be one of debug, info, warning, error, not 'loud'",
        "command line: workers: must be a whole number from 1 to 64, not '0'",
    ]
    (tmp_path / "registry.yaml").unlink()
    together = problems(tmp_path, f"host: '::'\ntls:\n  key: {tmp_path}/none\n")
    assert [line.split(" ")[:2] for line in together] == [
        ["registry.yaml:1:1:", "host:"],
        ["registry.yaml:3:3:", "tls.certificate:"],
        ["registry.yaml:3:3:", "tls.key:"],
    ]
    assert "No such file" in together[2]
