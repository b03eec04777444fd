"""The sources of settings: each reads to what it gives, with the place of each value, and to its problems.

Nothing is validated here but the names; a value is as it was written.
"""

from __future__ import annotations

import logging
import re
from typing import TYPE_CHECKING, Any

import msgspec

from cargohold.config.kinds import shown
from cargohold.config.settings import SECTIONS, SETTINGS, variable

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Mapping

CONFIG_VARIABLE = variable("config")

_VARIABLES = {setting.variable: setting.path for setting in SETTINGS.values()}

# https://kubernetes.io/docs/concepts/services-networking/service/#environment-variables
_KUBERNETES = re.compile(r"REGISTRY_(?:PORT=[a-z]+://|PORT_|SERVICE_)")

_log = logging.getLogger("cargohold.config")


class Given(msgspec.Struct, frozen=True):
    """A value as it was written: for which setting, and where."""

    path: str
    place: str
    value: object


class Source(msgspec.Struct):
    """What one source gives, in the order in which it stands there."""

    given: list[Given] = []
    problems: list[str] = []


def read_options(options: Mapping[str, object]) -> Source:
    """The command line: dotted paths to values."""
    source = Source()
    for path, value in options.items():
        place = f"command line: {path}"
        if path in SETTINGS:
            source.given.append(Given(path, place, value))
        else:
            source.problems.append(f"{place}: is not a setting{_nearest(path, SETTINGS)}")
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
            source.given.append(Given(path, name, value))
        else:
            near = _nearest(name, [*_VARIABLES, CONFIG_VARIABLE], "REGISTRY_")
            _log.warning("%s is not a setting and is ignored%s", name, near)
    return source


def read_file(name: str) -> Source:
    """A YAML, TOML or JSON file, by its suffix."""
    source = Source()
    suffix = name[name.rfind(".") :].lower()
    if suffix not in _PARSERS:
        source.problems.append(f"{name}: must end in {', '.join(_PARSERS)}, which says how it is written")
        return source
    try:
        with open(name, "rb") as file:
            tree = _PARSERS[suffix](file.read())
    except OSError as error:
        source.problems.append(f"{name}: cannot be read: {error.strerror}")
    except RecursionError:
        source.problems.append(f"{name}: is nested too deep")
    except ValueError as error:
        source.problems.append(f"{name}: is not {_LANGUAGES[suffix]}: {' '.join(str(error).split())}")
    else:
        _flatten(source, name, tree, "")
    return source


def _flatten(source: Source, name: str, tree: object, path: str) -> None:
    """Take the leaves of a section; an empty section is as good as none."""
    if tree is None:
        return
    place = f"{name}: {path}" if path else name
    if not isinstance(tree, dict):
        source.problems.append(
            f"{place}: must be a mapping of settings, such as {_example(path)}, not {shown(tree)}"
        )
        return
    for key, value in tree.items():
        below = f"{path}.{key}" if path else str(key)
        if any(below == given.path for given in source.given):
            source.problems.append(f"{name}: {below}: is given twice; keep one")
        elif below in SETTINGS:
            source.given.append(Given(below, f"{name}: {below}", value))
        elif below in SECTIONS:
            _flatten(source, name, value, below)
        else:
            source.problems.append(
                f"{name}: {below}: is not a setting{_nearest(below, [*SETTINGS, *SECTIONS])}"
            )


def _example(section: str) -> str:
    """A setting of the section."""
    return next(path for path in SETTINGS if path.startswith(section))


def _nearest(name: str, known: Iterable[str], prefix: str = "") -> str:
    """The question after an unknown name, where some known one is like it apart from the prefix of all."""
    import difflib  # noqa: PLC0415 - only after a mistake

    spellings = {one[len(prefix) :].lower(): one for one in known}
    near = difflib.get_close_matches(name[len(prefix) :].lower(), spellings, n=1)
    return f"; did you mean {spellings[near[0]]}?" if near else ""


def _parse_yaml(content: bytes) -> object:
    import yaml  # noqa: PLC0415 - only where such a file is read: it costs megabytes

    class Loader(yaml.SafeLoader):
        """As safe_load, but a key that stands twice in a mapping is an error and not the last one's word."""

        def construct_mapping(self, node: yaml.MappingNode, deep: bool = False) -> dict[Any, Any]:
            _check_unique(key.value for key, _ in node.value if key.tag != "tag:yaml.org,2002:merge")
            return super().construct_mapping(node, deep)

    try:
        tree: object = yaml.load(content, Loader)  # noqa: S506 - a SafeLoader
    except yaml.YAMLError as error:
        raise ValueError(str(error).replace('in "<byte string>", ', "at ")) from None
    return tree


def _parse_toml(content: bytes) -> object:
    import tomllib  # noqa: PLC0415 - only where such a file is read

    return tomllib.loads(content.decode())


def _parse_json(content: bytes) -> object:
    import json  # noqa: PLC0415 - its errors name the line; only where such a file is read

    def mapping(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
        _check_unique(key for key, _ in pairs)
        return dict(pairs)

    tree: object = json.loads(content, object_pairs_hook=mapping)
    return tree


def _check_unique(keys: Iterable[object]) -> None:
    seen: list[object] = []
    for key in keys:
        if key in seen:
            raise ValueError(f"the key {key!r} stands twice in one mapping")
        seen.append(key)


_PARSERS: dict[str, Callable[[bytes], object]] = {
    ".yaml": _parse_yaml,
    ".yml": _parse_yaml,
    ".toml": _parse_toml,
    ".json": _parse_json,
}
_LANGUAGES = {".yaml": "YAML", ".yml": "YAML", ".toml": "TOML", ".json": "JSON"}
