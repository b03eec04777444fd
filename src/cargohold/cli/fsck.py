"""The command `cargohold fsck`: the check of a storage, and its repair."""

from __future__ import annotations

import os
import sys
from contextlib import contextmanager
from typing import TYPE_CHECKING

import click

from cargohold.cli.help import epilog
from cargohold.cli.ownership import acting_for_owner
from cargohold.cli.patterns import matching
from cargohold.cli.printing import in_json, print_line
from cargohold.cli.progress import progress
from cargohold.cli.refusal import Refused
from cargohold.cli.remote.printing import written_size
from cargohold.cli.settings_options import with_settings
from cargohold.cli.values import AGE, Value
from cargohold.config.kinds import duration, size
from cargohold.config.section import YEAR
from cargohold.storage.layout import Layout
from cargohold.storage.protocols import StoreError
from cargohold.types.text import printable

if TYPE_CHECKING:
    from collections.abc import Iterator

    from cargohold.cli.patterns import Patterns
    from cargohold.config import Settings
    from cargohold.storage.filesystem.checking.check import Check, Wanted

_MOST_JOBS = 64
_DEFAULT_JOBS = min(4, os.cpu_count() or 1)


class CannotRun(Refused):
    """The storage could not be checked; the exit code is 2, since 1 says that something is wrong with it."""

    exit_code = 2


@click.command(
    epilog=epilog(
        "cargohold fsck",
        "cargohold fsck --verify-content --rate 50MB --storage-path /srv/registry",
        "cargohold fsck --verify-content --resume --time-limit 2h",
        "cargohold fsck --repair",
        "cargohold fsck --json 'team/**'",
        codes=(
            "0 where nothing is lost or damaged, 1 where something is, repaired or not, 2 where the storage could not"
            " be checked"
        ),
    )
)
@click.argument("matches", metavar="[PATTERN]...", nargs=-1, callback=matching)
@click.option(
    "--repair", is_flag=True, help="Repair what was found. What is no use is moved to a quarantine."
)
@click.option(
    "--verify-content", "verify", is_flag=True, help="Read all content, and see whether it has changed."
)
@click.option("--resume", is_flag=True, help="Go on where the last --verify-content was broken off.")
@click.option(
    "--time-limit",
    "seconds",
    type=Value("duration", duration(1, YEAR)),
    metavar="DURATION",
    help="Verify content for so long, such as 2h, and leave the rest to --resume.",
)
@click.option(
    "--rate",
    type=Value("size", size(1 << 10, 1 << 50), unit="/s"),
    metavar="BYTES",
    help="Verify so many bytes a second at most, such as 50MB; 1KiB or more.",
)
@click.option(
    "--jobs",
    type=click.IntRange(1, _MOST_JOBS),
    default=_DEFAULT_JOBS,
    metavar="N",
    help="How many things to look at, at once.  [default: the processors, 4 at most]",
)
@click.option(
    "--min-age",
    type=AGE,
    default="1h",
    metavar="DURATION",
    help="Repair moves and removes nothing that is newer; 0 only where no server runs.  [default: 1h]",
)
@click.option("--all", "all_of_them", is_flag=True, help="Print what is harmless too, each on its line.")
@click.option("--json", "as_json", is_flag=True, help="Print one object in JSON, with all that was found.")
@click.option("--quiet", "-q", is_flag=True, help="Show no progress, and no counts where nothing is wrong.")
@with_settings("storage.path")
@click.pass_context
def fsck(  # noqa: PLR0913 - the options
    context: click.Context,
    /,
    *,
    matches: Patterns | None,
    repair: bool,
    verify: bool,
    resume: bool,
    seconds: float | None,
    rate: int | None,
    jobs: int,
    min_age: float,
    all_of_them: bool,
    as_json: bool,
    quiet: bool,
    settings: Settings,
) -> None:
    """Check the storage, while it is used: links, manifests and what they name, and with --verify-content all bytes.

    PATTERNs such as 'team/**' choose repositories; without one the whole storage is checked. Nothing is changed
    without --repair. What is found is printed a line each, and then how much was looked at.
    """
    from cargohold.storage.filesystem.checking.check import Wanted  # noqa: PLC0415 - --help need not wait for it

    if (resume or seconds is not None) and (not verify or matches is not None):
        raise click.UsageError("--resume and --time-limit go with --verify-content of the whole storage")
    wanted = Wanted(
        repair=repair,
        verify=verify,
        resume=resume,
        rate=rate,
        seconds=seconds,
        jobs=jobs,
        sparse=settings.manifests.allow_sparse,
        min_age=min_age,
        idle=settings.uploads.timeout,
        matches=matches,
    )
    with _checked(settings, wanted) as check:
        report = _Report(check, as_json=as_json, all_of_them=all_of_them or repair, quiet=quiet)
        report.print()
        if matches is not None:
            matches.require_all()
        if not (check.is_whole or check.is_kept):
            raise CannotRun(_NOT_KEPT)
    context.exit(0 if report.tally.is_well else 1)


@contextmanager
def _checked(settings: Settings, wanted: Wanted) -> Iterator[Check]:
    """A check of the storage, or of a tree that only another server has used; done as its owner. Raises CannotRun."""
    from cargohold.storage.filesystem import FilesystemStore  # noqa: PLC0415 - --help need not wait for it
    from cargohold.storage.filesystem.checking.check import Check  # noqa: PLC0415
    from cargohold.storage.filesystem.leases import Terms  # noqa: PLC0415

    layout = Layout(os.path.abspath(settings.storage.path))
    if not os.path.isdir(layout.registry):
        raise CannotRun(f"no registry has its data in {layout.root}: name the directory with --storage-path")
    store = FilesystemStore(layout.root, Terms(grace=settings.gc.grace, keep=settings.trash.keep))
    try:
        with acting_for_owner(layout.registry):
            yield Check(store, wanted)
    except StoreError as error:
        raise CannotRun(str(error)) from None
    except OSError as error:
        raise CannotRun(f"{error.filename or layout.root}: {error.strerror}") from None
    except KeyboardInterrupt:
        raise CannotRun("the check was broken off") from None
    finally:
        store.close()


class _Report:
    """Prints what a check finds, as it finds it, and then the counts."""

    def __init__(self, check: Check, *, as_json: bool, all_of_them: bool, quiet: bool) -> None:
        from cargohold.registry import fsck as meanings  # noqa: PLC0415 - --help need not wait for it

        self.tally, self._meanings = meanings.Tally(), meanings
        self._check, self._as_json, self._all, self._quiet = check, as_json, all_of_them, quiet
        # A line takes the place of the bar, which is drawn again below it.
        self._clear = "\r\x1b[K" if sys.stdout is not None and sys.stdout.isatty() else ""

    def print(self) -> None:
        """Run the check. Raises what it raises."""
        with progress("checking", quiet=self._quiet) as advance:
            for finding in self._check.run(advance):
                self.tally.add(finding)
                if self._as_json:
                    before = "," if self.tally.kinds.total() > 1 else _OPENING
                    print_line(before + in_json(self._meanings.record_of(finding)))
                elif self._all or not self._meanings.is_harmless(finding):
                    print_line(self._clear + printable(self._meanings.line_of(finding)))
        if self._as_json:
            opening = "" if self.tally.kinds else _OPENING
            print_line(f"{opening}],{in_json(self._counts())[1:]}")
        elif not self._quiet or not self.tally.is_well:
            for line in self._summary():
                print_line(line)

    def _counts(self) -> dict[str, object]:
        return {
            "found": dict(self.tally.severities),
            "kinds": dict(self.tally.kinds),
            "repaired": self.tally.repaired,
            "quarantined": self.tally.quarantined,
            "looked": self._check.looked,
            "whole": self._check.is_whole,
        }

    def _summary(self) -> Iterator[str]:
        looked, tally = self._check.looked, self.tally
        yield (
            f"looked at {looked.repositories} repositories, {looked.manifests} manifests, {looked.tags} tags and"
            f" {looked.blobs} blobs ({written_size(looked.bytes)})"
        )
        if self._check.progress is not None:
            rest = "not yet all content" + ("; --resume goes on from here" if self._check.is_kept else "")
            until = "all content" if self._check.is_whole else rest
            yield f"verified {looked.verified} blobs ({written_size(looked.verified_bytes)}): {until}"
        yield ", ".join(f"{name} {count}" for name, count in tally.severities.items())
        if tally.repaired:
            yield f"repaired {tally.repaired}"
        if tally.quarantined:
            yield f"moved {tally.quarantined} to {self._check.place}, where list.jsonl says why"


_NOT_KEPT = (
    "how far the verification came could not be written to cargohold/fsck: the next would begin where this one did;"
    " make it writable, or leave out --time-limit"
)
_OPENING = '{"findings":['
