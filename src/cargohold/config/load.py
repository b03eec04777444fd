"""From what the sources give to the settings, or to every problem at once."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, TypeVar

import msgspec

from cargohold.config.checks import check
from cargohold.config.kinds import Misfit, misfits_of
from cargohold.config.places import Problem
from cargohold.config.section import Section
from cargohold.config.settings import SETTINGS, Settings
from cargohold.config.sources import (
    CONFIG_VARIABLE,
    Given,
    Source,
    read_environment,
    read_file,
    read_options,
)

if TYPE_CHECKING:
    from collections.abc import Mapping

    from cargohold.config.places import Fault, Mark

S = TypeVar("S", bound=Section)


class SettingsError(Exception):
    """Settings that cannot be used; `problems` has every one of them, with its place and what to write instead."""

    def __init__(self, problems: list[Problem]) -> None:
        super().__init__("\n".join(map(str, problems)))
        self.problems = problems


class Effective(msgspec.Struct, frozen=True):
    """The settings, and what gave them: by its path, what was written for each that is not at its default.

    `problems` are the mistakes of all sources. `doubtful` are the settings that stand at their defaults although
    something was written for them, or may have been meant for them, that cannot be used.
    """

    settings: Settings
    origins: dict[str, Given]
    problems: list[Problem]
    doubtful: frozenset[str]

    def is_certain(self, fault: Fault) -> bool:
        """Whether all settings that the fault comes from are known."""
        return self.doubtful.isdisjoint((fault.setting, *fault.concerns, *fault.needs))

    def problem(self, fault: Fault) -> Problem:
        """The fault with the place of what it comes from."""
        if given := self.origins.get(fault.setting):
            return Problem(fault.setting, fault.message, given.place(fault.within))
        concerned = (self.origins[path] for path in fault.concerns if path in self.origins)
        given = next(concerned, None)
        return Problem(fault.setting, fault.message, None if given is None else given.place())


def load(options: Mapping[str, object], environ: Mapping[str, str]) -> Settings:
    """The settings: command line over environment over file over defaults.

    `options` maps dotted paths, such as `storage.path`, to values or their text; `config` names the file, and
    so does the variable REGISTRY_CONFIG. A list or mapping of one source replaces the whole of another's.

    Raises SettingsError with the problems of all sources, those of values that another source overrides too; where
    there are none, with those of settings that do not go together.
    """
    return load_effective(options, environ).settings


def load_effective(options: Mapping[str, object], environ: Mapping[str, str]) -> Effective:
    """As `load`, with what gave each setting."""
    effective = read(options, environ)
    if faults := check(effective.settings):
        raise SettingsError([effective.problem(fault) for fault in faults])
    return effective


def read(options: Mapping[str, object], environ: Mapping[str, str]) -> Effective:
    """As `load_effective`, each setting by itself: whether they go together is not asked."""
    effective = examine(options, environ)
    if effective.problems:
        raise SettingsError(effective.problems)
    return effective


def examine(options: Mapping[str, object], environ: Mapping[str, str]) -> Effective:
    """As `read`, but what cannot be used is left out, and told with the rest."""
    sources = [
        _read_named_file(options, environ),
        read_environment(environ),
        read_options({path: value for path, value in options.items() if path != "config"}),
    ]
    values: dict[str, Any] = {}
    origins: dict[str, Given] = {}
    problems: list[Problem] = []
    doubtful: set[str] = set()
    for source in sources:
        found = [*source.problems]
        for given in source.given:
            kind = SETTINGS[given.path].kind
            try:
                values[given.path] = kind.read(given.value)
                origins[given.path] = given
                doubtful.discard(given.path)
            except (Misfit, ExceptionGroup) as error:
                found += [
                    Problem(given.path, kind.complaint(given.value, misfit), given.place(misfit.within))
                    for misfit in misfits_of(error)
                ]
                doubtful.add(given.path)
        doubtful |= source.doubtful
        problems += sorted(found, key=_order)
    known = {path: value for path, value in values.items() if path not in doubtful}
    origins = {path: given for path, given in origins.items() if path not in doubtful}
    return Effective(_build(Settings, known, ""), origins, problems, frozenset(doubtful))


def _order(problem: Problem) -> Mark:
    return (problem.place and problem.place.mark) or (0, 0)


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
