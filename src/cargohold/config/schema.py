"""The JSON Schema of a file of settings, for editors: made from the tree of settings."""

from __future__ import annotations

from typing import Any

from cargohold.config.settings import SECTIONS, SETTINGS, Setting
from cargohold.config.sources import SCHEMA_KEY

DIALECT = "https://json-schema.org/draft/2020-12/schema"


def file_schema() -> dict[str, Any]:
    """What may stand in a file. A key with a dot in it is not looked into."""
    schema: dict[str, Any] = {
        "$schema": DIALECT,
        "title": "Settings of cargohold",
        **_mapping("", {SCHEMA_KEY: {"type": "string"}}),
    }
    # Sections stand in the order of the tree: a section comes before those in it.
    for path, words in SECTIONS.items():
        _properties(schema, path)[path.rpartition(".")[2]] = _mapping(words, {})
    for path, setting in SETTINGS.items():
        _properties(schema, path)[path.rpartition(".")[2]] = _of_setting(setting)
    return schema


def _mapping(description: str, properties: dict[str, Any]) -> dict[str, Any]:
    words = {"description": _plain(description)} if description else {}
    return {
        **words,
        "type": ["object", "null"],
        "properties": properties,
        "patternProperties": {"\\.": {}},
        "additionalProperties": False,
    }


def _properties(schema: dict[str, Any], path: str) -> dict[str, Any]:
    """Those of the section that the path is in."""
    for name in path.split(".")[:-1]:
        schema = schema["properties"][name]
    properties: dict[str, Any] = schema["properties"]
    return properties


def _of_setting(setting: Setting) -> dict[str, Any]:
    kind = setting.kind
    written = f"{_plain(setting.description)} Write {kind.form}."
    default = {"default": kind.plain(setting.value)} if setting.is_the_same_everywhere else {}
    return {"description": written, **kind.schema, **default}


def _plain(text: str) -> str:
    """Without the marks of Markdown."""
    return text.replace("`", "")
