"""Configurations of the CNCF Distribution registry, as settings."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING

import pytest

from cargohold.config import Settings, load
from cargohold.config.checks import asks_for_login
from cargohold.config.distribution import NoConfiguration, import_distribution
from cargohold.config.distribution_tables import LEFT_OUT, NEEDLESS
from cargohold.config.document_yaml import read_yaml
from cargohold.config.writing import write_yaml

if TYPE_CHECKING:
    from pathlib import Path

    from cargohold.config.distribution_work import Remark

# As the image registry:3 has it in /etc/distribution/config.yml.
IMAGE = """
version: 0.1
log:
  fields:
    service: registry
storage:
  cache:
    blobdescriptor: inmemory
  filesystem:
    rootdirectory: /var/lib/registry
  tag:
    concurrencylimit: 8
http:
  addr: :5000
  headers:
    X-Content-Type-Options: [nosniff]
health:
  storagedriver:
    enabled: true
    interval: 10s
    threshold: 3
"""

COMPANY = """
version: 0.1
log:
  accesslog: {disabled: true}
  level: warn
  formatter: logstash
storage:
  filesystem: {rootdirectory: /srv/images, maxthreads: 100}
  delete: {enabled: true}
  redirect: {disable: true}
  maintenance:
    uploadpurging: {enabled: true, age: 36h30m, interval: 24h, dryrun: false}
    readonly: {enabled: true}
auth:
  token:
    realm: https://login.example.com/token
    service: registry.example.com
    issuer: login.example.com
    rootcertbundle: /etc/registry/bundle.pem
    signingalgorithms: [ES256, HS256, RS256]
catalog: {maxentries: 500}
tags: {maxtags: 2000}
http:
  addr: "[::1]:443"
  prefix: /images/
  host: https://registry.example.com/images/
  secret: much too secret
  relativeurls: true
  draintimeout: 90s
  tls:
    certificate: /etc/registry/tls.crt
    key: /etc/registry/tls.key
    minimumtls: tls1.3
    clientcas: [/etc/registry/one.pem, /etc/registry/two.pem]
    clientauth: verify-client-cert-if-given
    ciphersuites: [TLS_AES_128_GCM_SHA256]
  headers:
    X-Frame-Options: [DENY]
    Cache-Control: [no-store, private]
    Content-Length: ["5"]
  http2: {disabled: false}
  debug:
    addr: :5001
    prometheus: {enabled: true, path: /numbers}
validation:
  disabled: true
"""

PROXY = """
version: 0.1
storage:
  s3: {bucket: images, region: eu-1, accesskey: a, secretkey: b}
http: {addr: "unix-socket", net: unix}
proxy: {remoteurl: https://registry-1.docker.io, username: u, password: p}
redis: {addrs: ["localhost:6379"], password: p}
notifications: {endpoints: [{name: a, url: http://a.example}]}
middleware: {storage: [{name: cloudfront}]}
"""


def imported(text: str, directory: Path) -> tuple[Settings, list[Remark]]:
    """What the settings that were written are read as, and the remarks."""
    found = import_distribution(read_yaml(text))
    file = directory / "registry.yaml"
    file.write_text(write_yaml(found.entries))
    return load({"config": str(file)}, {}), found.remarks


def told(remarks: list[Remark]) -> dict[str, list[str]]:
    """The paths by kinds of remarks."""
    return {
        kind: [each.path for each in remarks if each.kind == kind]
        for kind in ("left out", "changed", "not needed")
    }


def test_image(tmp_path: Path) -> None:
    """What the image is configured with listens everywhere, lets everyone in, and lets nobody delete."""
    settings, remarks = imported(IMAGE, tmp_path)
    assert (settings.host, settings.port, settings.storage.path) == ("0.0.0.0", 5000, "/var/lib/registry")
    assert settings.http.headers == {"x-content-type-options": "nosniff"}
    assert (settings.deletion, settings.auth.open_to_everyone) == (False, True)
    assert settings.uploads.timeout == 7 * 86400
    assert not asks_for_login(settings)
    assert told(remarks) == {
        "left out": ["log.fields"],
        "changed": ["", "http.addr", "http.addr"],
        "not needed": ["storage.cache", "storage.tag", "health.storagedriver"],
    }
    assert [remark.mark for remark in remarks] == [(1, 1), (4, 3), (7, 3), (11, 3), (14, 3), (14, 3), (18, 3)]


def test_company(tmp_path: Path) -> None:
    """Each parameter that has a setting of the same meaning is carried over; of each other it is said why not."""
    settings, remarks = imported(COMPANY, tmp_path)
    log, tls, bearer = settings.log, settings.tls, settings.auth.bearer
    assert (log.level, log.format, log.requests) == ("warning", "json", False)
    assert (settings.host, settings.port, settings.prefix) == ("::1", 443, "/images")
    assert (settings.storage.path, settings.read_only) == ("/srv/images", True)
    assert (settings.deletion, settings.manifests.allow_tag_deletion) == (True, True)
    assert settings.uploads.timeout == 36.5 * 3600
    assert (bearer.realm, bearer.service) == ("https://login.example.com/token", "registry.example.com")
    assert (bearer.issuer, bearer.key) == ("login.example.com", "/etc/registry/bundle.pem")
    assert bearer.algorithms == ("ES256", "RS256")
    assert settings.lists.max_page == 2000
    assert settings.server.public_url == "https://registry.example.com"
    assert settings.server.stop_timeout == 90
    assert (tls.certificate, tls.key, tls.minimum) == (
        "/etc/registry/tls.crt",
        "/etc/registry/tls.key",
        "1.3",
    )
    assert (tls.client_ca, tls.client_certificates) == ("/etc/registry/one.pem", "request")
    assert settings.http.headers == {"x-frame-options": "DENY", "cache-control": "no-store, private"}
    assert settings.http2
    assert settings.manifests.allow_sparse
    assert told(remarks) == {
        "left out": [
            "auth.token.signingalgorithms",
            "http.tls.ciphersuites",
            "http.headers.Content-Length",
            "http.debug.addr",
        ],
        "changed": [
            "",
            "log.formatter",
            "storage.maintenance.uploadpurging.age",
            "auth.token.rootcertbundle",
            "catalog.maxentries",
            "http.tls.clientcas",
            "http.debug.prometheus.enabled",
            "http.debug.prometheus.path",
            "validation.disabled",
        ],
        "not needed": [
            "storage.filesystem.maxthreads",
            "storage.redirect",
            "storage.maintenance.uploadpurging.interval",
            "http.secret",
            "http.relativeurls",
        ],
    }


def test_what_we_cannot_be(tmp_path: Path) -> None:
    """Object storage, a pull-through cache and notifications are left out, and no secret of them is repeated."""
    settings, remarks = imported(PROXY, tmp_path)
    assert (settings.socket, settings.storage.path) == ("unix-socket", "./data")
    found = told(remarks)
    assert found["left out"] == ["storage.s3", "proxy", "notifications", "middleware"]
    assert found["not needed"] == ["redis"]
    assert "skopeo sync" in next(each.text for each in remarks if each.path == "storage.s3")


@pytest.mark.parametrize(
    "auth",
    [
        "silly: {realm: r, service: s}",
        "htpasswd: {realm: r}",
        "token: {realm: https://r.example, service: s, issuer: i}",
        "token: {realm: https://r.example, rootcertbundle: /b, issuer: i}",
        "token: {realm: https://r.example, rootcertbundle: /b, issuer: 'a\"b', service: s}",
        "ldap: {url: ldap://a.example}",
    ],
)
@pytest.mark.parametrize("addr", [":5000", "127.0.0.1:5000"])
def test_a_login_that_is_lost_lets_nobody_in(auth: str, addr: str, tmp_path: Path) -> None:
    """Where a login was asked for, one is: a registry is never open because its login could not be carried over."""
    text = f"version: 0.1\nstorage: filesystem\nhttp: {{addr: '{addr}'}}\nauth:\n  {auth}\n"
    settings, remarks = imported(text, tmp_path)
    assert settings.auth.required
    assert not settings.auth.open_to_everyone
    assert any(remark.path == "auth" and "only access tokens" in remark.text for remark in remarks)


def test_no_login(tmp_path: Path) -> None:
    """Where everybody was let in, everybody is; on loopback that need not be said."""
    for auth in (
        "",
        "auth: none\n",
        "auth: None\n",
        "auth: {}\n",
        "auth:\n  none:\n",
        "auth: {none: {a: b}}\n",
    ):
        for host in ("localhost", "0.0.0.0"):
            text = f"version: 0.1\nstorage: filesystem\n{auth}http: {{addr: '{host}:5000'}}\n"
            settings, remarks = imported(text, tmp_path)
            assert not asks_for_login(settings)
            assert settings.auth.open_to_everyone == (host == "0.0.0.0")
            assert not told(remarks)["left out"]


@pytest.mark.parametrize(
    ("storage", "schedule"),
    [
        ("filesystem", "off"),
        ("{filesystem: {rootdirectory: /srv}}", "off"),
        ("{s3: {bucket: b}}", Settings().gc.schedule),
    ],
)
def test_collection(storage: str, schedule: str, tmp_path: Path) -> None:
    """Nothing is collected where that registry may go on to write, until somebody says so; elsewhere it is."""
    settings, remarks = imported(f"version: 0.1\nstorage: {storage}\n", tmp_path)
    assert settings.gc.schedule == schedule
    assert any("garbage" in remark.text for remark in remarks) == (schedule == "off")


@pytest.mark.parametrize(
    ("purging", "seconds"),
    [
        ("", 7 * 86400),
        ("uploadpurging: {age: 1h}", 3600),
        ("uploadpurging: {age: 90000000000}", 90),
        ("uploadpurging: {age: 1.5h}", 5400),
        ("uploadpurging: {age: 100ms}", 1),
        ("uploadpurging: {age: 90000h}", 365 * 86400),
        ("uploadpurging: {age: soon}", 7 * 86400),
        ("uploadpurging: {enabled: false}", 365 * 86400),
        ("uploadpurging: {enabled: true, dryrun: true}", 365 * 86400),
    ],
)
def test_purging(purging: str, seconds: float, tmp_path: Path) -> None:
    """Upload sessions last as long as they did, and a year at most."""
    text = f"version: 0.1\nstorage:\n  filesystem: {{}}\n  maintenance: {{{purging}}}\n"
    assert imported(text, tmp_path)[0].uploads.timeout == seconds


@pytest.mark.parametrize(
    ("text", "kind", "path", "words"),
    [
        (
            "http: {addr: 'localhost:http'}",
            "left out",
            "http.addr",
            "must be a host and the number of a port",
        ),
        ("http: {addr: 'a:1', net: udp}", "left out", "http.net", "must be tcp or unix"),
        ("http: {draintimeout: soon}", "left out", "http.draintimeout", "must be a duration"),
        ("http: {host: https://a.example/x}", "changed", "http.host", "/x is left away"),
        ("http: {host: nowhere}", "left out", "http.host", "must be an address"),
        ("http: {tls: {minimumtls: tls1.0}}", "changed", "http.tls.minimumtls", "nothing older than TLS 1.2"),
        (
            "http: {tls: {certificate: c, key: k, clientcas: [a], clientauth: request-client-cert}}",
            "changed",
            "http.tls.clientauth",
            "prove nothing",
        ),
        ("http: {tls: {certificate: c}}", "changed", "", "tls.key: must be written too"),
        ("log: {level: loud}", "left out", "log.level", "must be one of debug, info, warning, error"),
        ("log: {levle: info}", "left out", "log.levle", "is not known"),
        (
            "storage: {filesystem: {}, deleet: {enabled: true}}",
            "left out",
            "storage.deleet",
            "kept in a directory",
        ),
        (
            "storage: {delete: {enabled: maybe}}",
            "left out",
            "storage.delete.enabled",
            "must be true or false",
        ),
        ("storage: inmemory", "left out", "storage", "kept in a directory"),
        ("tags: {maxtags: 7}", "changed", "tags.maxtags", "lists.max_page, which is 1000"),
        (
            "auth: {token: {autoredirect: true, service: s, issuer: i, jwks: j}}",
            "left out",
            "auth.token.autoredirect",
            "write the address of the service in auth.bearer.realm",
        ),
        (
            "auth: {token: {realm: http://a.example, service: s, issuer: i, jwks: j}}",
            "left out",
            "auth.token.realm",
            "write https://",
        ),
        (
            "auth: {token: {service: s, issuer: i, jwks: j, rootcertbundle: b}}",
            "left out",
            "auth.token.rootcertbundle",
            "alone",
        ),
        (
            "validation: {manifests: {indexes: {platforms: list}}}",
            "left out",
            "validation.manifests.indexes.platforms",
            "all",
        ),
        (
            "validation: {manifests: {indexes: {platforms: None}}}",
            "changed",
            "validation.manifests.indexes.platforms",
            "lack",
        ),
        ("unheard: of", "left out", "unheard", "is not known"),
    ],
)
def test_remarks(text: str, kind: str, path: str, words: str) -> None:
    """What cannot be meant here, or means something else, is said where it stands."""
    found = import_distribution(read_yaml(f"version: 0.1\n{text}\n")).remarks
    assert any(each.kind == kind and each.path == path and words in each.text for each in found), found
    assert all(each.mark[0] == 2 for each in found if each.path)


@pytest.mark.parametrize("path", [*LEFT_OUT, *NEEDLESS])
def test_tables(path: str) -> None:
    """Each entry of the tables is of a parameter that is known: nothing is left out as unknown."""
    tree: object = "value"
    for name in reversed(path.split(".")):
        tree = f"{{{name}: {tree}}}"
    text = "version: 0.1" if path == "version" else f"version: 0.1\n{str(tree)[1:-1]}"
    remarks = import_distribution(read_yaml(text)).remarks
    assert not [each for each in remarks if "is not known" in each.text]
    words = {**LEFT_OUT, **NEEDLESS}[path]
    assert not words or words in [each.text for each in remarks if each.path == path]


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("", "must begin with version: 0.1"),
        ("- a", "must begin with version: 0.1"),
        ("storage: filesystem", "must begin with version: 0.1"),
        ("version: 0.2", "version: must be 0.1, not 0.2"),
        ("version: 0.1\nstorage: 3", "storage: must be the name of a storage driver, or a mapping with it"),
        ("version: 0.1\nstorage: [a]", "storage: must be the name of a storage driver, or a mapping with it"),
        (
            "version: 0.1\nauth: [x]",
            "auth: must be the name of a login, or a mapping with it as its key, not",
        ),
        (
            "version: 0.1\nauth:\n  htpasswd: {}\n  token: {}",
            "auth: must have one login, not htpasswd and token",
        ),
    ],
)
def test_other_files(text: str, words: str) -> None:
    """A file that is no configuration of that registry is refused as a whole."""
    with pytest.raises(NoConfiguration, match=f"^(?:is no configuration .*)?{re.escape(words)}"):
        import_distribution(read_yaml(text))
