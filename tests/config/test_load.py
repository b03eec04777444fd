"""Where settings come from, and which source counts."""

from __future__ import annotations

import json
import logging
import re
import subprocess
import sys
from typing import TYPE_CHECKING

import msgspec
import pytest

from cargohold.config import Settings, load
from cargohold.config.access import ClaimRule, Rule, TrustedIssuer
from cargohold.config.keeping import Immutable, Quota, Retention
from cargohold.config.load import read as read_effective
from cargohold.config.settings import SECTIONS, SETTINGS

if TYPE_CHECKING:
    from collections.abc import Mapping
    from pathlib import Path

# A value other than the default for each setting: as text, and as what it is read to.
OTHERS: dict[str, tuple[str, object]] = {
    "host": ("::1", "::1"),
    "port": ("5001", 5001),
    "socket": ("/run/cargohold.sock", "/run/cargohold.sock"),
    "workers": ("7", 7),
    "prefix": ("/registry", "/registry"),
    "http2": ("true", True),
    "read_only": ("true", True),
    "deletion": ("false", False),
    "log.level": ("debug", "debug"),
    "storage.path": ("/srv/registry", "/srv/registry"),
    "manifests.allow_tag_deletion": ("true", True),
    "manifests.allow_sparse": ("true", True),
    "manifests.max_bytes": ("8MiB", 8 * 2**20),
    "uploads.timeout": ("2h", 7200.0),
    "uploads.stall_timeout": ("90s", 90.0),
    "lists.default_page": ("10", 10),
    "lists.max_page": ("20", 20),
    "http.headers": ('{"X-A": "b"}', {"x-a": "b"}),
    "http.cors.origins": ('["https://a.example"]', ("https://a.example",)),
    "server.public_url": ("https://registry.example/", "https://registry.example"),
    "server.drain": ("5s", 5.0),
    "server.stop_timeout": ("1m", 60.0),
    "server.reuse_port": ("true", True),
    "log.format": ("json", "json"),
    "log.requests": ("false", False),
    "metrics.access": ("everyone", "everyone"),
    "metrics.recount": ("1h", 3600.0),
    "tracing.endpoint": ("http://127.0.0.1:4318/v1/traces", "http://127.0.0.1:4318/v1/traces"),
    "tracing.sample": ("0.1", 0.1),
    "gc.share": ("0.5", 0.5),
    "gc.grace": ("2h", 7200.0),
    "gc.untagged": ("true", True),
    "gc.schedule": ("90m", "90m"),
    "trash.keep": ("0", 0.0),
    "retention": (
        '[{"repository": "ci/**", "newest": 10, "tags": ["v*"], "pushed_within": "30d", "pulled_within": 3600.0,'  # noqa: ISC004 - one text
        ' "untagged": false}]',
        (Retention("ci/**", 10, ("v*",), "30d", 3600.0, untagged=False),),
    ),
    "tags.immutable": ('[{"repository": "prod/**"}]', (Immutable("prod/**", ("*",)),)),
    "quotas": (
        '[{"repository": "team/**", "bytes": "10GB", "each": true}]',
        (Quota("team/**", "10GB", each=True),),
    ),
    "tracing.service": ("images", "images"),
    "server.trusted_proxies": ('["10.0.0.0/8", "unix"]', ("10.0.0.0/8", "unix")),
    "server.accel_redirect": ("/internal", "/internal"),
    "auth.htpasswd": ("/etc/users", "/etc/users"),
    "auth.required": ("true", True),
    "auth.open_to_everyone": ("true", True),
    "auth.challenge": ("bearer", "bearer"),
    "auth.remember": ("1m", 60.0),
    "auth.administrators": ('["root"]', ("root",)),
    "auth.groups": ('{"team": ["ann", "bob"]}', {"team": ("ann", "bob")}),
    "auth.rules": (
        '[{"repository": "team/**", "users": ["ann"], "actions": ["pull"]}]',
        (Rule(actions=("pull",), repository="team/**", users=("ann",)),),
    ),
    "auth.default": ('["pull"]', ("pull",)),
    "auth.oidc": (
        '[{"issuer": "https://ci.example", "audience": "us",'  # noqa: ISC004 - one text
        ' "rules": [{"claims": {"repository": "org/*"}, "repository": "org/**", "actions": ["push"]}]}]',
        (
            TrustedIssuer(
                "https://ci.example", "us", (ClaimRule({"repository": "org/*"}, "org/**", ("push",)),)
            ),
        ),
    ),
    "auth.token.service": ("registry.example", "registry.example"),
    "auth.token.lifetime": ("10m", 600.0),
    "auth.token.refresh_lifetime": ("1d", 86400.0),
    "auth.token.job_lifetime": ("2h", 7200.0),
    "auth.bearer.realm": ("https://login.example/token", "https://login.example/token"),
    "auth.bearer.service": ("registry.example", "registry.example"),
    "auth.bearer.issuer": ("login.example", "login.example"),
    "auth.bearer.key": ("/etc/key.pem", "/etc/key.pem"),
    "auth.bearer.jwks": ("/etc/keys.json", "/etc/keys.json"),
    "auth.bearer.jwks_url": ("https://login.example/keys", "https://login.example/keys"),
    "auth.bearer.algorithms": ('["ES256"]', ("ES256",)),
    "auth.bearer.leeway": ("1m", 60.0),
    "tls.certificate": ("/etc/tls.crt", "/etc/tls.crt"),
    "tls.key": ("/etc/tls.key", "/etc/tls.key"),
    "tls.minimum": ("1.3", "1.3"),
    "tls.client_ca": ("/etc/ca.crt", "/etc/ca.crt"),
    "tls.client_certificates": ("request", "request"),
    "tls.redirect_port": ("8080", 8080),
    "limits.address.reads": ("600/minute", "600/minute"),
    "limits.address.writes": ("10 per 2 hours", "10/2hour"),
    "limits.user.reads": ("1000/second", "1000/second"),
    "limits.user.writes": ("5/day", "5/day"),
    "limits.failed_logins": ("", None),
    "limits.allow": ('["10.0.0.0/8", "::1"]', ("10.0.0.0/8", "::1")),
}


def value_of(settings: Settings, path: str) -> object:
    found: object = settings
    for name in path.split("."):
        found = getattr(found, name)
    return found


def nested(path: str, value: object) -> dict[str, object]:
    for name in reversed(path.split(".")):
        value = {name: value}
    assert isinstance(value, dict)
    return value


def read(options: Mapping[str, object], environ: Mapping[str, str]) -> Settings:
    return read_effective(options, environ).settings


def write(directory: Path, name: str, text: str) -> str:
    file = directory / name
    file.write_text(text)
    return str(file)


def test_defaults() -> None:
    """With no source, the settings are those that the documentation promises."""
    settings = load({}, {"PATH": "/bin", "registry_port": "1", "REGISTRYPORT": "1"})
    assert settings == Settings()
    assert (settings.host, settings.port, settings.socket, settings.prefix) == ("127.0.0.1", 5000, None, "")
    assert 1 <= settings.workers <= 2
    assert (settings.http2, settings.read_only, settings.deletion) == (False, False, True)
    assert settings.storage.path == "./data"
    assert (settings.manifests.allow_tag_deletion, settings.manifests.allow_sparse) == (False, False)
    assert settings.manifests.max_bytes == 4194304
    assert (settings.uploads.timeout, settings.uploads.stall_timeout) == (3600, 60)
    assert (settings.lists.default_page, settings.lists.max_page) == (100, 1000)
    assert (settings.http.headers, settings.http.cors.origins, settings.log.level) == ({}, (), "info")


def test_every_setting_is_tried() -> None:
    """The table of this file has every setting, each with a value that is not its default."""
    assert set(OTHERS) == set(SETTINGS)
    assert all(
        value_of(Settings(), path) != value for path, (_, value) in OTHERS.items() if path != "workers"
    )


@pytest.mark.parametrize("path", SETTINGS)
def test_each_source_sets_it(path: str, tmp_path: Path) -> None:
    """Each setting can be set by the command line, by its variable, and by a file; nothing else changes."""
    text, value = OTHERS[path]
    expected = read({path: text}, {})
    assert value_of(expected, path) == value
    assert all(
        value_of(expected, other) == value_of(Settings(), other) for other in SETTINGS if other != path
    )

    assert read({}, {f"REGISTRY_{path.replace('.', '_').upper()}": text}) == expected
    assert read({"config": write(tmp_path, "a.json", json.dumps(nested(path, text)))}, {}) == expected


@pytest.mark.parametrize("path", SETTINGS)
def test_precedence(path: str, tmp_path: Path) -> None:
    """Command line over environment over file over defaults, for every setting."""
    text, expected = OTHERS[path]
    value = msgspec.to_builtins(expected)
    default = msgspec.to_builtins(value_of(Settings(), path))
    file = write(tmp_path, "a.json", json.dumps(nested(path, value)))
    name = SETTINGS[path].variable
    as_text = default if isinstance(default, str) else "" if default is None else json.dumps(default)

    assert value_of(read({"config": file}, {}), path) == expected
    assert read({"config": file}, {name: as_text}) == Settings()
    assert value_of(read({path: value, "config": file}, {name: as_text}), path) == expected
    assert read({path: default, "config": file}, {name: text}) == Settings()


@pytest.mark.parametrize(
    ("name", "text"),
    [
        ("a.yaml", "port: 1\nlists:\n  max_page: 5\nhttp:\n  cors: {origins: ['*']}\n"),
        ("a.YML", "{port: '1', lists.max_page: 5, http: {cors.origins: ['*']}}"),
        ("a.toml", "port = 1\nhttp.cors.origins = ['*']\n[lists]\nmax_page = 5\n"),
        ("a.json", '{"port": 1, "lists": {"max_page": 5}, "http": {"cors": {"origins": ["*"]}}}'),
    ],
)
def test_file_languages(name: str, text: str, tmp_path: Path) -> None:
    """A file is YAML, TOML or JSON by its suffix, in any letter case of it; keys may be nested or dotted."""
    expected = load({"port": 1, "lists.max_page": 5, "http.cors.origins": ["*"]}, {})
    assert load({"config": write(tmp_path, name, text)}, {}) == expected


@pytest.mark.parametrize(
    ("name", "text"),
    [
        ("a.yaml", ""),
        ("a.yaml", "# nothing\n"),
        ("a.yaml", "manifests:\nhttp:\n  cors:\n"),
        ("a.toml", ""),
        ("a.json", "{}"),
    ],
)
def test_empty_file(name: str, text: str, tmp_path: Path) -> None:
    """An empty file, and an empty section, set nothing."""
    assert load({"config": write(tmp_path, name, text)}, {}) == Settings()


def test_yaml_merge_keys(tmp_path: Path) -> None:
    """A merge key brings in what the mapping does not set itself, and is no duplicate of it."""
    text = "lists:\n  <<: {max_page: 5, default_page: 4}\n  max_page: 6\n"
    lists = load({"config": write(tmp_path, "a.yaml", text)}, {}).lists
    assert (lists.max_page, lists.default_page) == (6, 4)


def test_file_named_by_variable(tmp_path: Path) -> None:
    """REGISTRY_CONFIG names the file; the command line may name another; an empty one names none."""
    first, second = write(tmp_path, "a.toml", "port = 1"), write(tmp_path, "b.toml", "port = 2")
    assert load({}, {"REGISTRY_CONFIG": first}).port == 1
    assert load({"config": second}, {"REGISTRY_CONFIG": first}).port == 2
    assert load({}, {"REGISTRY_CONFIG": ""}).port == 5000


def test_whole_mappings_replace(tmp_path: Path) -> None:
    """A mapping of one source replaces the whole of another's; sections are merged."""
    file = write(tmp_path, "a.json", '{"http": {"headers": {"a": "1"}, "cors": {"origins": ["*"]}}}')
    http = load({"config": file}, {"REGISTRY_HTTP_HEADERS": '{"b": "2"}'}).http
    assert http.headers == {"b": "2"}
    assert http.cors.origins == ("*",)


KUBERNETES = {
    "REGISTRY_PORT": "tcp://10.96.0.12:5000",
    "REGISTRY_PORT_5000_TCP": "tcp://10.96.0.12:5000",
    "REGISTRY_PORT_5000_TCP_ADDR": "10.96.0.12",
    "REGISTRY_PORT_5000_TCP_PORT": "5000",
    "REGISTRY_PORT_5000_TCP_PROTO": "tcp",
    "REGISTRY_SERVICE_HOST": "10.96.0.12",
    "REGISTRY_SERVICE_PORT": "5000",
    "REGISTRY_SERVICE_PORT_HTTP": "5000",
}


def test_kubernetes_is_ignored(caplog: pytest.LogCaptureFixture) -> None:
    """What Kubernetes injects for a Service named registry changes nothing and warns of nothing."""
    assert load({}, KUBERNETES) == Settings()
    assert load({}, {**KUBERNETES, "REGISTRY_PORT": "udp://10.96.0.12:5000"}) == Settings()
    assert not caplog.records


@pytest.mark.parametrize(
    ("name", "suggestion"),
    [
        ("REGISTRY_PROT", "; did you mean REGISTRY_PORT?"),
        ("REGISTRY_MANIFEST_ALLOW_TAG_DELETION", "; did you mean REGISTRY_MANIFESTS_ALLOW_TAG_DELETION?"),
        ("REGISTRY_CONFIGURATION", "; did you mean REGISTRY_CONFIG?"),
        ("REGISTRY_port", "; did you mean REGISTRY_PORT?"),
        ("REGISTRY_", ""),
        ("REGISTRY_ZZZZZZZZZZZZZZZ", ""),
    ],
)
def test_unknown_variables_warn(name: str, suggestion: str, caplog: pytest.LogCaptureFixture) -> None:
    """An unknown variable is a warning, with the nearest known name and without the value, a secret maybe."""
    with caplog.at_level(logging.WARNING):
        assert load({}, {name: "s3cret"}) == Settings()
    assert [record.getMessage() for record in caplog.records] == [
        f"{name} is not a setting and is ignored{suggestion}"
    ]


def test_variables_are_distinct() -> None:
    """No two settings share a variable, and none has the name of the file's or of what Kubernetes injects."""
    names = [setting.variable for setting in SETTINGS.values()]
    assert len(set(names)) == len(names)
    assert "REGISTRY_CONFIG" not in names
    assert not [name for name in names if re.match("REGISTRY_(PORT|SERVICE)_", name)]


def test_tree() -> None:
    """Every section has settings; every setting has a description in sentences, and a default of its kind."""
    assert all(any(path.startswith(f"{section}.") for path in SETTINGS) for section in SECTIONS)
    for path, setting in SETTINGS.items():
        assert setting.description.endswith("."), path
        default = value_of(Settings(), path)
        assert setting.kind.read(default) == default


def test_tree_is_strict() -> None:
    """The tree cannot be changed, and as a type for decoding it takes no unknown name."""
    with pytest.raises(AttributeError):
        Settings().port = 1  # type: ignore[misc]
    with pytest.raises(msgspec.ValidationError, match="unknown field `prot`"):
        msgspec.convert({"prot": 1}, Settings)
    with pytest.raises(msgspec.ValidationError, match="unknown field `sparse`"):
        msgspec.convert({"manifests": {"sparse": True}}, Settings)


def test_parsers_are_imported_when_needed() -> None:
    """Loading without a file imports no parser of files, so that a start is fast and small."""
    program = (
        "import sys; from cargohold.config import load; load({}, {});"
        "print([name for name in ('yaml', 'tomllib', 'json', 'difflib', 'granian') if name in sys.modules])"
    )
    ran = subprocess.run(
        [sys.executable, "-c", program], capture_output=True, text=True, timeout=60, check=True
    )
    assert ran.stdout == "[]\n"
