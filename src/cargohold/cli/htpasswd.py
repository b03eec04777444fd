"""The command `cargohold htpasswd`: the users of a file, and their passwords."""

from __future__ import annotations

import os
from contextlib import contextmanager
from typing import TYPE_CHECKING

import click

from cargohold.auth import userfile
from cargohold.cli.commands import Group
from cargohold.cli.help import epilog
from cargohold.cli.password import read_password
from cargohold.cli.printing import in_json, print_line
from cargohold.cli.refusal import Refused
from cargohold.cli.rewriting import rewrite
from cargohold.types.names import check_user_name

if TYPE_CHECKING:
    from collections.abc import Iterator


def _name(_context: click.Context, _parameter: click.Parameter, name: str) -> str:
    try:
        check_user_name(name)
    except ValueError as error:
        raise click.BadParameter(str(error)) from None
    return name


_CODES = "0 where it is done, 1 where it could not be, 2 where the command is misused"

_file = click.argument("file", type=click.Path())
_user = click.argument("user", callback=_name)
_stdin = click.option("--stdin", is_flag=True, help="Read the password from standard input: one line.")
_cost = click.option(
    "--cost",
    type=click.IntRange(userfile.COSTS[0], userfile.COSTS[-1]),
    default=userfile.DEFAULT_COST,
    show_default=True,
    help="How long a check takes: one more doubles it.",
)


@click.group(cls=Group)
def htpasswd() -> None:
    """Keep the file of users that the setting auth.htpasswd names.

    A registry that runs takes a change within seconds. Passwords are asked for without an echo.
    """


@htpasswd.command(epilog=epilog("cargohold htpasswd create users ann", codes=_CODES))
@_file
@_user
@_stdin
@_cost
def create(file: str, user: str, *, stdin: bool, cost: int) -> None:
    """Make a new file with one user; its mode is 0600."""
    _refuse_present(file)
    text = _hash(cost, stdin=stdin)

    def begin() -> bytes:
        _refuse_present(file)
        return userfile.with_user(b"", user, text)

    with _refusals(file):
        rewrite(file, begin)
    click.echo(f"made {file} with user {user}", err=True)


@htpasswd.command(epilog=epilog("cargohold htpasswd add users bob --stdin < password", codes=_CODES))
@_file
@_user
@_stdin
@_cost
def add(file: str, user: str, *, stdin: bool, cost: int) -> None:
    """Add a user, or give one another password. All other lines stay as they are."""
    _content(file)
    text = _hash(cost, stdin=stdin)
    with _refusals(file):
        rewrite(file, lambda: userfile.with_user(_content(file), user, text))
    click.echo(f"user {user} of {file} has the password now", err=True)


@htpasswd.command(
    epilog=epilog(
        "cargohold htpasswd delete users bob",
        codes="0 where it is done, 1 where there is no such user or the file cannot be written, 2 where the command is"
        " misused",
    )
)
@_file
@_user
def delete(file: str, user: str) -> None:
    """Remove a user."""

    def rest() -> bytes:
        content = _content(file)
        if all(line.name != user for line in userfile.read_lines(content)):
            raise Refused(f"{file} has no user {user}")
        return userfile.without_user(content, user)

    with _refusals(file):
        rewrite(file, rest)
    click.echo(f"removed user {user} of {file}", err=True)


@htpasswd.command(
    epilog=epilog(
        "cargohold htpasswd verify users ann",
        codes="0 where the password is right, 1 where it is wrong, there is no such user, or the file cannot be read, 2"
        " where the command is misused",
    )
)
@_file
@_user
@_stdin
def verify(file: str, user: str, *, stdin: bool) -> None:
    """Say whether a password is right."""
    from cargohold.auth.passwords import is_right  # noqa: PLC0415 - it brings bcrypt in, which serve may not need

    users = userfile.parse(_content(file))
    entry = users.entries.get(user)
    password = read_password(stdin=stdin, again=False, option="--stdin")
    if not is_right(password.encode(), entry and entry.hash, users.cost):
        raise Refused("the password is wrong, or there is no such user")
    click.echo("the password is right", err=True)


@htpasswd.command(name="list", epilog=epilog("cargohold htpasswd list users", codes=_CODES))
@_file
@click.option("--json", "as_json", is_flag=True, help="Print a list in JSON.")
def list_users(file: str, *, as_json: bool) -> None:
    """Print the names of those who can log in, and on standard error what is odd about other lines."""
    users = userfile.parse(_content(file))
    if as_json:
        print_line(in_json(list(users.entries)))
    else:
        for name in users.entries:
            print_line(name)
    for oddity in users.oddities:
        click.echo(f"cargohold: {oddity}", err=True)


@contextmanager
def _refusals(file: str) -> Iterator[None]:
    """Errors of the file system, and of what is in the file, as messages that name the file."""
    try:
        yield
    except OSError as error:
        raise Refused(f"{file}: {error.strerror}") from None
    except ValueError as error:
        raise Refused(f"{file}: {error}") from None


def _content(file: str) -> bytes:
    """What is in a file of users, which is one without a fault."""
    if not os.path.lexists(file):
        raise Refused(f"{file} is not there; make it with: cargohold htpasswd create {file} USER")
    with _refusals(file):
        content = userfile.read_file(file)[0]
        userfile.parse(content)
    return content


def _refuse_present(file: str) -> None:
    if os.path.lexists(file):
        raise Refused(f"{file} is there already; add users with: cargohold htpasswd add {file} USER")


def _hash(cost: int, *, stdin: bool) -> str:
    """The hash of a new password."""
    from cargohold.auth.passwords import hash_password  # noqa: PLC0415 - as above

    password = read_password(stdin=stdin, again=True, option="--stdin")
    try:
        return hash_password(password, cost)
    except ValueError as error:
        raise click.UsageError(str(error)) from None
