"""Id tokens in the place of passwords: a CI job proves itself by what its own system says of it (OpenID Connect).

What a job may do follows from the claims of its token, by rules of the configuration. So no secret is stored anywhere.
"""

from __future__ import annotations

import hashlib
import json
import logging
import math
import re
import time
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

import msgspec

from cargohold.auth.grants import Grant, Grants
from cargohold.auth.jwks import ALGORITHMS, KeySource
from cargohold.auth.jwt import Verifier, read_token, subject_of
from cargohold.auth.protocols import Proved, Subject, Unproved
from cargohold.types.errors import NameInvalid
from cargohold.types.names import RepositoryName
from cargohold.types.operations import Permission
from cargohold.types.patterns import compile_claim_pattern

if TYPE_CHECKING:
    from collections.abc import Callable

    from cargohold.auth.identity import Authority

LEEWAY = 30.0
"""How many seconds the clock of an issuer may be apart from ours."""
QUIET_SECONDS = 10.0
"""For how long the log does not say the same again: who knows the name of an issuer can have any number refused."""

_TYPES = ("jwt",)
_PLACEHOLDER = re.compile(r"\{([A-Za-z0-9_.-]+)\}")

_log = logging.getLogger(__name__)


class ClaimRule(msgspec.Struct, frozen=True):
    """What the bearer of a token may do whose claims match all the patterns (see `patterns.compile_claim_pattern`).

    A claim within another is named by its path, `a.b`. A number or boolean matches as JSON writes it, a list where one
    of its members does. In `repository`, a pattern of repositories, `{claim}` stands for the claim's value in lower
    case, which must be the name of a repository or a segment of one; there may be a slash in it only where `claims` has
    a pattern for that claim, so that it was foreseen.
    """

    claims: Mapping[str, str]
    repository: str
    permissions: frozenset[Permission]


class Trust(msgspec.Struct, frozen=True):
    """An issuer that is trusted, where its keys are, and what it is trusted to say."""

    issuer: str
    audience: str
    keys: KeySource
    rules: Sequence[ClaimRule]


class IdTokens:
    """`Passwords` that are id tokens of trusted issuers, whatever the name that they come with.

    The subject is a `workload`, whose key is its grants and whose stamp is that of the trust: what was issued to it
    ends when the issuer, its audience or one of its rules is changed. Raises ValueError where an issuer is there twice,
    or a pattern is none.
    """

    guessable = False

    def __init__(self, trusts: Sequence[Trust], *, clock: Callable[[], float] = time.time) -> None:
        self._refusals = _Refusals(clock)
        self._trusts = {trust.issuer: _Trusted(trust, clock, self._refusals) for trust in trusts}
        if len(self._trusts) != len(trusts):
            raise ValueError("an issuer of id tokens is there twice: put its rules together")
        self._stamps = frozenset(trusted.stamp for trusted in self._trusts.values())

    async def prove(self, name: str, password: str) -> Proved | None:  # noqa: ARG002 - any name will do
        """See `Passwords`."""
        try:
            token = read_token(password)
        except Unproved:
            return None
        trusted = self._trusts.get(token.issuer) if isinstance(token.issuer, str) else None
        if trusted is None:
            return None
        try:
            until = await trusted.verifier.verify(token)
            return trusted.proved(token.claims, until)
        except Unproved as error:
            self._refusals.tell(f"an id token of {token.issuer} was refused: {error}")
            raise

    def authority(self, subject: Subject) -> Authority | None:
        """See `Passwords`."""
        if subject.kind != "workload" or subject.stamp not in self._stamps:
            return None
        try:
            return Grants.from_text(subject.key)
        except ValueError:
            return None

    def version(self) -> int:
        """See `Passwords`."""
        return sum(trusted.verifier.keys.version() for trusted in self._trusts.values())


class _Refusals:
    """What the log is told of refusals: the same once in QUIET_SECONDS, and how many there were besides.

    There are as many texts as the settings and the reasons of a refusal make, and nothing of a token is in them.
    """

    def __init__(self, clock: Callable[[], float]) -> None:
        self._clock = clock
        self._told: dict[str, tuple[float, int]] = {}

    def tell(self, text: str) -> None:
        now = self._clock()
        told, left_out = self._told.get(text, (-math.inf, 0))
        if told <= now < told + QUIET_SECONDS:
            self._told[text] = told, left_out + 1
            return
        self._told[text] = now, 0
        _log.info("%s%s", text, f" (and {left_out} more since this was last said)" if left_out else "")


class _Trusted:
    """A trust, compiled."""

    def __init__(self, trust: Trust, clock: Callable[[], float], refusals: _Refusals) -> None:
        self.verifier = Verifier(
            trust.keys,
            issuer=trust.issuer,
            audience=trust.audience,
            algorithms=ALGORITHMS,
            types=_TYPES,
            leeway=LEEWAY,
            clock=clock,
        )
        self.stamp = _stamp(trust)
        self._rules = [_Rule(rule, refusals) for rule in trust.rules]

    def proved(self, claims: dict[str, Any], until: float) -> Proved:
        """Who bears a verified token with these claims. Raises Unproved where no rule gives them anything."""
        if "access" in claims:
            raise Unproved("it is a token for a registry, and no id token")
        name = subject_of(claims)
        if not name:
            raise Unproved("it has no sub")
        found = (rule.grant(claims) for rule in self._rules)
        grants = Grants(tuple(dict.fromkeys(grant for grant in found if grant is not None)))
        if not grants.grants:
            raise Unproved("no rule gives anything to the bearer of its claims")
        return Proved(Subject("workload", name, grants.as_text(), self.stamp), grants, until)


def _stamp(trust: Trust) -> str:
    rules = [
        (sorted(rule.claims.items()), rule.repository, sorted(each.value for each in rule.permissions))
        for rule in trust.rules
    ]
    written = msgspec.json.encode((trust.issuer, trust.audience, rules))
    return hashlib.sha256(written).hexdigest()[:32]


class _Rule:
    """A rule, compiled. Raises ValueError where one of its patterns is none."""

    def __init__(self, rule: ClaimRule, refusals: _Refusals) -> None:
        if not rule.claims:
            raise ValueError("a rule names no claims: it would let in everybody whom the issuer knows")
        self._matches = {path: compile_claim_pattern(pattern) for path, pattern in rule.claims.items()}
        self._rule = rule
        self._refusals = refusals
        Grant(_PLACEHOLDER.sub("x", rule.repository), rule.permissions)

    def grant(self, claims: dict[str, Any]) -> Grant | None:
        """What the rule gives; None where a claim does not match, or has no place in the name of a repository."""
        for path, matches in self._matches.items():
            if not any(map(matches, _texts(_find(claims, path)))):
                return None
        try:
            pattern = _PLACEHOLDER.sub(lambda found: self._segment(claims, found[1]), self._rule.repository)
        except NameInvalid as error:
            self._refusals.tell(f"a rule for {self._rule.repository} gives nothing to an id token: {error}")
            return None
        return Grant(pattern, self._rule.permissions)

    def _segment(self, claims: dict[str, Any], path: str) -> str:
        """The value of a claim as a part of the name of a repository. Raises NameInvalid."""
        value = _find(claims, path)
        # Letters beyond ASCII, of which some become others when they are lowered, are in no such name.
        if isinstance(value, bool) or not isinstance(value, str | int) or not str(value).isascii():
            raise NameInvalid(f"its claim {path} is missing, or cannot be a part of a repository's name")
        text = str(value).lower()
        if "/" in text and path not in self._matches:
            raise NameInvalid(f"its claim {path} has a slash, and the rule's claims have no pattern for it")
        return RepositoryName(text)


def _find(claims: dict[str, Any], path: str) -> object:
    """The claim at a path; None where there is none. A name that has dots itself goes before a path."""
    if path in claims:
        return claims[path]
    for dot in re.finditer(r"\.", path):
        inner = claims.get(path[: dot.start()])
        if isinstance(inner, dict) and (found := _find(inner, path[dot.end() :])) is not None:
            return found
    return None


def _texts(value: object) -> list[str]:
    """What a pattern may match of a claim's value."""
    match value:
        case str():
            return [value]
        case bool() | int() | float():
            return [json.dumps(value)]
        case list():
            return [text for member in value if not isinstance(member, list) for text in _texts(member)]
    return []
