"""The sources of settings: each reads to what it gives, with the place of each value, and to its problems.

Nothing is validated here but the names; a value is as it was written.
"""

from __future__ import annotations

import logging
import re
from typing import TYPE_CHECKING

import msgspec

from cargohold.config.document import Document, Unreadable, read_document
from cargohold.config.kinds import shown
from cargohold.config.places import Keys, Place, Problem
from cargohold.config.settings import SECTIONS, SETTINGS, variable
from cargohold.types.text import printable

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping

CONFIG_VARIABLE = variable("config")

SCHEMA_KEY = "$schema"
"""What a JSON file may say of itself to editors: it is no setting, and is not looked at."""

_VARIABLES = {setting.variable: setting.path for setting in SETTINGS.values()}

# https://kubernetes.io/docs/concepts/services-networking/service/#environment-variables
_KUBERNETES = re.compile(r"REGISTRY_(?:PORT=[a-z]+://|PORT_|SERVICE_)")

_log = logging.getLogger("cargohold.config")


class Given(msgspec.Struct, frozen=True):
    """A value as it was written: for which setting, and where; `keys` lead to it in the `document` that it is in."""

    path: str
    value: object
    source: Place
    document: Document | None = None
    keys: Keys = ()

    def place(self, within: Keys = ()) -> Place:
        """Where the setting is named, or where the part of its value begins that `within` leads to."""
        if self.document is None:
            return self.source
        return Place(self.source.kind, self.source.source, self.document.mark((*self.keys, *within)))


class Source(msgspec.Struct):
    """What one source gives, in the order in which it stands there.

    `doubtful` are the settings that something may be meant for which is no setting, or cannot be read.
    """

    given: list[Given] = []
    problems: list[Problem] = []
    doubtful: set[str] = set()


def read_options(options: Mapping[str, object]) -> Source:
    """The command line: dotted paths to values."""
    source, place = Source(), Place("option", "command line")
    for path, value in options.items():
        if path in SETTINGS:
            source.given.append(Given(path, value, place))
        else:
            near = _nearest(path, SETTINGS)
            source.problems.append(Problem(path, f"is not a setting{_question(near, path)}", place))
            source.doubtful |= _settings_at(near)
    return source


def read_environment(environ: Mapping[str, str]) -> Source:
    """The variables that begin with REGISTRY_; unknown names are logged as warnings and left out.

    Left out without a word is what Kubernetes injects for a Service whose name is "registry".
    """
    source = Source()
    for name, value in environ.items():
        if (
            not name.startswith("REGISTRY_")
            or name == CONFIG_VARIABLE
            or _KUBERNETES.match(f"{name}={value}")
        ):
            continue
        if path := _VARIABLES.get(name):
            source.given.append(Given(path, value, Place("variable", name, setting=path)))
        else:
            near = _nearest(name, [*_VARIABLES, CONFIG_VARIABLE], "REGISTRY_")
            _log.warning("%s is not a setting and is ignored%s", printable(name), _question(near))
    return source


def read_file(name: str) -> Source:
    """A YAML, TOML or JSON file, by its suffix."""
    try:
        document = read_document(name)
    except Unreadable as error:
        return Source([], [Problem("", str(error), Place("file", name, error.mark))], {*SETTINGS})
    source = Source()
    reader = _FileReader(name, document, source)
    reader.tell_of_doubles()
    reader.take(document.tree, (), "")
    return source


class _FileReader:
    """Takes the settings out of a document."""

    def __init__(self, name: str, document: Document, source: Source) -> None:
        self._name = name
        self._document = document
        self._source = source
        self._places: dict[str, Place] = {}

    def take(self, tree: object, keys: Keys, path: str) -> None:
        """The leaves of a section; an empty section is as good as none."""
        if tree is None:
            return
        if not isinstance(tree, dict):
            message = f"must be a mapping of settings, such as {_example(path)}, not {shown(tree)}"
            self._tell(path, message, keys)
            self._source.doubtful |= _settings_at(path) if path else {*SETTINGS}
            return
        for key, value in tree.items():
            self._take_one((*keys, key), f"{path}.{key}" if path else str(key), value)

    def _take_one(self, keys: Keys, path: str, value: object) -> None:
        place = self._place(keys)
        if path in self._places:
            self._tell_of_double(path, self._places[path], place)
        elif path in SETTINGS:
            self._places[path] = place
            self._source.given.append(Given(path, value, place, self._document, keys))
        elif path in SECTIONS:
            self.take(value, keys, path)
        elif path != SCHEMA_KEY:
            sections = (section for section in SECTIONS if not path.startswith(f"{section}."))
            near = _nearest(path, [*SETTINGS, *sections])
            self._tell(path, f"is not a setting{_question(near, path)}", keys)
            self._source.doubtful |= _settings_at(near)

    def tell_of_doubles(self) -> None:
        """Keys that stand twice in one mapping; not those in what stands twice as a whole."""
        known = {keys for keys, _ in self._document.twice}
        for keys, mark in self._document.twice:
            if not any(keys[:end] in known for end in range(1, len(keys))):
                path = ".".join(map(str, keys))
                self._tell_of_double(path, self._place(keys), Place("file", self._name, mark))

    def _tell_of_double(self, path: str, first: Place, second: Place) -> None:
        line = "" if first.mark is None else f", first in line {first.mark[0]}"
        self._source.problems.append(Problem(path, f"is given twice{line}; keep one", second))
        self._source.doubtful |= _settings_at(path)

    def _tell(self, path: str, message: str, keys: Keys) -> None:
        self._source.problems.append(Problem(path, message, self._place(keys)))

    def _place(self, keys: Keys) -> Place:
        return Place("file", self._name, self._document.mark(keys))


def _example(section: str) -> str:
    """A setting as it would stand in the section."""
    begin = f"{section}." if section else ""
    setting = next(setting for path, setting in SETTINGS.items() if path.startswith(begin))
    return f"{setting.path.removeprefix(begin)}: {setting.default}".rstrip(": ")


def _nearest(name: str, known: Iterable[str], prefix: str = "") -> str | None:
    """The known name that is like an unknown one apart from the prefix of all, where there is one."""
    import difflib  # noqa: PLC0415 - only after a mistake

    spellings = {one[len(prefix) :].lower(): one for one in known}
    if (at_top := name.rpartition(".")[2].lower()) in spellings:
        return spellings[at_top]
    near = difflib.get_close_matches(name[len(prefix) :].lower(), spellings, n=1)
    return spellings[near[0]] if near else None


def _question(near: str | None, path: str = "") -> str:
    if near is None:
        return ""
    at_top = ", which stands in no section" if "." in path and "." not in near else ""
    return f"; did you mean {near}{at_top}?"


def _settings_at(path: str | None) -> set[str]:
    """The setting there, those of the section there, or the one that it is part of."""
    return {
        each
        for each in SETTINGS
        if path is not None and (f"{each}.".startswith(f"{path}.") or path.startswith(f"{each}."))
    }
