"""Values of options that are written as settings are: durations and sizes."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

import click

from cargohold.config.kinds import Misfit, duration, shown
from cargohold.config.section import YEAR

if TYPE_CHECKING:
    from collections.abc import Mapping

    from cargohold.config.kinds import Kind


class Value(click.ParamType[object]):
    """What a kind of settings reads, or one of some `words`, which stand for values of their own.

    The `unit` may follow what is written, and is left away. A default that is no text is a value already.
    """

    def __init__(
        self, name: str, kind: Kind, *, words: Mapping[str, object] | None = None, unit: str = ""
    ) -> None:
        self.name, self._kind, self._words, self._unit = name, kind, words or {}, unit

    def convert(self, value: object, param: click.Parameter | None, ctx: click.Context | None) -> object:
        """The value; the command ends where it is none."""
        if not isinstance(value, str):
            return value
        if value.lower() in self._words:
            return self._words[value.lower()]
        try:
            return self._kind.read(value.removesuffix(self._unit))
        except Misfit as misfit:
            complaint = self._kind.complaint(value, misfit)
            if self._words:
                complaint = f"must be {', '.join(self._words)}, or {self._kind.form}, not {shown(value)}"
            self.fail(complaint, param, ctx)


AGE: Final = Value("duration", duration(0, YEAR))
"""How long ago something may have been at least: none, to a year."""
