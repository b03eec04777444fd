"""Kinds of the settings that say who may do what, and how they come in: rules, issuers, networks, rates."""

import ipaddress
import re
from collections.abc import Iterator
from typing import Literal, get_args
from urllib.parse import urlsplit

import msgspec

from cargohold.config.kinds import (
    TEXT,
    TEXT_OR_NOTHING,
    TEXTS,
    Kind,
    Misfit,
    decoded,
    refuse,
    shown,
    whole,
    write_json,
)
from cargohold.config.records import mapping, records, tried
from cargohold.types.names import check_user_name

Action = Literal["pull", "push", "delete", "catalog"]

_ALGORITHMS = (
    "RS256",
    "RS384",
    "RS512",
    "PS256",
    "PS384",
    "PS512",
    "ES256",
    "ES384",
    "EdDSA",
)
_SEGMENT = re.compile(r"\*\*|[a-z0-9._*-]+")
_RATE = re.compile(r"([0-9]{1,9}) ?(?:/|per) ?([0-9]{0,6}) ?(second|minute|hour|day)s?")
_LOOPBACK = frozenset({"localhost", "127.0.0.1", "::1"})


class Rule(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """What some users may do in some repositories; see `auth.rules.Rules`."""

    actions: tuple[Action, ...]
    repository: str = "**"
    users: tuple[str, ...] = ()
    groups: tuple[str, ...] = ()


class ClaimRule(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """What the bearer of an id token may do whose claims all match; patterns as those of repositories.

    In `repository`, `{claim}` stands for what the token's claim says.
    """

    claims: dict[str, str]
    repository: str
    actions: tuple[Action, ...]


class TrustedIssuer(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """An issuer of id tokens; without `jwks_url` its keys are found by OpenID Connect Discovery."""

    issuer: str
    audience: str
    rules: tuple[ClaimRule, ...]
    jwks_url: str | None = None


def check_pattern(pattern: str) -> None:
    """Raises Misfit where it is no pattern of repositories (see `types.patterns`)."""
    if not pattern or not all(
        _SEGMENT.fullmatch(part) and ("**" not in part or part == "**") for part in pattern.split("/")
    ):
        raise Misfit(
            f"{shown(pattern)} is no pattern of repositories: write segments such as team/*/app or team/**"
        )


def _faults_of_rule(rule: Rule) -> Iterator[Misfit]:
    yield from tried(check_pattern, rule.repository, "repository")
    if not rule.users and not rule.groups:
        yield Misfit('it names nobody: write users, such as ["*"] or ["anonymous"], or groups')
    for field, names in (("users", rule.users), ("groups", rule.groups)):
        for number, name in enumerate(names):
            yield from tried(_check_name, name, field, number)
    if "catalog" in rule.actions and rule.repository != "**":
        text = "the catalog is of no repository: leave out the repository where an action is catalog"
        yield Misfit(text, within=("actions",))


def _faults_of_issuer(issuer: TrustedIssuer) -> Iterator[Misfit]:
    for field, address in (("issuer", issuer.issuer), ("jwks_url", issuer.jwks_url)):
        try:
            _read_key_url(address)
        except Misfit as misfit:
            yield Misfit(f"{field} {KEY_URL.complaint(address, misfit)}", within=(field,))
    if not issuer.issuer:
        yield Misfit("the issuer is empty: write what the id tokens name as iss", within=("issuer",))
    if not issuer.audience:
        yield Misfit("the audience is empty: write what the id tokens name as aud", within=("audience",))
    for number, rule in enumerate(issuer.rules):
        if not rule.claims:
            text = "a rule names no claims: it would let in everybody whom the issuer knows"
            yield Misfit(text, within=("rules", number))
        pattern = re.sub(r"\{[A-Za-z0-9_.-]+\}", "x", rule.repository)
        yield from tried(check_pattern, pattern, "rules", number, "repository")


def check_url(text: str) -> None:
    """Raises Misfit where it is no address of a web server."""
    try:
        parts = urlsplit(text)
        _ = parts.port
    except ValueError:
        raise Misfit from None
    if (
        parts.scheme not in ("http", "https")
        or not parts.hostname
        or parts.query
        or parts.fragment
        or parts.username
    ):
        raise Misfit


def _read_url(value: object) -> str | None:
    if value is None or value == "":
        return None
    if (
        not isinstance(value, str)
        or not value.isascii()
        or not value.isprintable()
        or '"' in value
        or " " in value
    ):
        raise Misfit
    check_url(value)
    return value.rstrip("/")


def _read_public_url(value: object) -> str | None:
    url = _read_url(value)
    if url is not None and urlsplit(url).path:
        raise Misfit("a path is no part of it: the setting prefix says what stands before every path")
    return url


def _read_key_url(value: object) -> str | None:
    url = _read_url(value)
    if url is not None and urlsplit(url).scheme == "http" and urlsplit(url).hostname not in _LOOPBACK:
        raise Misfit("what crosses a network over plain HTTP could be anybody's: write https://")
    return url


def _strings(value: object) -> tuple[str, ...]:
    given = decoded(value)
    if not isinstance(given, list | tuple) or not all(isinstance(each, str) for each in given):
        raise Misfit
    return tuple(given)


def _check_names(names: tuple[str, ...]) -> None:
    refuse(misfit for number, name in enumerate(names) for misfit in tried(_check_name, name, number))


def _check_name(name: str) -> None:
    try:
        check_user_name(name)
    except ValueError as error:
        raise Misfit(f"{shown(name)} is no name: {error}") from None


def _read_names(value: object) -> tuple[str, ...]:
    names = _strings(value)
    _check_names(names)
    return names


def _read_groups(value: object) -> dict[str, tuple[str, ...]]:
    given = decoded(value)
    if not isinstance(given, dict):
        raise Misfit
    refuse(misfit for name, users in given.items() for misfit in _misfits_of_group(name, users))
    return {name: tuple(users) for name, users in given.items()}


def _misfits_of_group(name: object, users: object) -> Iterator[Misfit]:
    if not isinstance(name, str):
        yield Misfit(f"{shown(name)} is no name of a group: write one such as team", within=(name,))
        return
    yield from tried(_check_name, name, name)
    if not isinstance(users, list | tuple) or not all(isinstance(user, str) for user in users):
        yield Misfit(f"group {name}: must be {USERS.form}, not {shown(users)}", within=(name,))
        return
    for number, user in enumerate(users):
        for misfit in tried(_check_name, user, name, number):
            yield Misfit(f"group {name}: {misfit}", within=misfit.within)


def _read_actions(value: object) -> tuple[str, ...] | None:
    if value is None or value == "":
        return None
    actions = _strings(value)
    if not set(actions) <= set(get_args(Action)):
        raise Misfit
    return actions


def _read_algorithms(value: object) -> tuple[str, ...]:
    names = _strings(value)
    if not names or not set(names) <= set(_ALGORITHMS):
        raise Misfit
    return names


def _read_networks(value: object) -> tuple[str, ...]:
    networks = _strings(value)
    _check_networks(networks)
    return networks


def _check_networks(networks: tuple[str, ...], *other_words: str) -> None:
    refuse(
        misfit
        for number, network in enumerate(networks)
        if network not in other_words
        for misfit in tried(_check_network, network, number)
    )


def _check_network(network: str) -> None:
    try:
        ipaddress.ip_network(network)
    except ValueError as error:
        raise Misfit(f"{error}: write one such as 10.0.0.0/8 or ::1") from None


def _read_proxies(value: object) -> tuple[str, ...]:
    proxies = _strings(value)
    _check_networks(proxies, "unix")
    return proxies


def _read_rate(value: object) -> str | None:
    if value is None or value == "":
        return None
    match = _RATE.fullmatch(value.lower()) if isinstance(value, str) else None
    if match is None or int(match[1]) == 0 or match[2] == "0":
        raise Misfit
    return f"{int(match[1])}/{match[2]}{match[3]}"


def _read_words(value: object) -> str:
    if (
        not isinstance(value, str)
        or not value.isascii()
        or not value.isprintable()
        or '"' in value
        or "\\" in value
    ):
        raise Misfit
    return value


def _read_optional_path(value: object) -> str | None:
    if value is None or value == "":
        return None
    if not isinstance(value, str) or "\0" in value:
        raise Misfit
    return value


_PORT = whole(0, 65535)


def _read_optional_port(value: object) -> int | None:
    port: int | None = None if value is None or value == "" else _PORT.read(value)
    return port


def _or_nothing(value: object) -> str:
    return "" if value is None else str(value)


_SOME_ACTIONS: dict[str, object] = {"type": "array", "items": {"enum": [*get_args(Action)]}}


PUBLIC_URL = Kind(
    "an address such as https://registry.example.com, or nothing",
    _read_public_url,
    _or_nothing,
    TEXT_OR_NOTHING,
)
KEY_URL = Kind(
    "an https address such as https://login.example.com/jwks, or nothing",
    _read_key_url,
    _or_nothing,
    TEXT_OR_NOTHING,
)
COLLECTOR_URL = Kind(
    "an address such as http://127.0.0.1:4318/v1/traces, or nothing", _read_url, _or_nothing, TEXT_OR_NOTHING
)
OPTIONAL_PATH = Kind("a path, or nothing", _read_optional_path, _or_nothing, TEXT_OR_NOTHING)
OPTIONAL_PORT = Kind(
    "a whole number from 0 to 65535, or nothing",
    _read_optional_port,
    _or_nothing,
    {"anyOf": [_PORT.schema, {"enum": ["", None]}]},
)
WORDS = Kind("a line of ASCII without quotation marks", _read_words, str, TEXT)
USERS = Kind('a list of names such as ["ann", "bob"]', _read_names, write_json, TEXTS)
GROUPS = Kind(
    'a mapping of groups to users such as {"team": ["ann", "bob"]}',
    _read_groups,
    write_json,
    {"type": "object", "additionalProperties": TEXTS},
)
ACTIONS = Kind(
    'a list of pull, push, delete and catalog, such as ["pull"], or nothing',
    _read_actions,
    lambda actions: "" if actions is None else write_json(actions),
    {"anyOf": [_SOME_ACTIONS, {"enum": ["", None]}]},
)
ALGORITHMS = Kind(
    f"a list of some of {', '.join(_ALGORITHMS)}",
    _read_algorithms,
    write_json,
    {"type": "array", "items": {"enum": [*_ALGORITHMS]}, "minItems": 1},
)
NETWORKS = Kind(
    'a list of addresses and networks such as ["10.0.0.0/8", "::1"]', _read_networks, write_json, TEXTS
)
PROXIES = Kind(
    'a list of addresses and networks such as ["10.0.0.0/8", "unix"]', _read_proxies, write_json, TEXTS
)
RATE = Kind(
    "a number of requests such as 600/minute or 100/10seconds, or nothing",
    _read_rate,
    _or_nothing,
    TEXT_OR_NOTHING,
)
RULES = records(
    Rule,
    "a rule",
    '{"repository": "team/**", "users": ["ann"], "groups": [], "actions": ["pull", "push"]}',
    _faults_of_rule,
    mapping(["actions"], actions=_SOME_ACTIONS, repository=TEXT, users=TEXTS, groups=TEXTS),
)
TRUST = records(
    TrustedIssuer,
    "an issuer",
    '{"issuer": "https://ci.example.com", "audience": "registry.example.com", "rules":'
    ' [{"claims": {"repository": "org/*"}, "repository": "org/**", "actions": ["pull", "push"]}]}',
    _faults_of_issuer,
    mapping(
        ["issuer", "audience", "rules"],
        issuer=TEXT,
        audience=TEXT,
        rules={
            "type": "array",
            "items": mapping(
                ["claims", "repository", "actions"],
                claims={"type": "object", "additionalProperties": TEXT},
                repository=TEXT,
                actions=_SOME_ACTIONS,
            ),
        },
        jwks_url=TEXT_OR_NOTHING,
    ),
)
