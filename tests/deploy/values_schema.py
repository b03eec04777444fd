"""What the chart's schema of values says of settings. `python -m tests.deploy.values_schema` writes it anew."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

from cargohold.config.schema import file_schema

SCHEMA = Path(__file__).parents[2] / "deploy/helm/cargohold/values.schema.json"
_OF_THE_CHART = ("$schema", "port", "socket", "storage")


def settings_schema() -> dict[str, Any]:
    """What may stand in `config`: what may in a file, without what is the chart's own, and without dotted names."""
    schema = file_schema()
    del schema["$schema"]
    for name in _OF_THE_CHART:
        schema["properties"].pop(name)
    return _adapted(schema)


def _adapted(schema: dict[str, Any]) -> dict[str, Any]:
    """Without dotted names; and Helm takes the text `1.2` and the number for the same, of which an enum has one."""
    schema.pop("patternProperties", None)
    if numbers := [each for each in schema.get("enum", ()) if type(each) is float]:
        words = [each for each in schema.pop("enum") if each not in numbers]
        schema["anyOf"] = [{"enum": words}, {"enum": numbers}]
    for each in schema.get("properties", {}).values():
        _adapted(each)
    return schema


def written(current: str) -> str:
    """The schema of values as it is to be."""
    schema = json.loads(current)
    schema["properties"]["config"] = settings_schema()
    return json.dumps(schema, indent=2) + "\n"


if __name__ == "__main__":
    SCHEMA.write_text(written(SCHEMA.read_text()))
