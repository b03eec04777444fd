"""The command `cargohold import`: images from an archive, into the storage."""

from __future__ import annotations

import asyncio
import os
from contextlib import ExitStack, closing, contextmanager
from typing import TYPE_CHECKING

import click

from cargohold.cli.export import counted, steps, told_of
from cargohold.cli.help import epilog
from cargohold.cli.ownership import acting_for_owner
from cargohold.cli.printing import in_json, print_line
from cargohold.cli.refusal import Refused
from cargohold.cli.remote.printing import written_size
from cargohold.cli.settings_options import with_settings
from cargohold.cli.storage import registry_storage
from cargohold.storage.layout import Layout
from cargohold.storage.protocols import StoreError
from cargohold.types.errors import NameInvalid, TagInvalid
from cargohold.types.names import RepositoryName, Tag

if TYPE_CHECKING:
    from collections.abc import Iterator

    from cargohold.config import Settings
    from cargohold.registry.moving.importing import Imported
    from cargohold.registry.moving.names import Place

_STDIN = 0


def _target(_context: click.Context, _parameter: click.Parameter, text: str | None) -> Place | None:
    if text is None:
        return None
    from cargohold.registry.moving.names import Place  # noqa: PLC0415 - --help need not wait for it

    repository, colon, tag = text.partition(":")
    try:
        return Place(RepositoryName(repository), Tag(tag) if colon else None)
    except (NameInvalid, TagInvalid) as error:
        raise click.BadParameter(f"{text!r}: {error.message}") from None


@click.command(
    "import",
    epilog=epilog(
        "cargohold import /backup/images",
        "cargohold import image.tar --to team/app:v1 --dry-run",
        "cargohold import - --to team/app < saved.tar",
        codes="0, 1 where not all could be imported, 2 where the command or the settings cannot be used",
    ),
)
@click.argument("place", metavar="PLACE")
@click.option(
    "--to",
    "target",
    metavar="REPOSITORY[:TAG]",
    callback=_target,
    help="Where the images belong, whatever they are called; with a TAG, for one image.",
)
@click.option("--dry-run", "is_dry", is_flag=True, help="Say what would be stored, and store nothing.")
@click.option("--json", "as_json", is_flag=True, help="Print a JSON object that tells what was done.")
@click.option("--quiet", "-q", is_flag=True, help="Show no progress, and nothing where all was imported.")
@with_settings("storage.path")
def import_(  # noqa: PLR0913 - the options
    *, place: str, target: Place | None, is_dry: bool, as_json: bool, quiet: bool, settings: Settings
) -> None:
    """Store the images of an archive.

    PLACE is a directory or a tar, an OCI image layout or what "docker save" wrote; - is a tar on standard input.
    Each image is checked as one that is pushed, and its tags are set when all of it is there. What the registry has is
    not stored again, so that an import that was broken off can be typed again. A server may be running meanwhile. Where
    there is no registry yet, it is made.
    """
    if settings.read_only and not is_dry:
        raise Refused("the setting read_only is true: nothing is stored")
    done = _imported(settings, place, target, is_dry=is_dry, quiet=quiet)
    if as_json:
        print_line(in_json(done))
    elif not quiet:
        click.echo(_summary(done, is_dry=is_dry))
    for problem in done.problems:
        click.echo(f"cargohold: {problem}", err=True)
    if done.problems:
        raise click.exceptions.Exit(1)


def _summary(done: Imported, *, is_dry: bool) -> str:
    would, are = ("would be ", "would be") if is_dry else ("", "are")
    whole = f"{counted(done.images, 'image')} with {counted(done.tags, 'tag')} {would}imported"
    if done.images:
        return f"{whole}; {written_size(done.written_bytes)} of them {are} new"
    if done.written:
        return f"{whole}; {written_size(done.written_bytes)} are stored of what was refused"
    return whole


def _imported(settings: Settings, place: str, target: Place | None, *, is_dry: bool, quiet: bool) -> Imported:
    # --help need not wait for them; and they are here before root acts for who may not read them.
    from cargohold.app.moving import images_in, importing  # noqa: PLC0415

    name = "standard input" if place == "-" else place
    with ExitStack() as opened:
        opened.enter_context(told_of(name))
        descriptor = _STDIN if place == "-" else opened.enter_context(_opened(place))
        if not is_dry:
            _make(settings, quiet=quiet)
        on_step = opened.enter_context(steps("importing, MiB", quiet=quiet))
        layout = opened.enter_context(registry_storage(settings))
        opened.enter_context(told_of(name))
        images = opened.enter_context(images_in(place, descriptor, layout.new))
        one = opened.enter_context(importing(settings, images, on_step=on_step))
        one.plan(target)
        asyncio.run(one.run(dry=is_dry))
        return one.done


def _make(settings: Settings, *, quiet: bool) -> None:
    """Make a registry where there is none, as a server does at its start, as the owner of the folder it comes into."""
    from cargohold.app import terms_of  # noqa: PLC0415 - see `_imported`
    from cargohold.storage.filesystem import FilesystemStore  # noqa: PLC0415

    layout = Layout(os.path.abspath(settings.storage.path))
    if os.path.isdir(layout.own):
        return
    nearest = layout.root
    while not os.path.lexists(nearest):
        nearest = os.path.dirname(nearest)
    try:
        with acting_for_owner(nearest), closing(FilesystemStore(layout.root, terms_of(settings))) as store:
            store.prepare()
    except StoreError as error:
        raise Refused(f"no registry can be made in {layout.root}: {error}") from None
    if not quiet:
        click.echo(f"a registry is made in {layout.root}", err=True)


@contextmanager
def _opened(place: str) -> Iterator[int]:
    """A descriptor of the file or directory. It is opened as who types, whoever owns the storage."""
    descriptor = os.open(place, os.O_RDONLY | os.O_CLOEXEC)
    try:
        yield descriptor
    finally:
        os.close(descriptor)
