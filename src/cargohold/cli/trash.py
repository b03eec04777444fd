"""The command `cargohold trash`: what was deleted, and can be brought back for a while."""

from __future__ import annotations

import asyncio
import time
from contextlib import contextmanager
from typing import TYPE_CHECKING, Final

import click

from cargohold.cli.commands import Group
from cargohold.cli.help import epilog
from cargohold.cli.patterns import matching
from cargohold.cli.printing import in_json, print_line, print_table, written_time
from cargohold.cli.refusal import Refused
from cargohold.cli.settings_options import with_settings
from cargohold.cli.storage import registry_storage
from cargohold.cli.values import AGE
from cargohold.config.kinds import shown
from cargohold.types.digest import Digest
from cargohold.types.errors import RegistryError
from cargohold.types.names import RepositoryName, Tag
from cargohold.types.text import printable

if TYPE_CHECKING:
    from collections.abc import Iterator

    from cargohold.cli.patterns import Patterns
    from cargohold.config import Settings
    from cargohold.registry.restoring import Restored
    from cargohold.registry.trash import Deleted, Trash
    from cargohold.types.names import Reference

_SHOWN_TAGS: Final = 3


def _target(
    _context: click.Context, _parameter: click.Parameter, text: str
) -> tuple[RepositoryName, Reference]:
    name, at, digest = text.partition("@")
    try:
        if at:
            return RepositoryName(name), Digest(digest)
        name, colon, tag = text.rpartition(":")
        if colon:
            return RepositoryName(name), Tag(tag)
    except RegistryError as error:
        raise click.BadParameter(f"{shown(text)}: {error.message}") from None
    raise click.BadParameter(f"write REPOSITORY:TAG or REPOSITORY@DIGEST, not {shown(text)}")


_patterns = click.argument("wanted", metavar="[PATTERN]...", nargs=-1, callback=matching)
_json = click.option("--json", "as_json", is_flag=True, help="Print JSON.")


@click.group(cls=Group)
def trash() -> None:
    """List what was deleted, bring it back, or let it go.

    Manifests and tags that were deleted, by whomever and whatever, can be restored until trash.keep has passed. Give
    the settings that the server has. It may be running, and need not be restarted.
    """


@trash.command(
    epilog=epilog(
        "cargohold trash ls",
        "cargohold trash ls 'team/**' --storage-path /srv/registry",
        codes="0, 1 where the storage cannot be read, 2 where the command or the settings cannot be used",
    )
)
@_patterns
@_json
@with_settings("storage.path")
def ls(*, wanted: Patterns | None, as_json: bool, settings: Settings) -> None:
    """List what can be restored, by repository, the oldest deletion first.

    A PATTERN is of repositories, such as team/app or 'team/**', and must match one. Each was DELETED at a time, and can
    be restored UNTIL another.
    """
    with _trash(settings, wanted) as found:
        deleted = asyncio.run(found.deletions(wanted or _all, _tell_unreadable))
    if as_json:
        print_line(in_json([_record(each) for each in deleted]))
        return
    print_table(
        ("DELETED", "UNTIL", "REPOSITORY", "TAGS", "DIGEST", "WHY", "BY"),
        (
            (
                written_time(each.record.when),
                written_time(each.until),
                each.repository,
                _written_tags(each.record.tags),
                each.record.digest,
                each.record.cause.why.value,
                printable(each.record.cause.by),
            )
            for each in deleted
        ),
    )


@trash.command(
    epilog=epilog(
        "cargohold trash restore team/app:v1",
        "cargohold trash restore team/app@sha256:6c3c624b58dbbcd3c0dd82b4c53f04194d1247c6eebdaab7c610cf7d66709b3b",
        codes="0, 1 where not all of it could be restored, 2 where the command or the settings cannot be used",
    )
)
@click.argument("wanted", metavar="REPOSITORY:TAG|REPOSITORY@DIGEST", callback=_target)
@click.option("--overwrite", is_flag=True, help="Move tags back that point to another manifest by now.")
@_json
@with_settings("storage.path")
def restore(
    *, wanted: tuple[RepositoryName, Reference], overwrite: bool, as_json: bool, settings: Settings
) -> None:
    """Bring a manifest back, with the tags that went with it.

    Manifests that an index needs come back too where they are in the trash. A tag that points to another manifest by
    now stays there.
    """
    from cargohold.registry.restoring import Unrestorable  # noqa: PLC0415 - see `_trash`

    with _trash(settings) as found:
        try:
            done = asyncio.run(found.restore(*wanted, overwrite=overwrite))
        except Unrestorable as error:
            raise Refused(str(error)) from None
    if as_json:
        print_line(in_json(_outcome(done)))
    else:
        for line in _lines(done):
            print_line(line)
    for problem in _problems(done, overwrite=overwrite):
        click.echo(f"cargohold: {problem}", err=True)
    if done.taken or done.problems:
        raise click.exceptions.Exit(1)


@trash.command(
    epilog=epilog(
        "cargohold trash empty --older-than 2h",
        "cargohold trash empty 'ci/**' --dry-run",
        codes="0, 1 where the storage cannot be written, 2 where the command or the settings cannot be used",
    )
)
@_patterns
@click.option(
    "--older-than",
    default="0s",
    metavar="TIME",
    type=AGE,
    help="Only what was deleted so long ago or longer, such as 2h or 30d.",
)
@click.option("--dry-run", is_flag=True, help="Say how many there are, and change nothing.")
@with_settings("storage.path")
def empty(*, wanted: Patterns | None, older_than: float, dry_run: bool, settings: Settings) -> None:
    """Let what was deleted go: it cannot be restored from then on.

    What it takes up on the disk comes back with the next collection of garbage. A PATTERN is of repositories, and
    must match one; without one, it is all of the trash.
    """
    with _trash(settings, wanted) as found:
        if dry_run:
            before = time.time() - older_than
            listed = asyncio.run(found.deletions(wanted or _all, _tell_unreadable))
            number = sum(each.record.when <= before for each in listed)
            click.echo(f"{_deletions(number)} would be final", err=True)
            return
        number = asyncio.run(found.empty(wanted or _all, older_than=older_than))
    click.echo(f"{_deletions(number)} final from now on", err=True)


@contextmanager
def _trash(settings: Settings, wanted: Patterns | None = None) -> Iterator[Trash]:
    """The trash of a storage; what goes wrong with it ends the command with 1. Patterns must match something there."""
    from cargohold.app.trash import trash_of  # noqa: PLC0415 - it brings the server in

    with registry_storage(settings) as layout:
        if wanted is not None:
            wanted.require_all_in(layout)
        with trash_of(settings) as found:
            yield found


def _all(_: RepositoryName) -> bool:
    return True


def _deletions(number: int) -> str:
    return "1 deletion" if number == 1 else f"{number} deletions"


def _tell_unreadable(path: str, reason: str) -> None:
    click.echo(f"cargohold: {path} cannot be read: {reason}", err=True)


def _written_tags(tags: tuple[Tag, ...]) -> str:
    more = len(tags) - _SHOWN_TAGS
    return ",".join(tags[:_SHOWN_TAGS]) + (f",+{more}" if more > 0 else "")


def _record(deleted: Deleted) -> dict[str, object]:
    record = deleted.record
    return {
        "repository": str(deleted.repository),
        "digest": str(record.digest),
        "tags": [*map(str, record.tags)],
        "manifest": record.whole,
        "deleted": written_time(record.when),
        "until": written_time(deleted.until),
        "why": record.cause.why.value,
        "by": record.cause.by,
        "media_type": record.media_type,
        "size": record.size,
    }


def _outcome(done: Restored) -> dict[str, object]:
    return {
        "repository": str(done.repository),
        "digest": str(done.digest),
        "manifests": [*map(str, done.manifests)],
        "tags": {str(tag): str(digest) for tag, digest in done.tags.items()},
        "taken": [
            {"tag": str(each.tag), "digest": str(each.digest), "points_to": str(each.points_to)}
            for each in done.taken
        ],
        "problems": done.problems,
    }


def _lines(done: Restored) -> Iterator[str]:
    for digest in done.manifests:
        yield f"{done.repository}@{digest} is back"
    for tag, digest in done.tags.items():
        yield f"{done.repository}:{tag} points to {digest}"
    if not (done.manifests or done.tags or done.taken):
        yield f"{done.repository}@{done.digest} is there, with all of its tags"


def _problems(done: Restored, *, overwrite: bool) -> Iterator[str]:
    for taken in done.taken:
        why = "and is immutable" if overwrite else "by now: it stays there without --overwrite"
        yield f"{done.repository}:{taken.tag} points to {taken.points_to} {why}"
    yield from done.problems
