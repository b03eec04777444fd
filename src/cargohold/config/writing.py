"""Files of settings as people would write them."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import msgspec

from cargohold.config.kinds import write_json
from cargohold.config.settings import SECTIONS, SETTINGS

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Iterator

_WIDTH = 100


class Entry(msgspec.Struct, frozen=True):
    """A setting in a file: its path, its value as `Kind.plain` gives it, and whether it is left out as a comment."""

    path: str
    value: object
    comment: tuple[str, ...] = ()
    commented_out: bool = False


def example() -> list[Entry]:
    """Every setting at its default, commented out, with what it does and what to write."""
    return [
        Entry(
            path,
            setting.kind.plain(setting.value),
            (setting.description.replace("`", ""), f"Write {setting.kind.form}."),
            commented_out=True,
        )
        for path, setting in SETTINGS.items()
    ]


def write_yaml(entries: Iterable[Entry]) -> str:
    """The entries must be in the order of the tree. Where they have comments, so have their sections."""

    def begin(section: str) -> Iterator[str]:
        yield f"{section.rpartition('.')[2]}:"

    def pair(name: str, value: object) -> str:
        return f"{name}: {_in_yaml(value)}"

    return _written(entries, begin, pair, nested=True)


def write_toml(entries: Iterable[Entry]) -> str:
    """As `write_yaml`."""

    def begin(section: str) -> Iterator[str]:
        yield f"[{section}]"

    def pair(name: str, value: object) -> str:
        return f"{name} = {_in_toml(value)}"

    return _written(entries, begin, pair, nested=False)


def _written(
    entries: Iterable[Entry],
    begin: Callable[[str], Iterable[str]],
    pair: Callable[[str, object], str],
    *,
    nested: bool,
) -> str:
    lines: list[str] = []
    opened: list[str] = []
    for entry in entries:
        *names, name = entry.path.split(".")
        sections = [".".join(names[:end]) for end in range(1, len(names) + 1)]
        for section in sections:
            if section not in opened:
                opened.append(section)
                indent = "  " * section.count(".") if nested else ""
                if entry.comment:
                    lines += ["", *_comment([SECTIONS[section].replace("`", "")], indent)]
                lines += [f"{indent}{line}" for line in begin(section)]
        indent = "  " * len(names) if nested else ""
        if entry.comment:
            lines += ["", *_comment(entry.comment, indent)]
        lines.append(f"{indent}{'#' * entry.commented_out}{pair(name, entry.value)}")
    return "\n".join(lines).lstrip("\n") + "\n"


def _comment(paragraphs: Iterable[str], indent: str) -> Iterator[str]:
    import textwrap  # noqa: PLC0415 - only where an example is written

    for paragraph in paragraphs:
        prefix = f"{indent}# "
        yield from textwrap.wrap(
            paragraph,
            _WIDTH,
            initial_indent=prefix,
            subsequent_indent=prefix,
            break_long_words=False,
            break_on_hyphens=False,
        )


def _in_yaml(value: object) -> str:
    """On one line: JSON is YAML; text stands bare where that is read as the same text."""
    import yaml  # noqa: PLC0415 - only where a file is written

    if isinstance(value, str) and value.isascii() and value.isprintable():
        try:
            if yaml.safe_load(f"key: {value}") == {"key": value}:
                return value
        except (yaml.YAMLError, ValueError):
            pass
    return write_json("" if value is None else value)


def _in_toml(value: Any) -> str:  # noqa: ANN401 - whatever JSON can hold
    """On one line; what a mapping has as nothing is left out of it, as TOML knows no nothing."""
    if isinstance(value, dict):
        pairs = [f"{write_json(key)} = {_in_toml(each)}" for key, each in value.items() if each is not None]
        return f"{{{', '.join(pairs)}}}"
    if isinstance(value, list | tuple):
        return f"[{', '.join(map(_in_toml, value))}]"
    return write_json("" if value is None else value)
