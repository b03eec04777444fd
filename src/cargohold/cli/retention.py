"""The command `cargohold retention`: which tags the rules keep, and the removal of the others."""

from __future__ import annotations

import time
from contextlib import closing, nullcontext
from typing import TYPE_CHECKING, NamedTuple

import click

from cargohold.cli.help import epilog
from cargohold.cli.patterns import matching
from cargohold.cli.printing import in_json, print_line, print_table, written_time
from cargohold.cli.refusal import Refused, StorageBusy
from cargohold.cli.settings_options import with_settings
from cargohold.cli.storage import registry_storage
from cargohold.config.kinds import write_duration

if TYPE_CHECKING:
    from collections.abc import Sequence

    from cargohold.cli.patterns import Patterns
    from cargohold.config import Settings
    from cargohold.config.keeping import Retention
    from cargohold.registry.retention import Criterion, Decision
    from cargohold.storage.keeping import Recording
    from cargohold.storage.protocols import StoreError
    from cargohold.types.names import RepositoryName

_HEADING = ("REPOSITORY", "TAG", "PUSHED", "PULLED", "RESULT", "RULE", "WHY")


class _Outcome(NamedTuple):
    """What became of the tags, and of which repositories nothing is known, and why not."""

    decisions: list[Decision]
    failures: dict[RepositoryName, str]


@click.command(
    epilog=epilog(
        "cargohold retention --dry-run",
        "cargohold retention --dry-run --json 'ci/**' team/app",
        codes=(
            "0, 1 where there are no rules, or not all could be done, 2 where the command or the settings cannot be"
            " used, 3 where another process is collecting or copies the storage"
        ),
    )
)
@click.argument("chosen", metavar="[REPOSITORY]...", nargs=-1, callback=matching)
@click.option("--dry-run", "is_dry", is_flag=True, help="Say what would be removed, and remove nothing.")
@click.option("--json", "as_json", is_flag=True, help="Print a list in JSON.")
@with_settings("storage.path")
def retention(*, chosen: Patterns | None, is_dry: bool, as_json: bool, settings: Settings) -> None:
    """Remove the tags that the rules of the setting retention do not keep.

    It tells of each tag in the repositories of the rules, or in those of them that are named, whether it is kept, and
    why. REPOSITORY is a name, or a pattern such as 'ci/**'; it must match one. A server may be running meanwhile.
    """
    if not settings.retention:
        raise Refused("there are no rules: write them in the setting retention")
    if settings.read_only and not is_dry:
        raise Refused("the setting read_only is on: nothing is removed; a --dry-run can be made")
    with registry_storage(settings) as layout:
        if chosen is not None:
            chosen.require_all_in(layout)
        recording, outcome = _applied(settings, chosen, is_dry=is_dry)
    if as_json:
        print_line(in_json([_record(each, settings.retention[each.rule]) for each in outcome.decisions]))
    elif outcome.decisions:
        print_table(_HEADING, [_row(each, settings.retention[each.rule]) for each in outcome.decisions])
    removed = sum(not each.kept for each in outcome.decisions)
    of = f"{removed} of {len(outcome.decisions)} tags"
    click.echo(f"{of} would be removed" if is_dry else f"{of} are removed", err=True)
    for line in _about_recording(settings.retention, recording):
        click.echo(line, err=True)
    if outcome.failures:
        raise Refused("; ".join(f"{name}: {problem}" for name, problem in outcome.failures.items()))


def _applied(settings: Settings, chosen: Patterns | None, *, is_dry: bool) -> tuple[Recording, _Outcome]:
    # They bring in the whole server, which --help need not wait for.
    from cargohold.app import terms_of  # noqa: PLC0415
    from cargohold.app.keeping import retention_rules  # noqa: PLC0415
    from cargohold.registry.retention import apply  # noqa: PLC0415
    from cargohold.storage.filesystem import FilesystemStore  # noqa: PLC0415
    from cargohold.storage.filesystem.collection import alone  # noqa: PLC0415
    from cargohold.storage.filesystem.keeping import FileKeeper  # noqa: PLC0415
    from cargohold.storage.filesystem.pace import Pace  # noqa: PLC0415

    failures: dict[RepositoryName, str] = {}

    def fail(repository: RepositoryName, error: StoreError) -> None:
        failures[repository] = str(error)

    terms = terms_of(settings)
    with (
        closing(FilesystemStore(settings.storage.path, terms)) as store,
        nullcontext(True) if is_dry else alone(store) as is_alone,
    ):
        if not is_alone:
            raise StorageBusy
        keeper = FileKeeper(store, Pace(lambda: False, 1.0), is_dry=is_dry)
        found = apply(
            keeper,
            retention_rules(settings),
            now=time.time(),
            age=terms.grace + terms.step,
            failed=fail,
            is_dry=is_dry,
            chosen=chosen or (lambda _: True),
        )
        decisions = sorted(found, key=lambda each: each.repository)
        return keeper.recording(), _Outcome(decisions, failures)


def _record(decision: Decision, rule: Retention) -> dict[str, object]:
    state = decision.state
    return {
        "repository": str(decision.repository),
        "tag": str(state.tag),
        "digest": str(state.digest),
        "pushed": written_time(state.pushed),
        "pulled": None if state.pulled is None else written_time(state.pulled),
        "rule": {"entry": decision.rule + 1, "repository": rule.repository},
        "kept": decision.kept,
        "by": decision.by,
        "follows": decision.follows,
    }


def _row(decision: Decision, rule: Retention) -> tuple[str, ...]:
    state = decision.state
    return (
        decision.repository,
        state.tag,
        written_time(state.pushed),
        "-" if state.pulled is None else written_time(state.pulled),
        "keep" if decision.kept else "remove",
        f"{decision.rule + 1} {rule.repository}",
        _why(decision, rule),
    )


def _why(decision: Decision, rule: Retention) -> str:
    criteria = _criteria(rule)
    if decision.follows:
        return f"its image is {'kept' if decision.kept else 'removed'}"
    if decision.by:
        return "; ".join(criteria[criterion] for criterion in decision.by)
    if decision.kept:
        return "pushed or pulled just now"
    return f"none of: {'; '.join(criteria.values())}"


def _criteria(rule: Retention) -> dict[Criterion, str]:
    """Those that a rule has, in words."""
    words: dict[Criterion, str] = {}
    if rule.newest is not None:
        words["newest"] = f"newest {rule.newest}"
    if rule.tags:
        words["tags"] = f"tags {', '.join(rule.tags)}"
    if rule.pushed_seconds is not None:
        words["pushed_within"] = f"pushed within {write_duration(rule.pushed_seconds)}"
    if rule.pulled_seconds is not None:
        words["pulled_within"] = f"pulled within {write_duration(rule.pulled_seconds)}"
    return words


def _about_recording(rules: Sequence[Retention], recording: Recording) -> list[str]:
    """Since when it is known what was pulled, where a rule asks for that."""
    lines = []
    for rule in rules:
        if rule.pulled_within is not None:
            since = recording.since.get(rule.repository)
            told = "not recorded yet" if since is None else f"recorded since {written_time(since)}"
            lines.append(f"{rule.repository}: pulls are {told}")
    return lines
