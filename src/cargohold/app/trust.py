"""Those outside who are trusted to say who somebody is: another token service, and the issuers of id tokens."""

from __future__ import annotations

from typing import TYPE_CHECKING

from cargohold.app.logins import permissions
from cargohold.auth.bearer import ForeignTokens
from cargohold.auth.key_files import JwksFile, PemKeys
from cargohold.auth.oidc import ClaimRule, IdTokens, Trust

if TYPE_CHECKING:
    from collections.abc import Iterable

    from cargohold.auth.jwks import KeySource
    from cargohold.config import Settings


def id_tokens(settings: Settings) -> IdTokens:
    """What knows the id tokens of the issuers that are trusted."""
    return IdTokens(list(_trusts(settings)))


def _keys_at(url: str) -> KeySource:
    from cargohold.auth.published_keys import JwksUrl  # noqa: PLC0415 - it brings an HTTP client in

    return JwksUrl(url)


def _keys_of(issuer: str) -> KeySource:
    from cargohold.auth.published_keys import DiscoveredKeys  # noqa: PLC0415 - it brings an HTTP client in

    return DiscoveredKeys(issuer)


def _trusts(settings: Settings) -> Iterable[Trust]:
    for trusted in settings.auth.oidc:
        keys = _keys_at(trusted.jwks_url) if trusted.jwks_url else _keys_of(trusted.issuer)
        rules = [ClaimRule(rule.claims, rule.repository, permissions(rule.actions)) for rule in trusted.rules]
        yield Trust(trusted.issuer, trusted.audience, keys, rules)


def foreign_tokens(settings: Settings, *, later: bool) -> ForeignTokens:
    """What verifies the tokens of another token service; for `later` see `auth.key_files.KeyFile`."""
    bearer = settings.auth.bearer
    keys: KeySource
    if bearer.key:
        keys = PemKeys(bearer.key, later=later)
    elif bearer.jwks:
        keys = JwksFile(bearer.jwks, later=later)
    else:
        keys = _keys_at(str(bearer.jwks_url))
    return ForeignTokens(
        keys,
        issuer=bearer.issuer,
        audience=bearer.service,
        algorithms=bearer.algorithms,
        leeway=bearer.leeway,
    )
