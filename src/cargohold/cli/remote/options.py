"""The options by which commands are told how to reach a registry, and with which login."""

from __future__ import annotations

import functools
import os
from typing import TYPE_CHECKING

import click
import msgspec

from cargohold.cli.certificates import with_client_certificate
from cargohold.cli.password import read_password
from cargohold.cli.remote.address import parse_place, parse_registry
from cargohold.cli.remote.logins import Login, stored_login

if TYPE_CHECKING:
    from collections.abc import Callable
    from contextlib import AbstractContextManager

    from cargohold.cli.remote.address import Address, Place
    from cargohold.cli.remote.session import Session

    Command = Callable[..., None]


class Reach(msgspec.Struct, frozen=True):
    """How registries are reached. `quiet` leaves out what is shown of progress."""

    plain_http: bool
    insecure: bool
    prefix: str
    quiet: bool
    ca: str | None
    certificate: str | None
    key: str | None
    login: Login | None

    def registry(self, text: str) -> Address:
        """The registry that a text names. Raises click.UsageError."""
        return parse_registry(text, plain_http=self.plain_http)

    def place(self, text: str) -> Place:
        """The repository or image that a text names. Raises click.UsageError."""
        return parse_place(text, self.prefix, plain_http=self.plain_http)

    def session(self, address: Address, repository: str = "") -> AbstractContextManager[Session]:
        """A session with a registry, by the login that was given, or that is stored for the repository.

        Raises Refused.
        """
        # They bring in what --help need not wait for.
        from cargohold.cli.remote.exchange import Trust  # noqa: PLC0415
        from cargohold.cli.remote.session import open_session  # noqa: PLC0415

        trust = Trust(self.ca, self.insecure, self.certificate, self.key)
        return open_session(
            address, trust, lambda: self.login or stored_login(address.host, repository, os.environ)
        )


def with_registry(command: Command) -> Command:
    """Give a command the options; its function is called with `reach`."""

    @functools.wraps(command)
    def reaching(  # noqa: PLR0913 - an argument for each option
        *arguments: object,
        user: str | None,
        password_stdin: bool,
        plain_http: bool,
        insecure: bool,
        ca: str | None,
        certificate: str | None,
        key: str | None,
        quiet: bool,
        prefix: str = "",
        **given: object,
    ) -> None:
        login = _login(user, password_stdin=password_stdin)
        reach = Reach(plain_http, insecure, prefix, quiet, ca, certificate, key, login)
        command(*arguments, reach=reach, **given)

    described: Command = reaching
    for option in reversed(_OPTIONS):
        described = option(described)
    return described


def with_place(command: Command) -> Command:
    """The same, and `--prefix`, for what is named by the address of a repository or an image."""
    prefix = click.option(
        "--prefix",
        default="",
        metavar="PATH",
        help="The path that the registry is below, where there is one.",
    )
    return prefix(with_registry(command))


_OPTIONS = (
    click.option(
        "--user", metavar="NAME", help="Log in as this user; otherwise by what docker or podman has stored."
    ),
    click.option("--password-stdin", is_flag=True, help="Read the password from standard input: one line."),
    click.option(
        "--plain-http",
        is_flag=True,
        help="Without a scheme, speak HTTP, not HTTPS; to this machine that is so anyway.",
    ),
    click.option(
        "--ca",
        type=click.Path(),
        metavar="FILE",
        help="Trust these authorities too, in PEM, for the certificate of the server.",
    ),
    click.option("--insecure", is_flag=True, help="Do not verify the certificate of the server."),
    with_client_certificate,
    click.option("--quiet", is_flag=True, help="Show no progress."),
)


def _login(user: str | None, *, password_stdin: bool) -> Login | None:
    if user is None:
        if password_stdin:
            raise click.UsageError("--password-stdin is the password of a --user: name both")
        return None
    return Login(user, read_password(stdin=password_stdin, again=False, option="--password-stdin"))
