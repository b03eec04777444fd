"""The command `cargohold export`: images out of the storage, into an OCI image layout."""

from __future__ import annotations

import asyncio
import os
import shutil
import sys
import uuid
from contextlib import closing, contextmanager, suppress
from typing import TYPE_CHECKING

import click

from cargohold.cli.help import epilog
from cargohold.cli.printing import in_json, print_line
from cargohold.cli.progress import progress
from cargohold.cli.refusal import Refused
from cargohold.cli.remote.printing import written_size
from cargohold.cli.settings_options import with_settings
from cargohold.cli.storage import registry_storage
from cargohold.storage import disk
from cargohold.storage.layout import Layout

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from io import BufferedWriter

    from cargohold.config import Settings
    from cargohold.registry.moving.exporting import Exported
    from cargohold.registry.moving.selection import Selection

_MIB = 1 << 20
_COMPRESSED = {
    ".gz": "gzip",
    ".tgz": "gzip",
    ".zst": "zstd",
    ".tzst": "zstd",
    ".xz": "xz",
    ".txz": "xz",
    ".bz2": "bzip2",
}


def _place(_context: click.Context, _parameter: click.Parameter, text: str) -> str:
    program = _COMPRESSED.get(os.path.splitext(text)[1])
    if program and not os.path.isdir(text):
        raise click.BadParameter(f"{text}: nothing is compressed here: write .tar, or --to - | {program}")
    return text


@click.command(
    epilog=epilog(
        "cargohold export --to /backup/images",
        "cargohold export 'team/**' other/app:v1 --to images.tar",
        "cargohold export team/app:latest --plain-tags --to - | ssh there cargohold import - --to team/app",
        codes="0, 1 where not all could be exported, 2 where the command or the settings cannot be used",
    )
)
@click.argument("patterns", metavar="[PATTERN[:TAG]]...", nargs=-1)
@click.option(
    "--to",
    "place",
    required=True,
    callback=_place,
    metavar="PLACE",
    help="A directory, which is made where it is missing, a file whose name ends in .tar, or - for standard output.",
)
@click.option("--copy", is_flag=True, help="Copy content into the directory where it could be linked.")
@click.option("--prune", is_flag=True, help="Remove from the directory what this export does not bring.")
@click.option(
    "--plain-tags",
    "plain",
    is_flag=True,
    help="Name images by their tags alone, which some clients want: for one repository.",
)
@click.option("--json", "as_json", is_flag=True, help="Print a JSON object that tells what was done.")
@click.option("--quiet", "-q", is_flag=True, help="Show no progress, and nothing where all was exported.")
@with_settings("storage.path")
def export(  # noqa: PLR0913 - the options
    *,
    patterns: tuple[str, ...],
    place: str,
    copy: bool,
    prune: bool,
    plain: bool,
    as_json: bool,
    quiet: bool,
    settings: Settings,
) -> None:
    """Write images into an OCI image layout, with all that refers to them.

    A PATTERN is of repositories, such as team/app or 'team/**'; without a tag, or a pattern of tags such as 'v*', it
    means all that they hold, and without any PATTERN all of the registry is written. Into a directory that has a
    layout only what is missing there, or damaged, is written. A server may be running meanwhile.
    """
    from cargohold.registry.moving.selection import Selection  # noqa: PLC0415 - see `importing`

    is_directory = place != "-" and (os.path.isdir(place) or not place.endswith(".tar"))
    if (copy or prune) and not is_directory:
        raise click.UsageError("--copy and --prune are for directories")
    if place == "-" and as_json:
        raise click.UsageError("standard output cannot take both the tar and JSON")
    try:
        selection = Selection(patterns)
    except ValueError as error:
        raise click.UsageError(str(error)) from None
    if is_directory:
        done = _into_directory(settings, selection, place, copy=copy, prune=prune, plain=plain, quiet=quiet)
    else:
        done = _into_tar(settings, selection, place, plain=plain, quiet=quiet)
    if as_json:
        print_line(in_json(done))
    elif not quiet:
        click.echo(_summary(done), err=place == "-")
        for line in done.lacking:
            click.echo(f"cargohold: {line}, which manifests.allow_sparse allows", err=True)
    for problem in done.problems:
        click.echo(f"cargohold: {problem}", err=True)
    if done.problems:
        raise click.exceptions.Exit(1)


def _summary(done: Exported) -> str:
    kept = f"; {done.kept} more that the layout had were kept" if done.kept else ""
    pruned = f"; {written_size(done.pruned_bytes)} of others were removed" if done.pruned else ""
    return (
        f"{counted(done.images, 'image')} with {counted(done.tags, 'tag')} exported;"
        f" {written_size(done.written_bytes)} of them are new{kept}{pruned}"
    )


def counted(count: int, what: str) -> str:
    """So many of them, in words."""
    return f"{count} {what}{'s' * (count != 1)}"


def _into_tar(settings: Settings, selection: Selection, place: str, *, plain: bool, quiet: bool) -> Exported:
    from cargohold.app.moving import exporting  # noqa: PLC0415 - see `_into_directory`
    from cargohold.storage.archive.writing import TarTarget  # noqa: PLC0415

    name = "standard output" if place == "-" else place
    with (
        told_of(name),
        _tar(place) as tar,
        steps("exporting, MiB", quiet=quiet) as on_step,
        registry_storage(settings),
        told_of(name),
        exporting(settings, TarTarget(tar.write), plain=plain, on_step=on_step) as export,
    ):
        asyncio.run(export.run(selection))
        export.finish()
        tar.is_kept = not _found_nothing(export.done)
        return export.done


def _into_directory(  # noqa: PLR0913 - the options
    settings: Settings,
    selection: Selection,
    place: str,
    *,
    copy: bool,
    prune: bool,
    plain: bool,
    quiet: bool,
) -> Exported:
    # --help need not wait for them; and they are here before root acts for who may not read them.
    from cargohold.app.moving import exporting  # noqa: PLC0415
    from cargohold.storage.archive.writing import DirectoryTarget  # noqa: PLC0415

    with told_of(place):
        is_made = _make(place, settings)
    with (
        steps("exporting, MiB", quiet=quiet) as on_step,
        registry_storage(settings),
        told_of(place),
        closing(DirectoryTarget(place, link=not copy)) as target,
        exporting(settings, target, plain=plain, on_step=on_step) as export,
    ):
        asyncio.run(export.run(selection))
        is_pruned = prune and not export.done.problems
        export.finish(() if is_pruned else target.entries())
        if is_pruned:
            export.done.pruned, export.done.pruned_bytes = target.prune(export.holds)
        elif prune:
            export.done.problems.append("nothing is removed where not all could be exported")
    if is_made and _found_nothing(export.done):
        shutil.rmtree(place)
    return export.done


@contextmanager
def steps(doing: str, *, quiet: bool) -> Iterator[Callable[[int], None]]:
    """Show how far something has come; what it gives is called with bytes, and the progress is in MiB."""
    left = 0
    if os.geteuid() == 0 and not quiet:
        # When the progress is shown, root acts for somebody who may not be able to read our modules.
        import rich.progress  # noqa: F401, PLC0415

    with progress(doing, quiet=quiet) as advance:

        def on_step(size: int) -> None:
            nonlocal left
            done, left = divmod(left + size, _MIB)
            if done:
                advance(done)

        yield on_step


def _make(place: str, settings: Settings) -> bool:
    """Make the directory where it is missing; the owner of the registry's data writes to it. Whether it was made."""
    own = Layout(os.path.abspath(settings.storage.path)).own
    if not os.path.isdir(own) or os.path.exists(place):
        return False
    os.mkdir(place)
    if os.geteuid() == 0:
        owner = os.lstat(own)
        os.chown(place, owner.st_uid, owner.st_gid)
    return True


def _found_nothing(done: Exported) -> bool:
    """Whether nothing of what was asked for is there; an export of a registry without images has found that."""
    return bool(done.problems) and not (done.images or done.written)


class _Tar:
    """What is written to by `write`; it takes its name at the end if it `is_kept`."""

    def __init__(self, stream: BufferedWriter) -> None:
        self.write = stream.write
        self.is_kept = True


@contextmanager
def _tar(place: str) -> Iterator[_Tar]:
    """A tar on standard output, or in a file that takes its name when all of it is on the disk."""
    if place == "-":
        if sys.stdout is None or sys.stdout.isatty():
            raise Refused("a tar is not for a terminal: send standard output to a file or a program")
        with open(sys.stdout.fileno(), "wb", closefd=False) as stream:
            yield _Tar(stream)
        return
    part = f"{place}.{uuid.uuid4().hex}.part"
    try:
        with open(part, "xb") as stream:
            tar = _Tar(stream)
            yield tar
            stream.flush()
            os.fsync(stream.fileno())
        if not tar.is_kept:
            return
        os.rename(part, place)
        disk.sync_folder(os.path.dirname(os.path.abspath(place)))
    finally:
        with suppress(FileNotFoundError):
            os.unlink(part)


@contextmanager
def told_of(place: str) -> Iterator[None]:
    """End the command where the archive at a place is in the way of what is done, or the folder for temporary files."""
    import sqlite3  # noqa: PLC0415 - --help need not wait for them

    from cargohold.storage.archive.tar import ArchiveInvalid  # noqa: PLC0415

    try:
        yield
    except sqlite3.Error as error:
        raise Refused(f"the notes that the command makes in a temporary file: {error}") from None
    except OSError as error:
        raise Refused(f"{place}: {error.strerror}") from None
    except (ArchiveInvalid, ValueError) as error:
        raise Refused(f"{place}: {error}") from None
