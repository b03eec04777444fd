"""What settings ask of each other. Each check gives a line for what is wrong, and what to write instead."""

from __future__ import annotations

import ipaddress
from operator import attrgetter
from typing import TYPE_CHECKING, Final
from urllib.parse import urlsplit

from cargohold.config.places import Fault

if TYPE_CHECKING:
    from collections.abc import Iterator

    from cargohold.config.settings import Settings


IN_THE_CLEAR: Final = (
    "passwords and tokens cross the network in the clear: set tls.certificate and tls.key, or name the proxy that does"
    " TLS in server.trusted_proxies"
)
"""What is warned of where `sends_passwords_in_the_clear`."""

_KEYS: Final = ("auth.bearer.key", "auth.bearer.jwks", "auth.bearer.jwks_url")
_LOGINS: Final = (
    "auth.htpasswd",
    "auth.required",
    "auth.rules",
    "auth.administrators",
    "auth.oidc",
    *_KEYS,
)


def check(settings: Settings) -> list[Fault]:
    """What is wrong with settings each of which is right by itself."""
    return [
        *_of_listening(settings),
        *_of_proxies(settings),
        *_of_nothing(settings),
        *_of_rules(settings),
        *_of_tokens(settings),
        *_of_tls(settings),
        *_of_tracing(settings),
        *_of_keeping(settings),
    ]


def asks_for_login(settings: Settings) -> bool:
    """Whether anybody has to say who they are."""
    return any(attrgetter(path)(settings) for path in _LOGINS)


def has_keys(settings: Settings) -> bool:
    """Whether the tokens of another token service are accepted."""
    return any(attrgetter(path)(settings) for path in _KEYS)


def anonymous_may_something(settings: Settings) -> bool:
    """Whether there is anything to be had without a login, on a registry that asks for one."""
    return any("anonymous" in rule.users and rule.actions for rule in settings.auth.rules)


def sends_passwords_in_the_clear(settings: Settings) -> bool:
    """Whether logins cross a network that others may read: no TLS of our own, and none of a proxy that we know of."""
    secured = settings.tls.certificate or settings.socket or settings.server.trusted_proxies
    url = urlsplit(settings.server.public_url or "")
    told_so = url.scheme == "http" and not _is_loopback(url.hostname or "")
    return asks_for_login(settings) and (told_so or (not secured and not _is_loopback(settings.host)))


def _of_listening(settings: Settings) -> Iterator[Fault]:
    if settings.socket or settings.auth.open_to_everyone or asks_for_login(settings):
        return
    if not _is_loopback(settings.host):
        yield Fault(
            "host",
            f"{settings.host} can be reached from other machines, and no login is configured: name the users with"
            " auth.htpasswd, or set auth.open_to_everyone to true if everyone who reaches the registry may pull, push"
            " and delete",
            needs=("socket", "auth.open_to_everyone", *_LOGINS),
        )


def _of_proxies(settings: Settings) -> Iterator[Fault]:
    if settings.server.accel_redirect and not settings.server.trusted_proxies:
        yield Fault(
            "server.accel_redirect",
            "means nothing where no proxy is trusted to send the files: name nginx's address in server.trusted_proxies",
            needs=("server.trusted_proxies",),
        )


def _is_loopback(host: str) -> bool:
    try:
        return ipaddress.ip_address(host.partition("%")[0]).is_loopback
    except ValueError:  # a name
        return host == "localhost"


def _of_nothing(settings: Settings) -> Iterator[Fault]:
    auth = settings.auth
    if not asks_for_login(settings):
        for name, given in (
            ("default", auth.default is not None),
            ("groups", auth.groups),
            ("challenge", auth.challenge != "auto"),
        ):
            if given:
                yield Fault(
                    f"auth.{name}",
                    "means nothing where no login is configured and everyone may do everything: name the users with"
                    " auth.htpasswd, or set auth.required to true",
                    needs=_LOGINS,
                )


def _of_rules(settings: Settings) -> Iterator[Fault]:
    auth = settings.auth
    for word in ("*", "anonymous"):
        lists = [("auth.groups", f"{group}: ", (group,), users) for group, users in auth.groups.items()]
        for setting, named, within, users in [*lists, ("auth.administrators", "", (), auth.administrators)]:
            if word in users:
                yield Fault(
                    setting,
                    f"{named}{word} is no user's name: it may stand among the users of a rule alone",
                    within=(*within, users.index(word)),
                )
    for number, rule in enumerate(auth.rules):
        for group in rule.groups:
            if group not in auth.groups:
                message = f"entry {number + 1}: auth.groups has no group {group!r}"
                yield Fault("auth.rules", message, within=(number,), needs=("auth.groups",))
    if auth.challenge == "basic" and anonymous_may_something(settings):
        yield Fault(
            "auth.challenge",
            "must be bearer or auto where a rule allows anonymous anything: clients that are asked for a password"
            " never try without one",
        )
    if auth.open_to_everyone and asks_for_login(settings):
        yield Fault(
            "auth.open_to_everyone", "must be false where a login is configured: it is not open to everyone"
        )


def _of_tokens(settings: Settings) -> Iterator[Fault]:
    bearer = settings.auth.bearer
    given = [name for name in ("key", "jwks", "jwks_url") if getattr(bearer, name)]
    keys = tuple(f"auth.bearer.{name}" for name in given)
    if len(given) > 1:
        yield Fault("auth.bearer", f"write one of {' and '.join(given)}, not {len(given)}", keys)
    if given and not (bearer.issuer and bearer.service):
        yield Fault(
            "auth.bearer",
            "issuer and service must both be written: tokens for others would be accepted",
            ("auth.bearer.issuer", "auth.bearer.service", *keys),
        )
    if not given and (bearer.realm or bearer.issuer or bearer.service):
        yield Fault(
            "auth.bearer",
            "key, jwks or jwks_url must say how its tokens are verified",
            ("auth.bearer.realm", "auth.bearer.issuer", "auth.bearer.service"),
            needs=_KEYS,
        )
    issuers = [trusted.issuer for trusted in settings.auth.oidc]
    for issuer in sorted({issuer for issuer in issuers if issuers.count(issuer) > 1}):
        second = issuers.index(issuer, issuers.index(issuer) + 1)
        yield Fault("auth.oidc", f"{issuer} is there twice: put its rules together", within=(second,))
    if settings.auth.challenge == "basic" and bearer.realm:
        yield Fault("auth.challenge", "must be bearer or auto where auth.bearer.realm names a token service")


def _of_tls(settings: Settings) -> Iterator[Fault]:
    tls = settings.tls
    if bool(tls.certificate) != bool(tls.key):
        missing, other = ("tls.key", "tls.certificate") if tls.certificate else ("tls.certificate", "tls.key")
        yield Fault(missing, "must be written too: a certificate and its key belong together", (other,))
    if tls.certificate and (settings.server.public_url or "").startswith("http:"):
        yield Fault(
            "server.public_url",
            "must begin with https: where TLS is spoken: passwords would go to it in the clear",
        )
    if not tls.certificate:
        for name in ("client_ca", "redirect_port"):
            if getattr(tls, name) is not None:
                yield Fault(f"tls.{name}", "needs tls.certificate and tls.key", needs=("tls.certificate",))
    if settings.socket and (tls.certificate or tls.redirect_port is not None):
        yield Fault(
            "tls.certificate",
            "must be left out where socket is set: TLS is not spoken on Unix sockets",
            ("tls.redirect_port", "socket"),
        )
    if tls.redirect_port and tls.redirect_port == settings.port:
        message = f"must be another port than {settings.port}, where HTTPS is spoken"
        yield Fault("tls.redirect_port", message, needs=("port",))


def _of_tracing(settings: Settings) -> Iterator[Fault]:
    if settings.tracing.endpoint and not _is_installed(
        "opentelemetry.sdk", "opentelemetry.exporter.otlp.proto.http"
    ):
        yield Fault(
            "tracing.endpoint",
            "needs what is not installed: run pip install 'cargohold[tracing]', or leave it out",
        )


def _of_keeping(settings: Settings) -> Iterator[Fault]:
    rules = [rule.repository for rule in settings.retention]
    for number, repository in enumerate(rules):
        for earlier in ("**", repository):
            if earlier in rules[:number]:
                message = (
                    f"entry {number + 1}: it never decides, as entry {rules.index(earlier) + 1} names the same"
                    " repositories: put it before that one, or leave it out"
                )
                yield Fault("retention", message, within=(number, "repository"))
                break
    quotas = [(quota.repository, quota.each) for quota in settings.quotas]
    for number, quota in enumerate(quotas):
        if quota in quotas[:number]:
            message = f"entry {number + 1}: {quota[0]} is there twice: keep the smaller"
            yield Fault("quotas", message, within=(number, "repository"))


def _is_installed(*modules: str) -> bool:
    import importlib.util  # noqa: PLC0415 - only where it is asked

    try:
        return all(importlib.util.find_spec(module) is not None for module in modules)
    except ModuleNotFoundError:  # what holds the module
        return False
