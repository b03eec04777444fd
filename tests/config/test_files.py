"""The files that are written of settings: examples, and the schema that editors check files by."""

from __future__ import annotations

import json
import re
from typing import TYPE_CHECKING

import msgspec
import pytest
from jsonschema import Draft202012Validator  # type: ignore[import-untyped]

from cargohold.config import Settings, load
from cargohold.config.document import read_document
from cargohold.config.load import read
from cargohold.config.schema import file_schema
from cargohold.config.settings import SETTINGS
from cargohold.config.writing import Entry, example, write_toml, write_yaml
from tests.config.settings_page import PAGE
from tests.config.test_load import OTHERS, nested
from tests.config.test_pages import blocks

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

WRITERS = {"yaml": write_yaml, "toml": write_toml}


@pytest.fixture(scope="module")
def validator() -> Draft202012Validator:
    schema = file_schema()
    Draft202012Validator.check_schema(schema)
    return Draft202012Validator(schema)


@pytest.mark.parametrize(("language", "write"), WRITERS.items())
def test_example(language: str, write: Callable[[list[Entry]], str], tmp_path: Path) -> None:
    """The example sets nothing as it stands, and the defaults once every setting in it is no comment any more."""
    text = write(example())
    file = tmp_path / f"example.{language}"
    file.write_text(text)
    assert load({"config": str(file)}, {}) == Settings()
    uncommented = re.sub(r"^( *)#(?! )", r"\1", text, flags=re.MULTILINE)
    file.write_text(uncommented)
    effective = read({"config": str(file)}, {})
    assert effective.settings == Settings()
    assert set(effective.origins) == set(SETTINGS)


@pytest.mark.parametrize("language", WRITERS)
def test_example_explains(language: str) -> None:
    """Above each setting stands what it does and what to write, in lines that fit a terminal."""
    text = WRITERS[language](example())
    assert all(len(line) <= 101 or " " not in line.strip("# ") for line in text.splitlines() if "# " in line)
    words = " ".join(line.strip().removeprefix("# ") for line in text.splitlines())
    for setting in SETTINGS.values():
        assert f"{setting.description.replace('`', '')} Write {setting.kind.form}." in words


@pytest.mark.parametrize("path", SETTINGS)
@pytest.mark.parametrize("language", WRITERS)
def test_every_setting_is_written_and_read(path: str, language: str, tmp_path: Path) -> None:
    """What is written of a setting is read as the same."""
    kind = SETTINGS[path].kind
    value = kind.read(OTHERS[path][0])
    file = tmp_path / f"one.{language}"
    file.write_text(WRITERS[language]([Entry(path, kind.plain(value))]))
    assert read({"config": str(file)}, {}).settings == read({path: OTHERS[path][0]}, {}).settings


@pytest.mark.parametrize(
    "text", ["yes", "1", "1e3", "a: b", "# a", "", " a", "null", "~", "*a", "ä", "a'b", "{"]
)
def test_text_stays_text(text: str, tmp_path: Path) -> None:
    """What YAML would take for something else is written in quotation marks."""
    file = tmp_path / "one.yaml"
    file.write_text(write_yaml([Entry("tracing.service", text)]))
    assert read_document(str(file)).tree == {"tracing": {"service": text}}


def test_schema_takes_the_documentation(validator: Draft202012Validator, tmp_path: Path) -> None:
    """Every example of a file in docs/settings.md is valid; so is the example of every setting."""
    for language in ("yaml", "toml", "json"):
        for block in blocks(PAGE.read_text(), language):
            file = tmp_path / f"a.{language}"
            file.write_text(block)
            validator.validate(read_document(str(file)).tree)
    for language, write in WRITERS.items():
        file = tmp_path / f"b.{language}"
        file.write_text(re.sub(r"^( *)#(?! )", r"\1", write(example()), flags=re.MULTILINE))
        validator.validate(read_document(str(file)).tree)


@pytest.mark.parametrize("path", SETTINGS)
def test_schema_takes_what_is_read(path: str, validator: Draft202012Validator) -> None:
    """What a file may hold is valid: each setting's default, another value, and that as text."""
    kind = SETTINGS[path].kind
    text, value = OTHERS[path]
    for each in (kind.plain(SETTINGS[path].value), kind.plain(value), msgspec.to_builtins(value)):
        validator.validate(nested(path, json.loads(json.dumps(each))))
    if not text.startswith(("[", "{")):
        validator.validate(nested(path, text))


@pytest.mark.parametrize(
    "tree",
    [
        {"prot": 1},
        {"port": 70000},
        {"port": "http"},
        {"storage": {"pth": "a"}},
        {"storage": {"path": ""}},
        {"log": {"level": "loud"}},
        {"tls": {"minimum": 1.1}},
        {"uploads": {"timeout": "1w"}},
        {"manifests": {"max_bytes": "4 elephants"}},
        {"http": {"headers": {"a": 1}}},
        {"auth": {"rules": [{"users": ["a"]}]}},
        {"auth": {"rules": [{"users": ["a"], "actions": ["fly"]}]}},
        {"auth": {"rules": [{"user": ["a"], "actions": []}]}},
        {"auth": {"oidc": [{"issuer": "https://a", "audience": "b", "rules": [{}]}]}},
        {"deletion": "never"},
        [],
    ],
)
def test_schema_refuses(tree: object, validator: Draft202012Validator) -> None:
    """What the registry would refuse an editor marks."""
    assert not validator.is_valid(tree)


def test_schema_has_every_setting() -> None:
    """Each setting has its description, and its default where that is the same on every machine."""
    for path, setting in SETTINGS.items():
        found = file_schema()
        for name in path.split("."):
            found = found["properties"][name]
        assert setting.description.replace("`", "") in found["description"]
        assert ("default" in found) == (path != "workers")


def test_schema_may_be_named(tmp_path: Path) -> None:
    """A JSON file may name its schema, as editors want it to."""
    file = tmp_path / "a.json"
    file.write_text('{"$schema": "registry.schema.json", "port": 1}')
    assert load({"config": str(file)}, {}).port == 1
