"""The command `cargohold token`: access tokens for robots."""

from __future__ import annotations

import asyncio
import secrets
import time
from contextlib import closing, contextmanager
from typing import TYPE_CHECKING, Any, get_args

import click

from cargohold.cli.commands import Group
from cargohold.cli.help import epilog
from cargohold.cli.printing import Unprinted, print_line, print_table, written_time
from cargohold.cli.refusal import Refused
from cargohold.cli.settings_options import with_settings
from cargohold.cli.storage import registry_storage
from cargohold.cli.values import Value
from cargohold.config.access import Action
from cargohold.config.kinds import duration, write_json
from cargohold.storage.protocols import StoreError
from cargohold.types.operations import Permission

if TYPE_CHECKING:
    from collections.abc import Iterator

    from cargohold.auth.grants import Grants
    from cargohold.auth.robots import Robots
    from cargohold.config import Settings
    from cargohold.storage.state import Robot

_GRANTABLE: tuple[str, ...] = get_args(Action)
_NEVER = float("inf")
_LIFE = Value("duration", duration(1, 100 * 365 * 86400), words={"never": _NEVER})


def _permissions(
    _context: click.Context, _parameter: click.Parameter, texts: tuple[str, ...]
) -> frozenset[Permission]:
    words = [word.strip().lower() for text in texts for word in text.split(",")]
    for word in words:
        if word not in _GRANTABLE:
            raise click.BadParameter(f"write some of {', '.join(_GRANTABLE)}, with commas, not {word!r}")
    return frozenset(map(Permission, words))


@click.group(cls=Group)
def token() -> None:
    """Make, list and revoke access tokens of robots.

    They are secrets that log in as a password does. A token holds for the registry of one storage, and only where that
    asks for a login.
    """


@token.command(
    epilog=epilog(
        "cargohold token create deploy --repository 'org/*' --permission pull,push --expires 12h",
        "cargohold token create ci --repository org/app > password",
        codes="0, 1 where it could not be made or printed, 2 where the command or the settings cannot be used",
    )
)
@click.argument("name", default=lambda: f"robot-{secrets.token_hex(4)}", required=False)
@click.option(
    "--repository",
    "patterns",
    multiple=True,
    required=True,
    metavar="PATTERN",
    help="The repositories it is for, such as 'org/app', 'org/*' or 'org/**'; may be repeated.",
)
@click.option(
    "--permission",
    "permissions",
    multiple=True,
    default=("pull",),
    show_default="pull",
    metavar="WORDS",
    callback=_permissions,
    help="What it may do there: some of pull, push, delete, catalog, with commas.",
)
@click.option(
    "--expires",
    "life",
    default="90d",
    show_default=True,
    metavar="TIME",
    type=_LIFE,
    help="How long it holds, such as 12h, 90d or never.",
)
@with_settings("storage.path")
def create(
    name: str, patterns: tuple[str, ...], permissions: frozenset[Permission], life: float, settings: Settings
) -> None:
    """Make the robot NAME and print its secret, which is never shown again.

    It is used as a password; any user name goes with it. Without a NAME one is made up, and told on standard error.
    """
    from cargohold.auth.grants import Grant, Grants  # noqa: PLC0415 - see `_robots`
    from cargohold.auth.robots import check_name  # noqa: PLC0415

    expires = time.time() + life
    try:
        check_name(name)
        grants = Grants(tuple(Grant(pattern, permissions) for pattern in dict.fromkeys(patterns)))
    except ValueError as error:
        raise click.UsageError(str(error)) from None
    with _robots(settings) as robots:
        secret = asyncio.run(robots.create(name, grants, expires))
        try:
            print_line(secret)
        except Unprinted as error:
            raise Refused(f"{error.message}; {_revoked_again(robots, name)}") from None
    click.echo(f"{name}: {_written(grants)}; expires: {_end(expires) or 'never'}", err=True)


@token.command(
    "list",
    epilog=epilog(
        "cargohold token list",
        "cargohold token list --json --storage-path /srv/registry",
        codes="0, 1 where the storage cannot be read, 2 where the settings cannot be used",
    ),
)
@click.option("--json", "as_json", is_flag=True, help="Print a list in JSON.")
@with_settings("storage.path")
def list_(*, as_json: bool, settings: Settings) -> None:
    """List the robots, also those that have expired, and what they may do."""
    with _robots(settings) as robots:
        found = robots.list()
    if as_json:
        print_line(write_json([_record(robot, grants) for robot, grants in found]))
        return
    print_table(
        ("NAME", "CREATED", "EXPIRES", "MAY"),
        (
            (robot.name, written_time(robot.created), _end(robot.expires) or "never", _written(grants))
            for robot, grants in found
        ),
    )


@token.command(
    epilog=epilog(
        "cargohold token revoke deploy",
        codes="0, 1 where there is no such robot or the storage cannot be written, 2 where the settings cannot be used",
    )
)
@click.argument("name")
@with_settings("storage.path")
def revoke(name: str, settings: Settings) -> None:
    """Remove the robot NAME: its secret, and all tokens issued to it, are refused at once."""
    with _robots(settings) as robots:
        if not asyncio.run(robots.revoke(name)):
            raise Refused(f"there is no robot {name}")
    click.echo(f"{name} is revoked", err=True)


@contextmanager
def _robots(settings: Settings) -> Iterator[Robots]:
    """The robots of a storage; what goes wrong with them ends the command with 1."""
    # They bring the database in, which --help need not wait for.
    from cargohold.auth.robots import Robots  # noqa: PLC0415
    from cargohold.storage.state import State  # noqa: PLC0415

    with registry_storage(settings) as layout, closing(State(layout.own)) as state:
        yield Robots(state)


def _revoked_again(robots: Robots, name: str) -> str:
    """Undo the making of a robot whose secret nobody has; what became of it."""
    try:
        asyncio.run(robots.revoke(name))
    except StoreError as error:
        return f"the robot {name} is there and nobody has its secret; it cannot be revoked now: {error}"
    return f"the robot {name} is revoked again, as nobody has its secret"


def _end(seconds: float) -> str | None:
    """None for what never comes."""
    return None if seconds == _NEVER else written_time(seconds)


def _words(permissions: frozenset[Permission]) -> list[str]:
    return [word for word in _GRANTABLE if Permission(word) in permissions]


def _written(grants: Grants) -> str:
    return "; ".join(f"{','.join(_words(grant.permissions))} in {grant.pattern}" for grant in grants.grants)


def _record(robot: Robot, grants: Grants) -> dict[str, Any]:
    return {
        "name": robot.name,
        "grants": [
            {"repository": grant.pattern, "permissions": _words(grant.permissions)} for grant in grants.grants
        ],
        "created": written_time(robot.created),
        "expires": _end(robot.expires),
        "expired": robot.expires <= time.time(),
    }
