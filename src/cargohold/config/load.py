"""From what the sources give to the settings, or to every problem at once."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, TypeVar

import msgspec

from cargohold.config.checks import check
from cargohold.config.kinds import Misfit
from cargohold.config.section import Section
from cargohold.config.settings import SETTINGS, Settings
from cargohold.config.sources import CONFIG_VARIABLE, Source, read_environment, read_file, read_options

if TYPE_CHECKING:
    from collections.abc import Mapping

S = TypeVar("S", bound=Section)


class SettingsError(Exception):
    """Settings that cannot be used.

    `problems` has one line for each: its place (key of the file, variable, or setting of the command line),
    and what to write instead.
    """

    def __init__(self, problems: list[str]) -> None:
        super().__init__("\n".join(problems))
        self.problems = problems


def load(options: Mapping[str, object], environ: Mapping[str, str]) -> Settings:
    """The settings: command line over environment over file over defaults.

    `options` maps dotted paths, such as `storage.path`, to values or their text; `config` names the file, and
    so does the variable REGISTRY_CONFIG. A list or mapping of one source replaces the whole of another's.

    Raises SettingsError with the problems of all sources, those of values that another source overrides too; where
    there are none, with those of settings that do not go together.
    """
    settings = read(options, environ)
    if problems := check(settings):
        raise SettingsError(problems)
    return settings


def read(options: Mapping[str, object], environ: Mapping[str, str]) -> Settings:
    """As `load`, each setting by itself: whether they go together is not asked."""
    sources = [
        _read_named_file(options, environ),
        read_environment(environ),
        read_options({path: value for path, value in options.items() if path != "config"}),
    ]
    values: dict[str, Any] = {}
    problems: list[str] = []
    for source in sources:
        problems += source.problems
        for given in source.given:
            kind = SETTINGS[given.path].kind
            try:
                values[given.path] = kind.read(given.value)
            except Misfit as misfit:
                problems.append(f"{given.place}: {kind.complaint(given.value, misfit)}")
    if problems:
        raise SettingsError(problems)
    return _build(Settings, values, "")


def _read_named_file(options: Mapping[str, object], environ: Mapping[str, str]) -> Source:
    name = options.get("config") or environ.get(CONFIG_VARIABLE)
    return read_file(str(name)) if name else Source()


def _build(section: type[S], values: Mapping[str, Any], prefix: str) -> S:
    """The section with the values that were given, and the defaults of the others."""
    given: dict[str, Any] = {}
    for entry in msgspec.structs.fields(section):
        path = prefix + entry.name
        if path in values:
            given[entry.name] = values[path]
        elif path not in SETTINGS:
            given[entry.name] = _build(entry.type, values, f"{path}.")
    return section(**given)
