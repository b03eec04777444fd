"""The command `cargohold keys`: the keys that the registry signs its tokens with."""

from __future__ import annotations

import time
from contextlib import contextmanager
from typing import TYPE_CHECKING

import click

from cargohold.cli.commands import Group
from cargohold.cli.help import epilog
from cargohold.cli.printing import print_line, print_table, written_time
from cargohold.cli.settings_options import with_settings
from cargohold.cli.storage import registry_storage
from cargohold.config.kinds import write_json

if TYPE_CHECKING:
    from collections.abc import Iterator

    from cargohold.auth.keys import SigningKey, SigningKeys
    from cargohold.config import Settings


@click.group(cls=Group)
def keys() -> None:
    """Rotate and list the keys that tokens are signed with.

    The server makes the first when it starts. It notices by itself what is done here.
    """


@keys.command(
    epilog=epilog(
        "cargohold keys rotate",
        "cargohold keys rotate --now --storage-path /srv/registry",
        codes="0, 1 where the key could not be made or printed, 2 where the settings cannot be used",
    )
)
@click.option(
    "--now",
    "at_once",
    is_flag=True,
    help="Sign with it at once, and refuse all that was signed before: for a key that others may know.",
)
@with_settings("storage.path")
def rotate(*, at_once: bool, settings: Settings) -> None:
    """Make a new key and print its id.

    It signs from a minute later on. What was signed before that is accepted until it expires.
    """
    now = time.time()
    with _keys(settings) as signing_keys:
        made = signing_keys.rotate(now, at_once=at_once)
    try:
        print_line(made.kid)
    finally:
        click.echo(
            "it signs from now on; what was signed before is refused, and clients ask for new tokens"
            if at_once
            else f"it signs from {written_time(made.since)} on; what was signed before is accepted until it expires",
            err=True,
        )


@keys.command(
    "list",
    epilog=epilog(
        "cargohold keys list",
        codes="0, 1 where the storage cannot be read, 2 where the settings cannot be used",
    ),
)
@click.option("--json", "as_json", is_flag=True, help="Print a list in JSON.")
@with_settings("storage.path")
def list_(*, as_json: bool, settings: Settings) -> None:
    """List the keys with their times, the oldest first.

    Each signs SINCE a time, and what it signed is accepted UNTIL another. One of them is signing now; next is one
    that will, and accepted is one that did.
    """
    now = time.time()
    with _keys(settings) as signing_keys:
        signing_keys.check()
        found = signing_keys.all(now)
        records = [_record(key, signing_keys.signing(now), now) for key in found]
    if as_json:
        print_line(write_json(records))
        return
    print_table(
        ("KEY", "STATE", "SINCE", "UNTIL"),
        ((each["kid"], each["state"], each["since"], each.get("until", "")) for each in records),
    )


def _record(key: SigningKey, signing: SigningKey, now: float) -> dict[str, str]:
    state = "signing" if key == signing else "next" if key.since > now else "accepted"
    until = {} if key.until is None else {"until": written_time(key.until)}
    return {"kid": key.kid, "state": state, "since": written_time(key.since), **until}


@contextmanager
def _keys(settings: Settings) -> Iterator[SigningKeys]:
    """The keys of a storage; what goes wrong with them ends the command with 1."""
    from cargohold.auth.keys import SigningKeys  # noqa: PLC0415 - it brings in what --help need not wait for

    with registry_storage(settings) as layout:
        yield SigningKeys(layout.keys)
