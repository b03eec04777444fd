"""The command `cargohold access`: what the rules of the settings decide."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, get_args

import click
import msgspec

from cargohold.auth import userfile
from cargohold.auth.rules import Decision
from cargohold.cli.commands import Group
from cargohold.cli.help import epilog
from cargohold.cli.printing import print_line
from cargohold.cli.settings_options import refuse, with_settings
from cargohold.config.access import Action
from cargohold.config.checks import asks_for_login
from cargohold.types.errors import NameInvalid
from cargohold.types.names import RepositoryName, check_user_name
from cargohold.types.operations import Permission

if TYPE_CHECKING:
    from cargohold.config import Settings

_ANONYMOUS = "anonymous"
_EVERYONE = "*"
_ALLOWED, _DENIED = 0, 1

_OPEN = Decision(allowed=True, reason="no login is configured: everyone may do everything", rule=None)


class Explanation(msgspec.Struct, frozen=True):
    """What is printed: the question, the answer, and all that it rests on.

    `rule` is the rule that decided, as the settings write it, with its `number`; None where none did.
    """

    user: str
    action: str
    repository: str | None
    allowed: bool
    reason: str
    rule: dict[str, Any] | None
    groups: tuple[str, ...]
    notes: tuple[str, ...]

    def lines(self) -> list[str]:
        """For people."""
        verdict, may = ("allowed", "may") if self.allowed else ("denied", "may not")
        asked = "list the catalog" if self.repository is None else f"{self.action} {self.repository}"
        lines = [f"{verdict}: {self.user} {may} {asked}", f"why: {self.reason}"]
        if self.rule is not None:
            written = {key: value for key, value in self.rule.items() if value or key == "actions"}
            lines.append(f"rule {written.pop('number')}: {msgspec.json.encode(written).decode()}")
        if self.user != _ANONYMOUS:
            lines.append(f"groups of {self.user}: {', '.join(self.groups) or 'none'}")
        return lines + [f"note: {note}" for note in self.notes]


@click.group(cls=Group)
def access() -> None:
    """See who may do what."""


def _user(_context: click.Context, _parameter: click.Parameter, name: str) -> str:
    if name == _EVERYONE:
        raise click.BadParameter(
            f"{name} stands for everyone who is logged in; write the name of one of them"
        )
    try:
        check_user_name(name)
    except ValueError as error:
        raise click.BadParameter(f"no user can have this name: {error}") from None
    return name


def _repository(
    _context: click.Context, _parameter: click.Parameter, text: str | None
) -> RepositoryName | None:
    try:
        return None if text is None else RepositoryName(text)
    except NameInvalid as error:
        raise click.BadParameter(f"{error.message}; write it without host, tag and digest") from None


@access.command(
    epilog=epilog(
        "cargohold access explain ann push org/app --config registry.yaml",
        "cargohold access explain anonymous catalog --json",
        codes="0 where it is allowed, 1 where it is denied, 2 where the question or the settings cannot be understood",
    )
)
@click.argument("user", callback=_user)
@click.argument("action", type=click.Choice(get_args(Action)))
@click.argument("repository", required=False, callback=_repository)
@click.option("--json", "as_json", is_flag=True, help="Print the explanation as a JSON object.")
@with_settings()
@click.pass_context
def explain(  # noqa: PLR0913 - what is asked, and how
    context: click.Context,
    /,
    user: str,
    action: str,
    repository: RepositoryName | None,
    *,
    as_json: bool,
    settings: Settings,
) -> None:
    """Say whether USER may do ACTION in REPOSITORY, and which rule decides.

    USER is a name to log in with, or "anonymous" for whoever has not logged in. ACTION is pull, push, delete or
    catalog, which is of no repository. What robots, id tokens and other token services' tokens give is not asked.
    """
    permission = Permission(action)
    if permission is Permission.CATALOG and repository is not None:
        raise click.UsageError("the catalog is of the whole registry: leave out the repository")
    if permission is not Permission.CATALOG and repository is None:
        raise click.UsageError(f"write the repository that {action} is asked for")
    explanation = _explain(settings, user, permission, repository)
    lines = [msgspec.json.encode(explanation).decode()] if as_json else explanation.lines()
    print_line("\n".join(lines))
    context.exit(_ALLOWED if explanation.allowed else _DENIED)


def _explain(
    settings: Settings, user: str, permission: Permission, repository: RepositoryName | None
) -> Explanation:
    decision = _decide(settings, user, permission, repository)
    auth = settings.auth
    rule = None
    if decision.rule is not None:
        rule = {"number": decision.rule, **msgspec.structs.asdict(auth.rules[decision.rule - 1])}
    return Explanation(
        user=user,
        action=permission.value,
        repository=None if repository is None else str(repository),
        allowed=decision.allowed,
        reason=decision.reason,
        rule=rule,
        groups=tuple(group for group, members in auth.groups.items() if user in members),
        notes=(*_of_user(settings, user), *_of_settings(settings, permission)),
    )


def _decide(
    settings: Settings, user: str, permission: Permission, repository: RepositoryName | None
) -> Decision:
    if not asks_for_login(settings):
        return _OPEN
    from cargohold.app.logins import rules_of  # noqa: PLC0415 - it brings in what --help need not wait for

    try:
        rules = rules_of(settings)
    except ValueError as error:
        raise refuse([f"auth: {error}"]) from None
    return rules.explain(None if user == _ANONYMOUS else user, permission, repository)


def _of_user(settings: Settings, user: str) -> list[str]:
    """What keeps a user from logging in. Nothing is said where the file of users is not on this machine."""
    file = settings.auth.htpasswd
    if file is None or user == _ANONYMOUS:
        return []
    try:
        users = userfile.parse(userfile.read_file(file)[0])
    except FileNotFoundError:
        return []
    except (OSError, ValueError) as error:
        reason = error.strerror if isinstance(error, OSError) else error
        return [f"auth.htpasswd: {file} was not asked whether {user} is a user: {reason}"]
    return [] if user in users.entries else [f"auth.htpasswd: nobody can log in as {user} by {file}"]


def _of_settings(settings: Settings, permission: Permission) -> list[str]:
    """What else stands in the way, whoever asks."""
    notes = []
    if settings.read_only and permission in (Permission.PUSH, Permission.DELETE):
        notes.append("read_only is true: nobody may change the content")
    if not settings.deletion and permission is Permission.DELETE:
        notes.append("deletion is false: nobody may delete")
    return notes
