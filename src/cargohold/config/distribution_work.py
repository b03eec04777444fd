"""Taking values out of the configuration of a Distribution registry, and noting what becomes of each."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING, Any, Final, Literal

import msgspec

from cargohold.config.kinds import Misfit, misfits_of, shown
from cargohold.config.load import SettingsError, load
from cargohold.config.places import Keys, Mark
from cargohold.config.settings import SETTINGS
from cargohold.config.writing import Entry
from cargohold.types.text import printable

if TYPE_CHECKING:
    from collections.abc import Iterator

    from cargohold.config.document import Document

_DURATION: Final = re.compile(r"([0-9]+(?:\.[0-9]*)?|\.[0-9]+)(ns|us|\u00b5s|ms|s|m|h)")
_SECONDS: Final = {"ns": 1e-9, "us": 1e-6, "\u00b5s": 1e-6, "ms": 1e-3, "s": 1.0, "m": 60.0, "h": 3600.0}


class Remark(msgspec.Struct, frozen=True):
    """What became of something that was not carried over as it was: where it stands, what it is called, and why."""

    kind: Literal["left out", "changed", "not needed"]
    path: str
    text: str
    mark: Mark

    def __str__(self) -> str:
        return printable(": ".join(filter(None, (self.path, self.kind, self.text))))


class Imported(msgspec.Struct):
    """The settings in the order of the tree, and the remarks in the order of the file."""

    entries: list[Entry]
    remarks: list[Remark]


class Work:
    """The work: takes values out of the document, and puts settings and remarks down."""

    def __init__(self, document: Document) -> None:
        self._document = document
        self._values: dict[str, object] = {}
        self._remarks: list[Remark] = []
        self._seen: set[Keys] = set()

    def take(self, path: str) -> Any:  # noqa: ANN401 - whatever YAML can hold
        """What stands at a dotted path, None where there is nothing; with all that is in it, that is dealt with."""
        self._seen.add(tuple(path.split(".")))
        return self.peek(path)

    def peek(self, path: str) -> Any:  # noqa: ANN401 - as above
        """As `take`, but it is still to be dealt with."""
        value = self._document.tree
        for key in path.split("."):
            value = value.get(key) if isinstance(value, dict) else None
        return value

    def flag(self, path: str, *, default: bool = False) -> bool:
        """A boolean at a path; one that is none is told of, and is the default."""
        value = self.take(path)
        if value is None or isinstance(value, bool):
            return default if value is None else value
        self.remark("left out", path, f"must be true or false, not {shown(value)}")
        return default

    def seconds(self, path: str) -> float | None:
        """A duration as Go writes it, or as a number of nanoseconds."""
        value = self.take(path)
        if value is None:
            return None
        if type(value) is int:
            return value / 1e9
        parts = _DURATION.findall(value) if isinstance(value, str) else []
        if not parts or "".join(number + unit for number, unit in parts) != value:
            self.remark("left out", path, f"must be a duration such as 1h30m, not {shown(value)}")
            return None
        return float(sum(float(number) * _SECONDS[unit] for number, unit in parts))

    def set(self, setting: str, value: object, path: str) -> bool:
        """Put a setting down; a value that it cannot have is told of at the path that it came from."""
        kind = SETTINGS[setting].kind
        try:
            self._values[setting] = kind.plain(kind.read(value))
        except (Misfit, ExceptionGroup) as error:
            for misfit in misfits_of(error):
                self.remark("left out", path, f"{setting} {kind.complaint(value, misfit)}")
            return False
        return True

    def has(self, setting: str) -> bool:
        """Whether it has been put down, and is not nothing."""
        return bool(self._values.get(setting))

    def drop(self, section: str) -> None:
        """Take back what was put down of a section."""
        for path in [path for path in self._values if path.startswith(f"{section}.")]:
            del self._values[path]

    def remark(self, kind: Literal["left out", "changed", "not needed"], path: str, text: str) -> None:
        """Of what stands at a path, if anything does; without a text it is only noted as seen."""
        keys = tuple(path.split("."))
        if self.take(path) is None and keys not in self._document.marks:
            return
        if text:
            self._remarks.append(Remark(kind, path, text, self._document.mark(keys)))

    def say(self, text: str) -> None:
        """Of the whole."""
        self._remarks.append(Remark("changed", "", text, (1, 1)))

    def finish(self) -> Imported:
        """What was done; what has not been dealt with is left out."""
        for path, is_known in self._unseen(self._document.tree, ()):
            what = "must be a mapping" if is_known else "is not known as a parameter of version 0.1"
            self.remark("left out", path, what)
        values = {path: self._values[path] for path in SETTINGS if path in self._values}
        try:
            load(values, {})
        except SettingsError as error:
            for problem in error.problems:
                self.say(f"{problem.setting}: {problem.message}")
        changed = {
            path: value
            for path, value in values.items()
            if value != SETTINGS[path].kind.plain(SETTINGS[path].value)
        }
        remarks = sorted(self._remarks, key=lambda remark: remark.mark)
        return Imported([Entry(path, value) for path, value in changed.items()], remarks)

    def _unseen(self, tree: object, keys: Keys) -> Iterator[tuple[str, bool]]:
        """What has not been dealt with, and whether what is below it would have been."""
        if keys in self._seen:
            return
        if isinstance(tree, dict) and (tree or not keys):
            for key, below in tree.items():
                yield from self._unseen(below, (*keys, key))
        else:
            is_known = any(seen[: len(keys)] == keys for seen in self._seen)
            if not is_known or tree not in (None, {}):
                yield ".".join(map(str, keys)), is_known
