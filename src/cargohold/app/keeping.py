"""What the settings say of tags that are kept, and of those that do not move."""

from __future__ import annotations

import logging
import time
from typing import TYPE_CHECKING

from cargohold.registry.immutable import ImmutableTags
from cargohold.storage.protocols import StoreError

if TYPE_CHECKING:
    import asyncio
    from collections.abc import Callable

    from cargohold.config import Settings
    from cargohold.registry.pulls import Pulls, Recorder
    from cargohold.registry.retention import Decision, Rules
    from cargohold.storage.filesystem import FilesystemStore
    from cargohold.storage.filesystem.pace import Pace
    from cargohold.types.names import RepositoryName

_log = logging.getLogger(__name__)


class PullRecord:
    """The record of when manifests are pulled, as one process keeps it; `pulls` is None where no rule asks for it."""

    def __init__(self, settings: Settings, store: FilesystemStore) -> None:
        self.pulls: Pulls | None = None
        self._recorder: Recorder | None = None
        if any(rule.pulled_within is not None for rule in settings.retention):
            from cargohold.registry.pulls import Pulls, Recorder  # noqa: PLC0415 - most registries need none

            rules = retention_rules(settings)
            self.pulls, self._recorder = Pulls(store, rules), Recorder(store, rules)

    def start(self, loop: asyncio.AbstractEventLoop) -> None:
        """Begin, on a loop that runs or is about to."""
        if self._recorder is not None:
            self._recorder.start(loop)

    def stop(self) -> None:
        """End."""
        if self._recorder is not None:
            self._recorder.stop()


def begin_recording(settings: Settings, store: FilesystemStore) -> None:
    """Say in the storage for which repositories pulls are noted from now on, and that for others they are not.

    Raises StoreError, unless the registry only reads: then it is logged.
    """
    patterns = [rule.repository for rule in settings.retention if rule.pulled_within is not None]
    try:
        store.record_pulls(patterns)
    except StoreError as error:
        if not settings.read_only:
            raise
        _log.warning("when manifests are pulled cannot be noted: %s", error)


def collects_untagged(settings: Settings) -> Callable[[RepositoryName], bool]:
    """Whether manifests without a tag are collected in a repository: everywhere, or because a rule says so."""
    if settings.gc.untagged or not settings.retention:
        return lambda _: settings.gc.untagged
    return retention_rules(settings).collects_untagged


def retain(  # noqa: PLR0913 - what is done, how, and who is told
    settings: Settings,
    store: FilesystemStore,
    pace: Pace,
    *,
    age: float,
    is_dry: bool = False,
    removed: Callable[[Decision], None] = lambda _: None,
) -> int:
    """Remove the tags that no rule of retention keeps, in this thread; how many. See `registry.retention.apply`.

    `removed` is told of each tag, also in a dry run, which changes nothing. Raises StoreError, and ClosingError;
    repositories in which not all could be done are logged.
    """
    if not settings.retention:
        return 0
    from cargohold.registry.retention import apply  # noqa: PLC0415 - most registries need none of it
    from cargohold.storage.filesystem.keeping import FileKeeper  # noqa: PLC0415

    def fail(repository: RepositoryName, error: StoreError) -> None:
        _log.warning("retention could not be done in %s: %s", repository, error)

    keeper, rules, number = FileKeeper(store, pace, is_dry=is_dry), retention_rules(settings), 0
    for decision in apply(keeper, rules, now=time.time(), age=age, failed=fail, is_dry=is_dry):
        if not decision.kept:
            number += 1
            removed(decision)
    if number and not is_dry:
        _log.info("retention has removed %s", "1 tag" if number == 1 else f"{number} tags")
    return number


def retention_rules(settings: Settings) -> Rules:
    """The rules of retention, in their order."""
    from cargohold.registry.retention import Rule, Rules  # noqa: PLC0415 - most registries have none

    return Rules(
        [
            Rule(
                rule.repository,
                rule.newest,
                rule.tags,
                rule.pushed_seconds,
                rule.pulled_seconds,
                untagged=rule.untagged,
            )
            for rule in settings.retention
        ]
    )


def immutable_tags(settings: Settings) -> ImmutableTags:
    """The tags that do not move."""
    return ImmutableTags([(rule.repository, rule.tags) for rule in settings.tags.immutable])
