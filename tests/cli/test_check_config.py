"""`cargohold check-config`: everything that is in a server's way, at once, and nothing is changed."""

from __future__ import annotations

import json
import os
import socket
import stat
from typing import TYPE_CHECKING

import bcrypt
import pytest
from click.testing import CliRunner, Result
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.hazmat.primitives.serialization import Encoding, PublicFormat

from cargohold.cli.main import main
from tests.certificates import Authority
from tests.cli.test_command import CLEAN, SCRIPT, run
from tests.e2e.server import Server
from tests.http.serving import full_queue

if TYPE_CHECKING:
    from pathlib import Path

BEGIN = "give a file that begins with -----BEGIN CERTIFICATE-----"
MAKE = "(cargohold htpasswd create makes one)"
TAKEN = "stop the server that has it (with --running this is not asked), or choose another port"


def check(*words: str) -> Result:
    """The command as a function."""
    environ = dict.fromkeys(os.environ.keys() - CLEAN.keys())
    return CliRunner(env=environ).invoke(main, ["check-config", *words])


def problems(directory: Path, text: str, *words: str) -> list[str]:
    """The lines on stderr of the check of a YAML file, without the directory, where it fails."""
    file = directory / "registry.yaml"
    if not file.exists():
        file.write_text(text)
    result = check(str(file), *words)
    assert (result.exit_code, result.stdout) == (1, "")
    return result.stderr.replace(f"{directory}{os.sep}", "").splitlines()


def summary(result: Result) -> dict[str, str]:
    """What would be served, by its headings."""
    assert result.exit_code == 0, result.stderr
    lines = (line.split("  ", 1) for line in result.stdout.splitlines())
    return {heading: text.strip() for heading, text in lines}


def tree(folder: Path) -> dict[str, tuple[int, int, int]]:
    """Everything below a folder, as it would differ if it had been touched."""
    found = {}
    for path in sorted(folder.rglob("*")):
        status = path.lstat()
        found[str(path)] = (status.st_mode, status.st_size, status.st_mtime_ns)
    return found


@pytest.fixture
def users(tmp_path: Path) -> Path:
    file = tmp_path / "users"
    file.write_bytes(b"ann:" + bcrypt.hashpw(b"secret", bcrypt.gensalt(4)) + b"\n")
    return file


def test_defaults(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Without a file the defaults are checked, and nothing is made; the exit code is 0."""
    monkeypatch.chdir(tmp_path)
    found = summary(check("--port", "0"))
    assert found["address"] == "http://127.0.0.1:(any port)"
    assert found["storage"] == str(tmp_path / "data")
    assert found["login"].startswith("none: whoever reaches")
    assert found["TLS"] == "none"
    assert not [*tmp_path.iterdir()]


def test_summary(tmp_path: Path, users: Path) -> None:
    """What would be served is told in a few lines, with variables and options as serve would take them."""
    pair = Authority().write(tmp_path / "ca.pem").issue(ends=30)
    pair.write(tmp_path / "tls.crt", tmp_path / "tls.key")
    file = tmp_path / "registry.yaml"
    file.write_text(
        f"port: 0\nprefix: /images\ndeletion: false\nstorage: {{path: {tmp_path}/data}}\n"
        f"auth: {{htpasswd: {users}, rules: [{{users: [ann], actions: [pull]}}]}}\n"
        f"tls: {{certificate: {tmp_path}/tls.crt, key: {tmp_path}/tls.key, client_ca: {tmp_path}/ca.pem}}\n"
        "limits: {address: {reads: 600/minute}}\nserver: {public_url: https://registry.example.com}\n"
    )
    result = CliRunner(env={"REGISTRY_WORKERS": "3"}).invoke(
        main, ["check-config", str(file), "--host", "::1"]
    )
    found = summary(result)
    until = pair.certificate.not_valid_after_utc.strftime("%Y-%m-%d")
    assert found == {
        "address": "https://[::1]:(any port)/images",
        "public address": "https://registry.example.com",
        "storage": str(tmp_path / "data"),
        "content": "can be pulled and pushed, and not deleted",
        "trash": "what is deleted can be restored for 1d",
        "garbage": "schedule 0 3 * * *, grace time 1d",
        "login": f"1 user of {users}, access tokens; 1 rule",
        "TLS": f"1.2 or newer; the certificate is valid until {until}; clients must have certificates",
        "limits": "reads of an address 600/minute, failed logins 20/minute, manifests 4MiB, uploads without news 1h",
        "workers": "3",
        "logs": "info, auto",
        "metrics": "for whoever is logged in, where that is asked for",
    }
    assert result.stderr == ""


def test_summary_of_what_is_kept(tmp_path: Path) -> None:
    """What is collected and when, what can be restored, and whatever rules there are, are told."""
    file = tmp_path / "registry.yaml"
    file.write_text(
        f"port: 0\nstorage: {{path: {tmp_path}/data}}\n"
        "gc: {schedule: 6h, grace: 2h, untagged: true}\ntrash: {keep: 0}\n"
        "retention: [{repository: ci/release/**, newest: 3}, {repository: ci/**, tags: ['v*']}]\n"
        "tags: {immutable: [{repository: prod/**, tags: ['v*', latest]}]}\n"
        "quotas: [{repository: team/**, bytes: 10GB}, {repository: 'team/*', bytes: 2GiB, each: true}]\n"
    )
    found = summary(check(str(file)))
    assert {name: found[name] for name in ("trash", "garbage", "retention", "immutable tags", "quotas")} == {
        "trash": "none",
        "garbage": "schedule 6h, grace time 2h, manifests without a tag too",
        "retention": "ci/release/**, ci/**",
        "immutable tags": "v* latest in prod/**",
        "quotas": "team/** 10GB, team/* 2GiB each",
    }
    file.write_text(f"port: 0\nread_only: true\nstorage: {{path: {tmp_path}}}\n")
    found = summary(check(str(file)))
    assert found["garbage"] == "nothing is collected"
    assert not found.keys() & {"retention", "immutable tags", "quotas"}


def test_everything_at_once(tmp_path: Path) -> None:
    """Each thing in the way is a line with its place; none hides another."""
    taken = socket.create_server(("127.0.0.1", 0))
    port = taken.getsockname()[1]
    (tmp_path / "file").write_text("")
    (tmp_path / "bad.json").write_text("[]")
    (tmp_path / "ca.pem").write_text("nothing")
    text = (
        f"port: {port}\n"
        f"storage:\n  path: {tmp_path}/file/data\n"
        "auth:\n"
        f"  htpasswd: {tmp_path}/none\n"
        f"  bearer: {{issuer: i, service: s, jwks: {tmp_path}/bad.json}}\n"
        f"tls:\n  certificate: {tmp_path}/none.crt\n  key: {tmp_path}/none.key\n  client_ca: {tmp_path}/ca.pem\n"
    )
    with taken:
        found = problems(tmp_path, text)
    user = os.geteuid()
    elsewhere = "let that user, or choose another place"
    another = "let that user, or name another file"
    assert found == [
        f"registry.yaml:3:3: storage.path: user {user} cannot write in file: Not a directory; {elsewhere}",
        f"registry.yaml:5:3: auth.htpasswd: user {user} cannot read none: No such file or directory; {another} {MAKE}",
        'registry.yaml:6:35: auth.bearer.jwks: bad.json: this is no JWK set: an object with a list of "keys"',
        f"registry.yaml:8:3: tls.certificate: user {user} cannot read none.crt: No such file or directory; {another}",
        f"registry.yaml:9:3: tls.key: user {user} cannot read none.key: No such file or directory; {another}",
        f"registry.yaml:10:3: tls.client_ca: ca.pem holds no certificate in PEM, or a damaged one; {BEGIN}",
        f"registry.yaml:1:1: port: cannot listen on 127.0.0.1:{port}: Address already in use; {TAKEN}",
    ]


def test_certificates(tmp_path: Path) -> None:
    """A key of another certificate is a problem, and so is one that has expired; one that soon will is a warning."""
    authority = Authority()
    settings = (
        f"port: 0\nstorage: {{path: {tmp_path}/data}}\n"
        f"tls: {{certificate: {tmp_path}/a.crt, key: {tmp_path}/a.key}}\n"
    )
    authority.issue().write(tmp_path / "a.crt", tmp_path / "b.key")
    authority.issue().write(tmp_path / "b.crt", tmp_path / "a.key")
    (found,) = problems(tmp_path, settings)
    assert "tls.key: a.key is not the key of the first certificate in a.crt" in found
    authority.issue(begins=-9, ends=-1).write(tmp_path / "a.crt", tmp_path / "a.key")
    (found,) = problems(tmp_path, "")
    assert "tls.certificate: the certificate in a.crt has expired" in found
    authority.issue(ends=3).write(tmp_path / "a.crt", tmp_path / "a.key")
    result = check(str(tmp_path / "registry.yaml"))
    assert result.exit_code == 0
    assert result.stderr.startswith("warning: ")
    assert "a.crt expires in 3 days" in result.stderr


def test_keys_of_tokens(tmp_path: Path) -> None:
    """A file of keys must be one: a public key passes, another file does not."""
    public = ec.generate_private_key(ec.SECP256R1()).public_key()
    key = tmp_path / "key.pem"
    key.write_bytes(public.public_bytes(Encoding.PEM, PublicFormat.SubjectPublicKeyInfo))
    words = ["--port", "0", "--storage-path", str(tmp_path / "data"), "--set", f"auth.bearer.key={key}"]
    words += ["--set", "auth.bearer.issuer=i", "--set", "auth.bearer.service=s"]
    assert summary(check(*words))["login"] == "access tokens, tokens of i"
    key.write_text("no key")
    result = check(*words)
    assert result.exit_code == 1
    assert result.stderr.startswith(f"command line: auth.bearer.key: {key}: there is no public key")


def test_pipes(tmp_path: Path) -> None:
    """What is no regular file is a problem at once: nobody waits for who may write into a pipe."""
    pipe = tmp_path / "pipe"
    os.mkfifo(pipe)
    words = ["--port", "0", "--storage-path", str(tmp_path / "data"), "--set", f"auth.htpasswd={pipe}"]
    words += [word for name in ("certificate", "key") for word in ("--set", f"tls.{name}={pipe}")]
    lines = check(*words).stderr.splitlines()
    assert [line.split(": ")[1] for line in lines] == ["auth.htpasswd", "tls.certificate", "tls.key"]
    assert all(f"{pipe} cannot be read: it is no regular file" in line for line in lines)


def test_users(tmp_path: Path, users: Path) -> None:
    """A file of users that is none is a problem; lines of it that do not count are warnings."""
    words = ["--port", "0", "--storage-path", str(tmp_path / "data"), "--set", f"auth.htpasswd={users}"]
    users.write_text(users.read_text() + "bob:{SHA}x\n")
    result = check(*words)
    assert summary(result)["login"].startswith("1 user of ")
    assert result.stderr.startswith(
        f"warning: command line: auth.htpasswd: {users}: user 'bob' of line 2 cannot"
    )
    users.write_text("# nobody\n")
    assert "nobody can log in by it yet" in check(*words).stderr
    users.write_text("no colon\n")
    result = check(*words)
    assert result.exit_code == 1
    assert (
        result.stderr
        == f"command line: auth.htpasswd: {users}: line 1: it has no colon between a name and a hash\n"
    )


def test_passwords_in_the_clear_are_warned_of(tmp_path: Path, users: Path) -> None:
    """As the server does at its start."""
    words = ["--port", "0", "--host", "0.0.0.0", "--storage-path", str(tmp_path / "data")]
    result = check(*words, "--set", f"auth.htpasswd={users}")
    assert result.exit_code == 0
    assert result.stderr.startswith(
        "warning: command line: host: passwords and tokens cross the network in the clear"
    )


def test_a_server_that_runs(tmp_path: Path) -> None:
    """Its port is taken, and said to be; with --running all else is checked, and its storage is left as it was."""
    server = Server(tmp_path / "data")
    port = server.host.rpartition(":")[2]
    words = ["--port", port, "--storage-path", str(tmp_path / "data")]
    try:
        refused = check(*words)
        assert refused.exit_code == 1
        assert refused.stderr.startswith(
            f"command line: port: cannot listen on 127.0.0.1:{port}: Address already in use"
        )
        assert summary(check(*words, "--running"))["address"] == f"http://127.0.0.1:{port}"
    finally:
        assert server.stop() == 0
    before = tree(tmp_path)
    assert check(*words).exit_code == 0
    assert tree(tmp_path) == before


def test_a_server_that_shares(tmp_path: Path) -> None:
    """The port of a server that shares it is free for one that does so too, and for no other."""
    with socket.socket() as server:
        server.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEPORT, 1)
        server.bind(("127.0.0.1", 0))
        server.listen()
        words = ["--port", str(server.getsockname()[1]), "--storage-path", str(tmp_path / "data")]
        assert check(*words, "--set", "server.reuse_port=true").exit_code == 0
        assert check(*words).exit_code == 1


def test_sockets(tmp_path: Path) -> None:
    """A Unix socket needs a folder to be made in, and no server that has it; what a dead one left is in no way."""
    words = ["--storage-path", str(tmp_path / "data"), "--socket"]
    path = str(tmp_path / "s")
    assert summary(check(*words, path))["address"] == f"unix:{path}"
    with socket.socket(socket.AF_UNIX) as server:
        server.bind(path)
        server.listen(0)
        assert "a server listens on" in check(*words, path).stderr
        with full_queue(path):
            assert "a server listens on" in check(*words, path).stderr
    assert check(*words, path).exit_code == 0
    assert stat.S_ISSOCK(os.lstat(path).st_mode)
    (tmp_path / "file").write_text("")
    assert "is no socket" in check(*words, str(tmp_path / "file")).stderr
    assert "cannot write in" in check(*words, "/proc/none/s").stderr


@pytest.mark.parametrize(
    ("host", "words"),
    [
        ("192.0.2.1", "Cannot assign requested address; choose an address of this machine"),
        ("no.such.host.invalid", "choose an address of this machine"),
    ],
)
def test_addresses_of_others(host: str, words: str, tmp_path: Path) -> None:
    """An address that is not this machine's cannot be listened on."""
    options = ["--host", host, "--port", "0", "--set", "auth.open_to_everyone=true"]
    result = check(*options, "--storage-path", str(tmp_path / "data"))
    assert result.exit_code == 1
    assert result.stderr.startswith(f"command line: port: cannot listen on {host}:0: ")
    assert words in result.stderr


def test_redirect_port(tmp_path: Path) -> None:
    """The port for plain HTTP must be free too, and another one."""
    Authority().issue().write(tmp_path / "a.crt", tmp_path / "a.key")
    words = ["--storage-path", str(tmp_path / "data"), "--set", f"tls.certificate={tmp_path}/a.crt"]
    words += ["--set", f"tls.key={tmp_path}/a.key"]
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = str(taken.getsockname()[1])
        result = check(*words, "--port", "0", "--set", f"tls.redirect_port={port}")
        assert "tls.redirect_port: cannot listen on" in result.stderr
        assert result.exit_code == 1
        shared = check(*words, "--port", port, "--set", f"tls.redirect_port={port}")
    assert "tls.redirect_port: must be another port than" in shared.stderr


def test_json(tmp_path: Path) -> None:
    """For programs, each problem has its file, line, column, setting and message."""
    file = tmp_path / "registry.json"
    file.write_text('{\n "prot": 1,\n "port": 0}')
    ran = run(SCRIPT, "check-config", str(file), "--json", environ={"REGISTRY_WORKERS": "0"})
    assert (ran.returncode, ran.stderr) == (1, "")
    assert json.loads(ran.stdout) == {
        "ok": False,
        "problems": [
            {
                "file": str(file),
                "line": 2,
                "column": 2,
                "source": None,
                "setting": "prot",
                "message": "is not a setting; did you mean port?",
            },
            {
                "file": None,
                "line": None,
                "column": None,
                "source": "REGISTRY_WORKERS",
                "setting": "workers",
                "message": "must be a whole number from 1 to 64, not '0'",
            },
        ],
        "warnings": [],
        "serves": None,
    }
    file.write_text('{"port": 0}')
    good = json.loads(check(str(file), "--json", "--storage-path", str(tmp_path / "data")).stdout)
    assert (good["ok"], good["problems"]) == (True, [])
    assert good["serves"]["workers"] == summary(check(str(file)))["workers"]


def test_one_file(tmp_path: Path) -> None:
    """FILE and --config cannot both be written."""
    result = check(str(tmp_path / "a.yaml"), "--config", "b.yaml")
    assert result.exit_code == 2
    assert "write FILE or --config, not both" in result.stderr
