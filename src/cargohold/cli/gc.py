"""The command `cargohold gc`: the garbage collector, once."""

from __future__ import annotations

import logging
import signal
import sys
import time
from contextlib import closing, contextmanager
from typing import TYPE_CHECKING, Final

import click
import msgspec

from cargohold.cli.help import epilog
from cargohold.cli.printing import in_json, print_line, written_time
from cargohold.cli.progress import progress
from cargohold.cli.refusal import Refused, StorageBusy
from cargohold.cli.remote.printing import written_size
from cargohold.cli.settings_options import with_settings
from cargohold.cli.storage import registry_storage
from cargohold.cli.values import AGE
from cargohold.types.text import printable

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from cargohold.config import Settings
    from cargohold.registry.gc import Report
    from cargohold.registry.retention import Decision
    from cargohold.storage.collecting import Collected
    from cargohold.storage.filesystem import FilesystemStore

SKIPPED: Final = 1
BROKEN_OFF: Final = 4

_NAP_SECONDS: Final = 0.1
_WHY: Final = {"link": "no manifest mentions it", "blob": "no repository holds it"}


@click.command(
    epilog=epilog(
        "cargohold gc --dry-run",
        "cargohold gc --config /etc/cargohold/cargohold.yaml",
        "cargohold gc --min-age 2h --full-speed --json --storage-path /srv/registry",
        codes=(
            "0, 1 where a repository was skipped or the storage is in the way, 2 where the command or the settings"
            " cannot be used, 3 where another process is collecting or copies the storage, 4 where it was broken off by"
            " a signal"
        ),
    )
)
@click.option("--dry-run", "is_dry", is_flag=True, help="Change nothing, and list what would be collected.")
@click.option(
    "--min-age",
    type=AGE,
    metavar="DURATION",
    help=(
        "Collect what nobody has pushed or asked for within this time, such as 2h, in place of gc.grace. No push may"
        " take longer."
    ),
)
@click.option(
    "--full-speed", is_flag=True, help="Do not rest in between: for a registry that nobody is using."
)
@click.option(
    "--no-wait", is_flag=True, help="Leave it to the next run to remove from the disk what this one found."
)
@click.option(
    "--json", "as_json", is_flag=True, help="Print the report in JSON, after a line for each thing listed."
)
@with_settings("storage.path")
@click.pass_context
def gc(  # noqa: PLR0913 - the options
    context: click.Context,
    /,
    *,
    is_dry: bool,
    min_age: float | None,
    full_speed: bool,
    no_wait: bool,
    as_json: bool,
    settings: Settings,
) -> None:
    """Collect garbage: what no tag and no manifest needs, and nobody has asked for in a while.

    A server may be running meanwhile, with the same settings; clients push and pull as ever. A signal ends it between
    two steps, and the next run goes on from there.
    """
    if settings.read_only and not is_dry:
        raise Refused("the setting read_only is on: nothing is collected; a --dry-run can be made")
    if full_speed:
        settings = msgspec.structs.replace(settings, gc=msgspec.structs.replace(settings.gc, share=1.0))
    with registry_storage(settings), _until_told() as is_closing, _opened(settings) as store:
        if is_dry:
            report = _looked(settings, store, min_age, is_closing, as_json=as_json)
        else:
            report = _collected(settings, store, min_age, is_closing)
            if report is not None and report.ended and report.blobs and not no_wait:
                report.freed_bytes += _removed(settings, store, is_closing)
    if report is None:
        raise StorageBusy
    if as_json:
        print_line(in_json(_record(report)))
    else:
        for line in _lines(report):
            print_line(printable(line))
    context.exit(SKIPPED if report.skipped else 0 if report.ended else BROKEN_OFF)


@contextmanager
def _opened(settings: Settings) -> Iterator[FilesystemStore]:
    """The store; while it is open the log does not tell of repositories that are skipped, as the report does that."""
    from cargohold.app import terms_of  # noqa: PLC0415 - it brings the server in, which --help need not wait for
    from cargohold.storage.filesystem import FilesystemStore  # noqa: PLC0415

    log = logging.getLogger("cargohold.registry.gc")
    log.disabled = True
    try:
        with closing(FilesystemStore(settings.storage.path, terms_of(settings))) as store:
            yield store
    finally:
        log.disabled = False


@contextmanager
def _until_told() -> Iterator[Callable[[], bool]]:
    """Gives what says whether a signal has come; the second one ends the process as ever."""
    told: list[int] = []

    def note(number: int, _frame: object) -> None:
        told.append(number)
        signal.signal(number, before[signal.Signals(number)])

    before = {number: signal.signal(number, note) for number in (signal.SIGINT, signal.SIGTERM)}
    try:
        yield lambda: bool(told)
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)


def _looked(
    settings: Settings,
    store: FilesystemStore,
    min_age: float | None,
    is_closing: Callable[[], bool],
    *,
    as_json: bool,
) -> Report | None:
    """A dry run, which lists what it finds."""
    from cargohold.app.collecting import collect  # noqa: PLC0415 - as above

    def tell(found: Collected) -> None:
        print_line(in_json(_record_of(found)) if as_json else printable(_line_of(found)))

    def tell_tag(decision: Decision) -> None:
        rule = settings.retention[decision.rule].repository
        print_line(in_json(_record_of_tag(decision, rule)) if as_json else _line_of_tag(decision, rule))

    # A bar and lines on one terminal would run into each other.
    with progress("looking", quiet=sys.stdout is None or sys.stdout.isatty()) as advance:
        return collect(
            settings,
            store,
            min_age=min_age,
            is_dry=True,
            removed=tell_tag,
            found=tell,
            on_step=advance,
            is_closing=is_closing,
        )


def _collected(
    settings: Settings,
    store: FilesystemStore,
    min_age: float | None,
    is_closing: Callable[[], bool],
) -> Report | None:
    from cargohold.app.collecting import run  # noqa: PLC0415 - as above

    with progress("collecting") as advance:
        return run(settings, store, min_age=min_age, on_step=advance, is_closing=is_closing)


def _removed(settings: Settings, store: FilesystemStore, is_closing: Callable[[], bool]) -> int:
    """Wait until what was collected can be removed from the disk, and do so; how many bytes."""
    from cargohold.app.collecting import REMOVED_AFTER, remove_swept  # noqa: PLC0415 - as above

    click.echo("waiting for half a minute, so that nobody can be about to read what is removed", err=True)
    end = time.monotonic() + REMOVED_AFTER
    while time.monotonic() < end and not is_closing():
        time.sleep(_NAP_SECONDS)
    return remove_swept(settings, store, is_closing)


def _line_of(found: Collected) -> str:
    of = "" if found.repository is None else f" of {found.repository}"
    return f"{found.kind} {found.digest}{of} ({written_size(found.size)}): {_why(found)}"


def _record_of(found: Collected) -> dict[str, object]:
    return {
        "kind": found.kind,
        "repository": None if found.repository is None else str(found.repository),
        "digest": str(found.digest),
        "bytes": found.size,
        "why": _why(found),
    }


def _line_of_tag(decision: Decision, rule: str) -> str:
    state = decision.state
    return f"tag {decision.repository}:{state.tag} ({state.digest}): {_why_not(decision, rule)}"


def _record_of_tag(decision: Decision, rule: str) -> dict[str, object]:
    return {
        "kind": "tag",
        "repository": str(decision.repository),
        "tag": str(decision.state.tag),
        "digest": str(decision.state.digest),
        "why": _why_not(decision, rule),
    }


def _why_not(decision: Decision, rule: str) -> str:
    if decision.follows:
        return "what it names is removed"
    return f"retention does not keep it, by rule {decision.rule + 1}, {rule}"


def _why(found: Collected) -> str:
    return found.why or _WHY[found.kind]


def _lines(report: Report) -> Iterator[str]:
    yield (
        f"{'would be collected' if report.is_dry else 'collected'}: {_many(report.manifests, 'manifest')},"
        f" {_many(report.links, 'link')} of blobs, and {_many(report.blobs, 'blob')} with"
        f" {written_size(report.collected_bytes)}"
    )
    if report.tags:
        removed = "would be removed" if report.is_dry else "removed"
        yield f"{removed} by the rules of retention: {_many(report.tags, 'tag')}"
    looked = _many(report.repositories, "repository", "repositories")
    yield f"looked at {looked}"
    if report.skipped:
        yield f"not all is collected in {_many(len(report.skipped), 'repository', 'repositories')}:"
        yield from (f"  {name}: {reason}" for name, reason in sorted(report.skipped.items()))
    if report.content_stays:
        yield "no content is collected: what cannot be listed may have it"
    if not report.ended:
        yield "broken off" if report.is_dry else "broken off: the next run goes on from there"


def _many(number: int, one: str, several: str = "") -> str:
    return f"{number} {one}" if number == 1 else f"{number} {several or f'{one}s'}"


def _record(report: Report) -> dict[str, object]:
    return {
        "started": written_time(report.started),
        "dry_run": report.is_dry,
        "resumed": report.is_resumed,
        "ended": report.ended,
        "seconds": round(report.seconds, 3),
        "repositories": report.repositories,
        "tags": report.tags,
        "manifests": report.manifests,
        "links": report.links,
        "blobs": report.blobs,
        "bytes": report.collected_bytes,
        "freed_bytes": report.freed_bytes,
        "skipped": report.skipped,
        "content_stays": report.content_stays,
    }
