"""Every mistake is reported, all at once, each with its place and what to write instead."""

from __future__ import annotations

import os
import re
from typing import TYPE_CHECKING

import pytest

from cargohold.config import SettingsError, load
from cargohold.config.settings import SETTINGS

if TYPE_CHECKING:
    from collections.abc import Mapping
    from pathlib import Path


def problems(options: Mapping[str, object], environ: Mapping[str, str]) -> list[str]:
    with pytest.raises(SettingsError) as caught:
        load(options, environ)
    assert str(caught.value) == "\n".join(caught.value.problems)
    assert all(len(problem.splitlines()) == 1 for problem in caught.value.problems)
    return caught.value.problems


def problems_of_file(directory: Path, name: str, text: str | bytes) -> list[str]:
    """The problems, without the directory."""
    file = directory / name
    file.write_bytes(text if isinstance(text, bytes) else text.encode())
    return [problem.replace(f"{directory}{os.sep}", "") for problem in problems({"config": str(file)}, {})]


def test_all_at_once(tmp_path: Path) -> None:
    """The problems of all three sources come in one error, those of overridden values among them."""
    file = tmp_path / "registry.yaml"
    file.write_text("port: http\nmanifests:\n  max_bytes: lots\n  alow_sparse: true\nworkers: 0\n")
    environ = {"REGISTRY_PORT": "70000", "REGISTRY_HTTP_HTTP2": "ignored", "REGISTRY_DELETION": "never"}
    assert problems({"config": str(file), "port": "x", "lists.max_pages": "5"}, environ) == [
        f"{file}: manifests.alow_sparse: is not a setting; did you mean manifests.allow_sparse?",
        f"{file}: port: must be a whole number from 0 to 65535, not 'http'",
        f"{file}: manifests.max_bytes: must be {SETTINGS['manifests.max_bytes'].kind.form}, not 'lots'",
        f"{file}: workers: must be a whole number from 1 to 64, not 0",
        "REGISTRY_PORT: must be a whole number from 0 to 65535, not '70000'",
        "REGISTRY_DELETION: must be true or false, not 'never'",
        "command line: lists.max_pages: is not a setting; did you mean lists.max_page?",
        "command line: port: must be a whole number from 0 to 65535, not 'x'",
    ]


def test_reason_follows() -> None:
    """Where a kind knows more than its form, the problem ends with it."""
    (problem,) = problems({"host": "[::1]"}, {})
    assert problem.startswith("command line: host: must be an address or a host name, such as 127.0.0.1, ")
    assert problem.endswith(
        "not '[::1]' (an IPv6 address stands without brackets, and the port is a setting of its own)",
    )


@pytest.mark.parametrize(
    ("text", "problem"),
    [
        ("prot: 1", "prot: is not a setting; did you mean port?"),
        ("manifest: {allow_sparse: true}", "manifest: is not a setting; did you mean manifests?"),
        (
            "manifests: {allow-sparse: true}",
            "manifests.allow-sparse: is not a setting; did you mean manifests.allow_sparse?",
        ),
        ("http: {cors: {origin: []}}", "http.cors.origin: is not a setting; did you mean http.cors.origins?"),
        ("allow_sparse: true", "allow_sparse: is not a setting; did you mean manifests.allow_sparse?"),
        ("Port: 1", "Port: is not a setting; did you mean port?"),
        ("5: 1", "5: is not a setting"),
        ("zzzzzzzz: 1", "zzzzzzzz: is not a setting"),
        (
            "manifests: true",
            "manifests: must be a mapping of settings, such as manifests.allow_tag_deletion, not True",
        ),
        (
            "http: {cors: ['*']}",
            "http.cors: must be a mapping of settings, such as http.cors.origins, not ['*']",
        ),
        ("port:", "port: must be a whole number from 0 to 65535, not None"),
        ("port: true", "port: must be a whole number from 0 to 65535, not True"),
        ("port: {number: 1}", "port: must be a whole number from 0 to 65535, not {'number': 1}"),
        ("deletion: 1", "deletion: must be true or false, not 1"),
        ("storage: {path: [a]}", "storage.path: must be a path, not ['a']"),
    ],
)
def test_keys_of_the_file(text: str, problem: str, tmp_path: Path) -> None:
    """An unknown key is an error with the nearest known one; a value is named by the path of its key."""
    assert problems_of_file(tmp_path, "a.yaml", text) == [f"a.yaml: {problem}"]


@pytest.mark.parametrize(
    ("name", "text", "problem"),
    [
        ("a.yaml", "port: [", r"a\.yaml: is not YAML: .*line 1, column 8.*"),
        (
            "a.yaml",
            "port: 1\nhost: a\nport: 2",
            r"a\.yaml: is not YAML: the key 'port' stands twice in one mapping",
        ),
        (
            "a.yaml",
            "lists: {max_page: 1, max_page: 1}",
            r"a\.yaml: is not YAML: the key 'max_page' stands twice .*",
        ),
        ("a.yaml", "a: 1\n---\nb: 2", r"a\.yaml: is not YAML: expected a single document.*"),
        (
            "a.yaml",
            "!!python/object/apply:os.getcwd []",
            r"a\.yaml: is not YAML: could not determine a constructor.*",
        ),
        ("a.yaml", "port: 2024-13-45", r"a\.yaml: is not YAML: month must be in 1\.\.12"),
        ("a.yaml", b"port: \xff", r"a\.yaml: is not YAML: .*"),
        ("a.yaml", "[" * 5000, r"a\.yaml: is nested too deep"),
        ("a.yaml", "- port", r"a\.yaml: must be a mapping of settings, such as host, not \['port'\]"),
        ("a.yml", "port", r"a\.yml: must be a mapping of settings, such as host, not 'port'"),
        ("a.toml", "port = ", r"a\.toml: is not TOML: Invalid value \(at .*"),
        ("a.toml", "port = 1\nport = 2", r"a\.toml: is not TOML: Cannot overwrite a value .*"),
        ("a.toml", b"host = '\xff'", r"a\.toml: is not TOML: .*"),
        ("a.toml", "a = " + "[" * 5000, r"a\.toml: is nested too deep"),
        ("a.json", '{"port": 1,}', r"a\.json: is not JSON: .*line 1 column 12.*"),
        (
            "a.json",
            '{"port": 1, "port": 2}',
            r"a\.json: is not JSON: the key 'port' stands twice in one mapping",
        ),
        ("a.json", "", r"a\.json: is not JSON: Expecting value: line 1 column 1.*"),
        ("a.json", '{"port": ' + "9" * 5000 + "}", r"a\.json: is not JSON: Exceeds the limit .*"),
        ("a.json", "[" * 100_000, r"a\.json: is nested too deep"),
        ("a.json", "[]", r"a\.json: must be a mapping of settings, such as host, not \[\]"),
        (
            "a.ini",
            "port=1",
            r"a\.ini: must end in \.yaml, \.yml, \.toml, \.json, which says how it is written",
        ),
        ("config", "", r"config: must end in \.yaml, \.yml, \.toml, \.json, which says how it is written"),
    ],
)
def test_files_that_cannot_be_read(name: str, text: str | bytes, problem: str, tmp_path: Path) -> None:
    """A file that is not of its language is one problem, with the place in it where the parser knows one."""
    found = problems_of_file(tmp_path, name, text)
    assert len(found) == 1
    assert re.fullmatch(problem, found[0]), found[0]


def test_no_such_file(tmp_path: Path) -> None:
    """A file that is named and cannot be opened is a problem, beside the others."""
    (tmp_path / "folder.json").mkdir()
    missing, folder = str(tmp_path / "missing.yaml"), str(tmp_path / "folder.json")
    assert problems({"config": missing, "port": -1}, {}) == [
        f"{missing}: cannot be read: No such file or directory",
        "command line: port: must be a whole number from 0 to 65535, not -1",
    ]
    assert problems({}, {"REGISTRY_CONFIG": folder}) == [f"{folder}: cannot be read: Is a directory"]


def test_given_twice_in_one_file(tmp_path: Path) -> None:
    """A setting that a file gives both nested and dotted is an error, for neither counts more."""
    text = "manifests: {allow_sparse: true}\nmanifests.allow_sparse: false"
    assert problems_of_file(tmp_path, "a.yaml", text) == [
        "a.yaml: manifests.allow_sparse: is given twice; keep one"
    ]
