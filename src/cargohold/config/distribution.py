"""The configuration of a CNCF Distribution registry, version 0.1, to settings of ours.

https://distribution.github.io/distribution/about/configuration/ says what it may hold. What was not written there has
the meaning of that program's default, where ours has another.
"""

from __future__ import annotations

import re
from typing import TYPE_CHECKING, Final

from cargohold.config.distribution_tables import ALGORITHMS_THERE, LEFT_OUT, NEEDLESS, OTHER_STORAGE
from cargohold.config.distribution_work import Work
from cargohold.config.kinds import shown
from cargohold.config.schedules import OFF
from cargohold.config.section import YEAR

if TYPE_CHECKING:
    from cargohold.config.distribution_work import Imported
    from cargohold.config.document import Document
    from cargohold.config.places import Mark

VERSION: Final = "0.1"
_ADDRESS: Final = re.compile(r"(?:\[([^\]]*)\]|([^:\[\]]*)):([0-9]{1,5})")
_NOT_OF_DRIVERS: Final = {"cache", "delete", "maintenance", "redirect", "tag"}
_WEEK: Final = 7 * 86400.0
_MOST_ENTRIES: Final = 1000


class NoConfiguration(Exception):
    """The document is none that Distribution takes; the text says why, and `mark` where, where that is known."""

    def __init__(self, message: str, mark: Mark | None = None) -> None:
        super().__init__(message)
        self.mark = mark


def import_distribution(document: Document) -> Imported:
    """Raises NoConfiguration."""
    tree = document.tree
    if not isinstance(tree, dict) or "version" not in tree:
        raise NoConfiguration(
            "is no configuration of a Distribution registry: it must begin with version: 0.1"
        )
    if str(tree["version"]) != VERSION:
        raise NoConfiguration(
            f"version: must be {VERSION}, not {shown(tree['version'])}", document.mark(("version",))
        )
    _check_kind(document, "storage", "storage driver")
    _check_kind(document, "auth", "login")
    _check_one_login(document)
    work = Work(document)
    for part in (_log, _storage, _auth, _listening, _http, _tls, _lists, _validation):
        part(work)
    for path, text in NEEDLESS.items():
        work.remark("not needed", path, text)
    for path, text in LEFT_OUT.items():
        work.remark("left out", path, text)
    return work.finish()


def _check_kind(document: Document, part: str, kind: str) -> None:
    """Raises NoConfiguration where it neither is the name of one nor maps that to its parameters."""
    value = document.tree.get(part) if isinstance(document.tree, dict) else None
    if value is not None and not isinstance(value, str | dict):
        message = f"{part}: must be the name of a {kind}, or a mapping with it as its key, not {shown(value)}"
        raise NoConfiguration(message, document.mark((part,)))


def _check_one_login(document: Document) -> None:
    """Raises NoConfiguration where there are several, of which that program would take none."""
    auth = document.tree.get("auth") if isinstance(document.tree, dict) else None
    if isinstance(auth, dict) and len(auth) > 1:
        names = " and ".join(map(str, auth))
        message = f"auth: must have one login, not {names}: leave the one that was in use"
        raise NoConfiguration(message, document.mark(("auth", list(auth)[1])))


def _log(work: Work) -> None:
    for path in ("log.level", "loglevel"):
        level = work.take(path)
        if level is not None and not work.has("log.level"):
            word = str(level).lower()
            work.set("log.level", "warning" if word == "warn" else word, path)
    formatter = work.take("log.formatter")
    if formatter is not None:
        words = {"text": "human", "json": "json", "logstash": "json"}
        work.set("log.format", words.get(str(formatter), formatter), "log.formatter")
        if formatter == "logstash":
            work.remark("changed", "log.formatter", "lines are JSON, with names of our own")
    if work.flag("log.accesslog.disabled"):
        work.set("log.requests", value=False, path="log.accesslog.disabled")


def _storage(work: Work) -> None:
    storage = work.peek("storage")
    if isinstance(storage, str):
        work.take("storage")
    drivers = (
        [storage]
        if isinstance(storage, str)
        else [key for key in storage or {} if key not in _NOT_OF_DRIVERS]
    )
    for driver in drivers:
        if driver != "filesystem":
            work.remark("left out", "storage" if storage == driver else f"storage.{driver}", OTHER_STORAGE)
    root = work.take("storage.filesystem.rootdirectory")
    if "filesystem" in drivers:
        work.set("storage.path", root or "/var/lib/registry", "storage.filesystem.rootdirectory")
        # That program may go on to write there, beside which nothing may be collected.
        work.set("gc.schedule", OFF, "storage.filesystem")
        work.say(
            "gc.schedule is off, as that registry collects no garbage by itself: where it no longer runs, remove the"
            " setting, and garbage is collected every night"
        )
    if work.flag("storage.delete.enabled"):
        work.set("manifests.allow_tag_deletion", value=True, path="storage.delete.enabled")
    else:
        work.set("deletion", value=False, path="storage.delete.enabled")
    if work.flag("storage.maintenance.readonly.enabled"):
        work.set("read_only", value=True, path="storage.maintenance.readonly.enabled")
    _purging(work)


def _purging(work: Work) -> None:
    section = "storage.maintenance.uploadpurging"
    age = work.seconds(f"{section}.age")
    dry = work.flag(f"{section}.dryrun")
    if dry or not work.flag(f"{section}.enabled", default=True):
        work.set("uploads.timeout", YEAR, section)
        name = "dryrun" if dry else "enabled"
        work.remark("changed", f"{section}.{name}", "sessions that have not grown for 365 days are removed")
        return
    work.set("uploads.timeout", _WEEK if age is None else min(max(age, 1.0), YEAR), f"{section}.age")
    work.remark("changed", f"{section}.age", "counts from when the session last grew, not from its start")


def _auth(work: Work) -> None:
    auth = work.peek("auth")
    if isinstance(auth, str):
        work.take("auth")
    for scheme in _schemes(auth):
        if scheme == "htpasswd":
            work.set("auth.htpasswd", work.take("auth.htpasswd.path"), "auth.htpasswd.path")
            work.remark("changed", "auth.htpasswd.realm", "clients are told the realm cargohold")
        elif scheme == "token":
            _token(work)
        elif scheme != "silly":
            path = "auth" if auth == scheme else f"auth.{scheme}"
            work.remark("left out", path, "is no login of ours")
    if _schemes(auth) and not (work.has("auth.htpasswd") or work.has("auth.bearer.issuer")):
        work.set("auth.required", value=True, path="auth")
        work.remark(
            "changed", "auth", "no login could be carried over: only access tokens are let in (auth.required)"
        )


def _schemes(auth: object) -> list[str]:
    """The login that is asked for, if any; `none` is none."""
    names = [auth] if isinstance(auth, str) else [*map(str, auth)] if isinstance(auth, dict) else []
    return [name for name in names if name.lower() != "none"]


def _token(work: Work) -> None:
    for name in ("issuer", "service"):
        work.set(f"auth.bearer.{name}", work.take(f"auth.token.{name}"), f"auth.token.{name}")
    _token_keys(work)
    needed = work.has("auth.bearer.issuer") and work.has("auth.bearer.service")
    if not needed or not (work.has("auth.bearer.key") or work.has("auth.bearer.jwks")):
        work.drop("auth.bearer")
        work.remark(
            "left out",
            "auth.token",
            "issuer, service and rootcertbundle or jwks are needed",
        )
        return
    if work.flag("auth.token.autoredirect"):
        work.remark(
            "left out", "auth.token.autoredirect", "write the address of the service in auth.bearer.realm"
        )
        work.remark("left out", "auth.token.autoredirectpath", "it goes into auth.bearer.realm")
        work.take("auth.token.realm")
    elif (realm := work.take("auth.token.realm")) is not None:
        work.set("auth.bearer.realm", realm, "auth.token.realm")
    algorithms = work.take("auth.token.signingalgorithms")
    if isinstance(algorithms, list) and algorithms:
        kept = [name for name in algorithms if name in ALGORITHMS_THERE]
        work.set("auth.bearer.algorithms", kept, "auth.token.signingalgorithms")
        for name in algorithms:
            if name not in kept:
                work.remark(
                    "left out", "auth.token.signingalgorithms", f"{name} is not accepted: sign by another"
                )


def _token_keys(work: Work) -> None:
    jwks, bundle = work.take("auth.token.jwks"), work.take("auth.token.rootcertbundle")
    if jwks:
        work.set("auth.bearer.jwks", jwks, "auth.token.jwks")
        if bundle:
            text = "the keys of auth.token.jwks alone verify tokens: add those of the bundle to it"
            work.remark("left out", "auth.token.rootcertbundle", text)
    elif bundle:
        work.set("auth.bearer.key", bundle, "auth.token.rootcertbundle")
        work.remark(
            "changed",
            "auth.token.rootcertbundle",
            "tokens must be signed by a key of the bundle itself: certificates in the token's x5c are not followed",
        )


def _listening(work: Work) -> None:
    address, net = work.take("http.addr"), work.take("http.net") or "tcp"
    if address is None:
        work.say("http.addr is not written: host and port are the defaults of cargohold, 127.0.0.1 and 5000")
        return
    if net == "unix":
        work.set("socket", address, "http.addr")
        return
    if net != "tcp":
        work.remark("left out", "http.net", "must be tcp or unix")
    match = _ADDRESS.fullmatch(str(address))
    if match is None:
        work.remark("left out", "http.addr", f"must be a host and the number of a port, not {shown(address)}")
        return
    host = match[1] or match[2]
    if not host:
        work.remark("changed", "http.addr", "every IPv4 address is listened on; for IPv6 write host: '::'")
    work.set("host", host or "0.0.0.0", "http.addr")  # noqa: S104 - as it was
    work.set("port", int(match[3]), "http.addr")
    if not _schemes(work.peek("auth")) and (host or "") not in ("localhost", "127.0.0.1", "::1"):
        work.set("auth.open_to_everyone", value=True, path="http.addr")
        text = (
            "no login is configured: everyone who reaches the registry may pull, push and delete, as before"
        )
        work.remark("changed", "http.addr", text)


def _http(work: Work) -> None:
    prefix = work.take("http.prefix")
    if prefix:
        work.set("prefix", str(prefix).rstrip("/"), "http.prefix")
    host = work.take("http.host")
    if host:
        scheme, _, rest = str(host).partition("://")
        authority, _, path = rest.partition("/")
        work.set("server.public_url", f"{scheme}://{authority}", "http.host")
        if path.strip("/") != str(prefix or "").strip("/"):
            work.remark(
                "changed", "http.host", f"/{path} is left away: the setting prefix stands before every path"
            )
    drain = work.seconds("http.draintimeout")
    if drain:
        work.set("server.stop_timeout", drain, "http.draintimeout")
    _headers(work)
    if work.flag("http.h2c.enabled") or not work.flag("http.http2.disabled", default=True):
        work.set("http2", value=True, path="http.http2")
    path = work.take("http.debug.prometheus.path")
    if path not in (None, "/metrics"):
        work.remark("changed", "http.debug.prometheus.path", "metrics are at /metrics")
    if work.flag("http.debug.prometheus.enabled"):
        text = "metrics are for whoever is logged in, where a login is asked for: metrics.access may say otherwise"
        work.remark("changed", "http.debug.prometheus.enabled", text)


def _headers(work: Work) -> None:
    kept: dict[str, str] = {}
    headers = work.take("http.headers")
    for name, values in (headers if isinstance(headers, dict) else {}).items():
        text = ", ".join(map(str, values)) if isinstance(values, list) else str(values)
        if work.set("http.headers", {name: text}, f"http.headers.{name}"):
            kept[name] = text
    if kept:
        work.set("http.headers", kept, "http.headers")


def _tls(work: Work) -> None:
    tls = "http.tls"
    for name in ("certificate", "key"):
        if path := work.take(f"{tls}.{name}"):
            work.set(f"tls.{name}", path, f"{tls}.{name}")
    lowest = work.take(f"{tls}.minimumtls")
    if lowest is not None:
        work.set("tls.minimum", "1.3" if lowest == "tls1.3" else "1.2", f"{tls}.minimumtls")
        if lowest not in ("tls1.2", "tls1.3"):
            work.remark("changed", f"{tls}.minimumtls", "nothing older than TLS 1.2 is spoken")
    authorities = work.take(f"{tls}.clientcas")
    mode = work.take(f"{tls}.clientauth")
    if not isinstance(authorities, list) or not authorities:
        return
    if len(authorities) > 1:
        work.remark(
            "changed",
            f"{tls}.clientcas",
            "put all of them into one file: the first is named in tls.client_ca",
        )
    work.set("tls.client_ca", authorities[0], f"{tls}.clientcas")
    if mode == "verify-client-cert-if-given":
        work.set("tls.client_certificates", "request", f"{tls}.clientauth")
    elif mode not in (None, "require-and-verify-client-cert"):
        text = "certificates that nobody verifies prove nothing: clients must have one that tls.client_ca has signed"
        work.remark("changed", f"{tls}.clientauth", text)


def _lists(work: Work) -> None:
    given = {path: work.take(path) for path in ("catalog.maxentries", "tags.maxtags")}
    most = {path: value for path, value in given.items() if type(value) is int and value > 0}
    if not most:
        return
    largest = max(most.get(path, _MOST_ENTRIES) for path in given)
    work.set("lists.max_page", largest, next(iter(most)))
    for path, value in most.items():
        if value != largest:
            text = f"there is one limit for the catalog and for tags, lists.max_page, which is {largest}"
            work.remark("changed", path, text)


def _validation(work: Work) -> None:
    platforms = str(work.take("validation.manifests.indexes.platforms") or "all").lower()
    enabled = work.flag("validation.enabled")
    path = "validation.manifests.indexes.platforms"
    if work.flag("validation.disabled") and not enabled:
        path, platforms = "validation.disabled", "none"
    if platforms == "none":
        work.set("manifests.allow_sparse", value=True, path=path)
        work.remark("changed", path, "with manifests.allow_sparse images may lack blobs too")
    elif platforms != "all":
        work.remark(
            "left out",
            path,
            "an index needs all of its manifests, or none where manifests.allow_sparse is set",
        )
