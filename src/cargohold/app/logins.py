"""Everything that has to do with who asks, put together from the settings of a registry that asks for a login."""

from __future__ import annotations

import time
from contextlib import closing
from typing import TYPE_CHECKING

from cargohold.auth.attempts import FailedLogins
from cargohold.auth.htpasswd import HtpasswdUsers
from cargohold.auth.issuer import Issuer
from cargohold.auth.keys import SigningKeys
from cargohold.auth.login import Login
from cargohold.auth.protocols import Proved
from cargohold.auth.refresh import RefreshTokens
from cargohold.auth.robots import Robots
from cargohold.auth.rules import Rule, Rules
from cargohold.config.checks import anonymous_may_something, has_keys
from cargohold.http.guard import BearerChallenge, Guard, basic_challenge
from cargohold.routes.token import TokenRoutes
from cargohold.storage.layout import Layout
from cargohold.storage.state import State
from cargohold.types.operations import Permission, PublishKeys, ReadMetrics, RequestToken

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Sequence

    from cargohold.auth.protocols import Passwords, Subject, Tokens
    from cargohold.config import Settings
    from cargohold.http.guard import Challenge
    from cargohold.http.middleware import Route
    from cargohold.messages import Request
    from cargohold.storage.counters import Counters
    from cargohold.types.operations import Operation

TOKEN_PATH = "/auth/token"  # noqa: S105 - a path


class Logins:
    """Who may do what, for one process: made in it, after the fork, and used by one loop.

    Raises ValueError, with a message for people, where a file that the settings name cannot be used; with `later`, for
    a worker, whose server has started with good ones, the log says it instead.
    """

    def __init__(
        self,
        settings: Settings,
        *,
        later: bool = False,
        counters: Counters | None = None,
        admitted: Callable[[Request], None] | None = None,
    ) -> None:
        auth, layout = settings.auth, Layout(settings.storage.path)
        rules = rules_of(settings)
        self._state = State(layout.own)
        self._users = HtpasswdUsers(auth.htpasswd, rules.of, later=later) if auth.htpasswd else None
        robots = Robots(self._state)
        others: list[Passwords] = []
        if auth.oidc:
            others.append(_id_tokens(settings))
        if self._users is not None:
            others.append(self._users)
        issuer = Issuer(
            SigningKeys(layout.keys),
            _known(rules, robots, others),
            issuer=auth.token.service,
            service=auth.token.service,
            lifetime=auth.token.lifetime,
        )
        tokens: list[Tokens] = [issuer]
        if has_keys(settings):
            tokens.append(_foreign_tokens(settings, later=later))
        login = Login(
            [robots, *others],
            tokens,
            anonymous=rules.anonymous,
            attempts=_attempts(settings, counters),
            remember=auth.remember,
        )
        open_to_all = {ReadMetrics} if settings.metrics.access == "everyone" else set()
        self.guard = Guard(login, _challenge(settings), admitted=admitted, unguarded=frozenset(open_to_all))
        token_routes = TokenRoutes(
            login,
            issuer,
            RefreshTokens(self._state),
            service=auth.token.service,
            anonymous=rules.anonymous if rules.anonymous_may_something else None,
            refresh_lifetime=auth.token.refresh_lifetime,
            workload_lifetime=auth.token.job_lifetime,
            admitted=admitted,
        )
        self.routes: dict[type[Operation], Route] = {
            RequestToken: token_routes.request,
            PublishKeys: token_routes.keys,
        }

    def close(self) -> None:
        """Let go of files and threads."""
        if self._users is not None:
            self._users.close()
        self._state.close()


def prepare(settings: Settings) -> None:
    """Make on disk what logins need, before the fork, and see that the files are good which the settings name.

    Raises ValueError as `Logins` does, and StoreError where the storage cannot be used.
    """
    layout = Layout(settings.storage.path)
    with closing(Logins(settings)):
        SigningKeys(layout.keys).prepare(time.time())
        with closing(State(layout.own)) as state:
            state.open()


def rules_of(settings: Settings) -> Rules:
    """The rules that the settings write. Raises ValueError where they do not go together."""
    auth = settings.auth
    return Rules(
        [Rule(permissions(rule.actions), rule.repository, rule.users, rule.groups) for rule in auth.rules],
        groups=auth.groups,
        administrators=auth.administrators,
        default=None if auth.default is None else permissions(auth.default),
    )


def _attempts(settings: Settings, counters: Counters | None) -> FailedLogins | None:
    rate = settings.limits.failed_logins
    if not rate or counters is None:
        return None
    return FailedLogins(rate, counters, allow=settings.limits.allow)


def permissions(actions: Iterable[str]) -> frozenset[Permission]:
    """Actions as settings write them."""
    return frozenset(map(Permission, actions))


def _id_tokens(settings: Settings) -> Passwords:
    from cargohold.app import trust  # noqa: PLC0415 - few use it, and it is large

    return trust.id_tokens(settings)


def _foreign_tokens(settings: Settings, *, later: bool) -> Tokens:
    from cargohold.app import trust  # noqa: PLC0415 - few use it, and it is large

    return trust.foreign_tokens(settings, later=later)


def _known(rules: Rules, robots: Robots, others: Sequence[Passwords]) -> Callable[[Subject], Proved | None]:
    """What gives a subject as it stands now, None where it is gone; of all of them robots alone come to an end."""

    def known(subject: Subject) -> Proved | None:
        if subject.kind == "anonymous":
            return Proved(subject, rules.anonymous)
        found = (source.authority(subject) for source in others)
        authority = next((each for each in found if each is not None), None)
        return robots.known(subject) if authority is None else Proved(subject, authority)

    return known


def _challenge(settings: Settings) -> Challenge:
    """To be asked for a password, clients must never be served without one: they would not come without it again."""
    auth = settings.auth
    asked = auth.challenge
    if asked == "auto":
        asked = "bearer" if auth.bearer.realm or anonymous_may_something(settings) else "basic"
    if asked == "basic":
        return basic_challenge
    if auth.bearer.realm:
        return BearerChallenge(auth.bearer.realm, auth.bearer.service)
    return BearerChallenge(
        f"{settings.prefix}{TOKEN_PATH}", auth.token.service, public_url=settings.server.public_url
    )
