"""What the settings say of tags that are kept, and of those that do not move."""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from cargohold.config import Settings
    from cargohold.registry.immutable import ImmutableTags
    from cargohold.registry.retention import Rules


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


def immutable_tags(settings: Settings) -> ImmutableTags | None:
    """The tags that do not move; None where all do."""
    if not settings.tags.immutable:
        return None
    from cargohold.registry.immutable import ImmutableTags  # noqa: PLC0415 - most registries have none

    return ImmutableTags([(rule.repository, rule.tags) for rule in settings.tags.immutable])
