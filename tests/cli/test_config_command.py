"""`cargohold config`: what the settings are, where they come from, and files of them."""

from __future__ import annotations

import json
import os
from typing import TYPE_CHECKING

import pytest
from click.testing import CliRunner, Result
from jsonschema import Draft202012Validator  # type: ignore[import-untyped]

from cargohold.cli.main import main
from cargohold.config import Settings, load
from cargohold.config.settings import SETTINGS
from tests.cli.test_command import CLEAN
from tests.config.test_distribution import IMAGE, PROXY

if TYPE_CHECKING:
    from pathlib import Path


def config(*words: str, **environ: str) -> Result:
    """The command as a function."""
    cleared: dict[str, str | None] = dict.fromkeys(os.environ.keys() - CLEAN.keys())
    return CliRunner(env={**cleared, **environ}).invoke(main, ["config", *words])


@pytest.fixture
def file(tmp_path: Path) -> str:
    path = tmp_path / "registry.yaml"
    path.write_text(
        "port: 1\nhost: '::1'\nstorage:\n  path: /srv\nuploads.timeout: 90m\nlists: {max_page: 1000}\n"
    )
    return str(path)


def test_show(file: str) -> None:
    """Each setting has its value, and the place of the source that counts; every setting is there."""
    result = config("show", "--config", file, "--host", "127.0.0.2", REGISTRY_PORT="2")
    assert (result.exit_code, result.stderr) == (0, "")
    heading, *lines = result.stdout.splitlines()
    assert heading.split() == ["SETTING", "VALUE", "FROM"]
    assert [line.split()[0] for line in lines] == list(SETTINGS)
    found = {line.split()[0]: line.split()[1:] for line in lines}
    assert found["host"] == ["127.0.0.2", "command", "line"]
    assert found["port"] == ["2", "REGISTRY_PORT"]
    assert found["storage.path"] == ["/srv", f"{file}:4:3"]
    assert found["uploads.timeout"] == ["90m", f"{file}:5:1"]
    assert found["lists.max_page"] == ["1000", f"{file}:6:9"]
    assert found["log.level"] == ["info", "default"]


def test_show_changed(file: str) -> None:
    """With --changed only what differs from the defaults is shown, wherever it comes from."""
    result = config("show", "--changed", "--config", file)
    assert [line.split()[0] for line in result.stdout.splitlines()] == [
        "SETTING",
        "host",
        "port",
        "storage.path",
        "uploads.timeout",
    ]
    assert config("show", "--changed").stdout.splitlines() == ["SETTING  VALUE  FROM"]


def test_show_json(file: str) -> None:
    """For programs: values as a file would have them, and the parts of the place."""
    found = json.loads(config("show", "--json", "--config", file, REGISTRY_HTTP_HEADERS='{"A": "b"}').stdout)
    assert [each["setting"] for each in found] == list(SETTINGS)
    by_path = {each["setting"]: each for each in found}
    assert by_path["storage.path"] == {
        "setting": "storage.path",
        "value": "/srv",
        "default": "./data",
        "from": "file",
        "source": file,
        "line": 4,
        "column": 3,
    }
    assert by_path["http.headers"]["value"] == {"a": "b"}
    assert (by_path["http.headers"]["from"], by_path["http.headers"]["source"]) == (
        "variable",
        "REGISTRY_HTTP_HEADERS",
    )
    assert (by_path["manifests.max_bytes"]["value"], by_path["socket"]["value"]) == ("4MiB", None)
    assert (by_path["port"]["value"], by_path["port"]["from"]) == (1, "file")
    assert by_path["log.level"]["source"] is None


def test_show_what_is_wrong() -> None:
    """Settings that cannot be used are told of as by serve."""
    result = config("show", "--port", "x")
    assert (result.exit_code, result.stdout) == (2, "")
    assert result.stderr == "command line: port: must be a whole number from 0 to 65535, not 'x'\n"


def test_schema() -> None:
    """The schema that is printed is one, and takes a file."""
    result = config("schema")
    assert (result.exit_code, result.stderr) == (0, "")
    schema = json.loads(result.stdout)
    Draft202012Validator.check_schema(schema)
    assert Draft202012Validator(schema).is_valid({"port": 1})


@pytest.mark.parametrize(("words", "suffix"), [((), "yaml"), (("--format", "toml"), "toml")])
def test_example(words: tuple[str, ...], suffix: str, tmp_path: Path) -> None:
    """The example that is printed is a file of settings."""
    result = config("example", *words)
    assert (result.exit_code, result.stderr) == (0, "")
    path = tmp_path / f"a.{suffix}"
    path.write_text(result.stdout)
    assert load({"config": str(path)}, {}) == Settings()


def test_import(tmp_path: Path) -> None:
    """The settings go to stdout, and what became of the rest to stderr, each line with its place."""
    path = tmp_path / "config.yml"
    path.write_text(IMAGE)
    result = config("import", str(path))
    assert result.exit_code == 0
    written = tmp_path / "registry.yaml"
    written.write_text(result.stdout)
    assert load({"config": str(written)}, {}).storage.path == "/var/lib/registry"
    lines = result.stderr.splitlines()
    assert lines[0].startswith(f"{path}:1:1: changed: gc.schedule is off, ")
    assert lines[1] == f"{path}:4:3: log.fields: left out: add fields where logs are collected"
    assert len(lines) == 7


def test_import_tells_no_secret(tmp_path: Path) -> None:
    """Keys and passwords of the old file appear nowhere."""
    path = tmp_path / "config.yml"
    path.write_text(
        PROXY.replace("secretkey: b", "secretkey: hush1").replace("password: p", "password: hush2")
    )
    result = config("import", str(path))
    assert result.exit_code == 0
    assert "hush" not in result.output


def test_import_to_a_file(tmp_path: Path) -> None:
    """--output writes a file, and replaces none unless --force is written."""
    path, output = tmp_path / "config.yml", tmp_path / "registry.yaml"
    path.write_text(IMAGE)
    first = config("import", str(path), "--output", str(output))
    assert (first.exit_code, first.stdout) == (0, "")
    assert load({"config": str(output)}, {}).port == 5000
    output.write_text("port: 7\n")
    again = config("import", str(path), "--output", str(output))
    assert again.exit_code == 1
    assert again.stderr.endswith(f"cargohold: {output} is there already; with --force it is replaced\n")
    assert output.read_text() == "port: 7\n"
    assert config("import", str(path), "--output", str(output), "--force").exit_code == 0
    assert load({"config": str(output)}, {}).storage.path == "/var/lib/registry"
    assert config("import", str(path), "--output", f"{tmp_path}/none/a.yaml").exit_code == 1
    assert config("import", str(path), "--output", f"{tmp_path}/a.toml").exit_code == 2


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("version: 0.1\nstorage: [", ":2:11: is not YAML: while parsing"),
        ("port: 1\n", ": is no configuration of a Distribution registry"),
        ("version: 2\n", ":1:1: version: must be 0.1, not 2"),
        ("version: 0.1\nstorage: 3\n", ":2:1: storage: must be the name of a storage driver"),
        ("version: 0.1\nauth:\n- x\n", ":2:1: auth: must be the name of a login"),
        (
            "version: 0.1\nauth:\n  htpasswd:\n  token:\n",
            ":4:3: auth: must have one login, not htpasswd and token",
        ),
    ],
)
def test_import_of_something_else(text: str, message: str, tmp_path: Path) -> None:
    """What is no configuration of that registry is refused, with the reason."""
    path = tmp_path / "config"
    path.write_text(text)
    result = config("import", str(path))
    assert (result.exit_code, result.stdout) == (1, "")
    assert result.stderr.startswith(f"cargohold: {path}{message}")


def test_import_of_what_is_given_twice(tmp_path: Path) -> None:
    """Of a key that stands twice the last counts, and that is said."""
    path = tmp_path / "config.yml"
    path.write_text(
        "version: 0.1\nhttp: {addr: 'localhost:1'}\nhttp: {addr: 'localhost:2'}\nstorage: filesystem\n"
    )
    result = config("import", str(path))
    assert "port: 2\n" in result.stdout
    assert f"{path}:3:1: http: is given twice; the last counts" in result.stderr


def test_import_shows_names_on_their_line(tmp_path: Path) -> None:
    """Keys that would command a terminal are shown as escapes, whatever is said of them."""
    path = tmp_path / "config.yml"
    path.write_text('version: 0.1\nstorage: filesystem\n"a\\nb\\e[31m": 1\n"a\\nb\\e[31m": 2\n')
    lines = config("import", str(path)).stderr.splitlines()
    assert f"{path}:4:1: a\\nb\\x1b[31m: is given twice; the last counts" in lines
    assert f"{path}:3:1: a\\nb\\x1b[31m: left out: is not known as a parameter of version 0.1" in lines
    assert all(line.isprintable() and line.startswith(str(path)) for line in lines)
