"""The options by which commands show a server a certificate of their own, where it asks for one."""

from __future__ import annotations

from typing import TYPE_CHECKING, TypeVar

import click

from cargohold.cli.refusal import Refused

if TYPE_CHECKING:
    import ssl
    from collections.abc import Callable

    Command = TypeVar("Command", bound=Callable[..., None])


def with_client_certificate(command: Command) -> Command:
    """Give a command `--certificate` and `--key`; its function is called with both."""
    key = click.option(
        "--key",
        type=click.Path(),
        metavar="FILE",
        help="The private key of --certificate, where it is not in the same file.",
    )
    certificate = click.option(
        "--certificate",
        type=click.Path(),
        metavar="FILE",
        help="Show this client certificate, in PEM, to a server that asks for one.",
    )
    return certificate(key(command))


def load_client_certificate(context: ssl.SSLContext, certificate: str | None, key: str | None) -> None:
    """Let connections show the certificate. Raises click.UsageError, and Refused where it cannot be used."""
    if certificate is None:
        if key is not None:
            raise click.UsageError("--key is the key of a --certificate: name both")
        return
    try:
        context.load_cert_chain(certificate, key, password=_no_password)
    except (OSError, ValueError) as error:  # ssl.SSLError is an OSError
        raise Refused(f"{certificate}: cannot be used as a client certificate: {error}") from None


def _no_password() -> str:
    """Rather than to have OpenSSL ask for one on the terminal."""
    raise ValueError("its key is encrypted")
