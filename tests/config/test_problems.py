"""Every mistake is reported, all at once, each with its place and what to write instead."""

from __future__ import annotations

import json
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
    found = [str(problem) for problem in caught.value.problems]
    assert str(caught.value) == "\n".join(found)
    assert all(len(problem.splitlines()) == 1 for problem in found)
    return found


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
        f"{file}:1:1: port: must be a whole number from 0 to 65535, not 'http'",
        f"{file}:3:3: manifests.max_bytes: must be {SETTINGS['manifests.max_bytes'].kind.form}, not 'lots'",
        f"{file}:4:3: manifests.alow_sparse: is not a setting; did you mean manifests.allow_sparse?",
        f"{file}:5:1: workers: must be a whole number from 1 to 64, not 0",
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
        ("prot: 1", "1:1: prot: is not a setting; did you mean port?"),
        ("\n\nmanifest: {allow_sparse: true}", "3:1: manifest: is not a setting; did you mean manifests?"),
        (
            "manifests: {allow-sparse: true}",
            "1:13: manifests.allow-sparse: is not a setting; did you mean manifests.allow_sparse?",
        ),
        (
            "http: {cors: {origin: []}}",
            "1:15: http.cors.origin: is not a setting; did you mean http.cors.origins?",
        ),
        ("allow_sparse: true", "1:1: allow_sparse: is not a setting; did you mean manifests.allow_sparse?"),
        (
            "server: {port: 0}",
            "1:10: server.port: is not a setting; did you mean port, which stands in no section?",
        ),
        (
            "storage: {tls: {key: k}}",
            "1:11: storage.tls: is not a setting; did you mean tls, which stands in no section?",
        ),
        ("Port: 1", "1:1: Port: is not a setting; did you mean port?"),
        ("5: 1", "1:1: 5: is not a setting"),
        ("zzzzzzzz: 1", "1:1: zzzzzzzz: is not a setting"),
        (
            "manifests: true",
            "1:1: manifests: must be a mapping of settings, such as allow_tag_deletion: false, not True",
        ),
        (
            "http: {cors: ['*']}",
            "1:8: http.cors: must be a mapping of settings, such as origins: [], not ['*']",
        ),
        ("1: a\ntrue: b", "1:1: 1: is not a setting"),
        ("http: 3", "1:1: http: must be a mapping of settings, such as headers: {}, not 3"),
        ("limits: {user: 3}", "1:10: limits.user: must be a mapping of settings, such as reads, not 3"),
        ("lists: {lists: 1}", "1:9: lists.lists: is not a setting"),
        ("port:", "1:1: port: must be a whole number from 0 to 65535, not None"),
        ("port: true", "1:1: port: must be a whole number from 0 to 65535, not True"),
        ("port: {number: 1}", "1:1: port: must be a whole number from 0 to 65535, not {'number': 1}"),
        ("deletion: 1", "1:1: deletion: must be true or false, not 1"),
        ("storage: {path: [a]}", "1:11: storage.path: must be a path, not ['a']"),
    ],
)
def test_keys_of_the_file(text: str, problem: str, tmp_path: Path) -> None:
    """An unknown key is an error with the nearest known one; a value is named by the path of its key."""
    assert problems_of_file(tmp_path, "a.yaml", text) == [f"a.yaml:{problem}"]


@pytest.mark.parametrize(
    ("name", "text", "problem"),
    [
        (
            "a.yaml",
            "port: [",
            "a.yaml:1:8: is not YAML: while parsing a flow node, expected the node content",
        ),
        (
            "a.yaml",
            "a: 1\n---\nb: 2",
            "a.yaml:2:1: is not YAML: expected a single document in the stream, but",
        ),
        (
            "a.yaml",
            "# x\n!!python/object/apply:os.getcwd []",
            "a.yaml:2:1: is not YAML: could not determine a constructor",
        ),
        (
            "a.yaml",
            "port: 2024-13-45",
            "a.yaml:1:7: is not YAML: '2024-13-45' is no !!timestamp: month must be in 1..12",
        ),
        ("a.yaml", "port: !!bool foo", "a.yaml:1:7: is not YAML: 'foo' is no !!bool"),
        ("a.yaml", "port: !!int ''", "a.yaml:1:7: is not YAML: '' is no !!int"),
        ("a.yaml", "port: !!timestamp x", "a.yaml:1:7: is not YAML: 'x' is no !!timestamp"),
        (
            "a.yaml",
            "? [a]\n: b",
            "a.yaml:1:3: is not YAML: while constructing a mapping, found unhashable key",
        ),
        ("a.yaml", "port: \x01", "a.yaml:1:7: is not YAML: the character U+0001 cannot stand in it"),
        ("a.yaml", b"host: \xc3\xa4\nport: \xff", "a.yaml:2:7: is not YAML: its bytes are not UTF-8"),
        ("a.yaml", "[" * 5000, "a.yaml: is nested too deep"),
        (
            "a.yaml",
            "- port",
            "a.yaml:1:1: must be a mapping of settings, such as host: 127.0.0.1, not ['port']",
        ),
        ("a.yml", "port", "a.yml:1:1: must be a mapping of settings, such as host: 127.0.0.1, not 'port'"),
        ("a.toml", "port = ", "a.toml:1:8: is not TOML: Invalid value"),
        ("a.toml", "host = 'a", "a.toml:1:10: is not TOML: "),
        ("a.toml", "port = 1\nport = 2", "a.toml:2:1: is not TOML: Cannot overwrite a value"),
        ("a.toml", b"host = '\xff'", "a.toml:1:9: is not TOML: its bytes are not UTF-8"),
        ("a.toml", "a = " + "[" * 5000, "a.toml: is nested too deep"),
        ("a.toml", "a = " + "9" * 5000, "a.toml:1:5: is not TOML: a number has too many digits"),
        ("a.json", '{"port": 1,}', "a.json:1:12: is not JSON: "),
        ("a.json", "", "a.json:1:1: is not JSON: Expecting value"),
        ("a.json", '{"port": ' + "9" * 5000 + "}", "a.json:1:10: is not JSON: a number has too many digits"),
        ("a.yaml", "\nport: -" + "9" * 5000, "a.yaml:2:7: is not YAML: a number has too many digits"),
        ("a.json", "[" * 100_000, "a.json: is nested too deep"),
        ("a.json", "[]", "a.json:1:1: must be a mapping of settings, such as host: 127.0.0.1, not []"),
        ("a.ini", "port=1", "a.ini: must end in .yaml, .yml, .toml, .json, which says how it is written"),
        ("config", "", "config: must end in .yaml, .yml, .toml, .json, which says how it is written"),
    ],
)
def test_files_that_cannot_be_read(name: str, text: str | bytes, problem: str, tmp_path: Path) -> None:
    """A file that is not of its language is one problem, with the place in it where the parser knows one."""
    (found,) = problems_of_file(tmp_path, name, text)
    assert found.startswith(problem)


def test_no_such_file(tmp_path: Path) -> None:
    """A file that is named and cannot be opened is a problem, beside the others."""
    (tmp_path / "folder.json").mkdir()
    missing, folder = str(tmp_path / "missing.yaml"), str(tmp_path / "folder.json")
    assert problems({"config": missing, "port": -1}, {}) == [
        f"{missing}: cannot be read: No such file or directory",
        "command line: port: must be a whole number from 0 to 65535, not -1",
    ]
    assert problems({}, {"REGISTRY_CONFIG": folder}) == [f"{folder}: cannot be read: Is a directory"]


@pytest.mark.parametrize(
    ("name", "text", "found"),
    [
        ("a.yaml", "port: 1\nhost: a\nport: 2", ["3:1: port: is given twice, first in line 1; keep one"]),
        (
            "a.yaml",
            "lists: {max_page: 1,\n  max_page: 1}",
            ["2:3: lists.max_page: is given twice, first in line 1; keep one"],
        ),
        (
            "a.yaml",
            "manifests: {allow_sparse: true}\nmanifests.allow_sparse: false",
            ["2:1: manifests.allow_sparse: is given twice, first in line 1; keep one"],
        ),
        ("a.json", '{"port": 1,\n "port": 2}', ["2:2: port: is given twice, first in line 1; keep one"]),
        (
            "a.json",
            '{"lists": {"max_page": 1}, "lists": {"max_page": 2},\n"http": {"headers": {"a": "1", "a": "2"}}}',
            [
                "1:28: lists: is given twice, first in line 1; keep one",
                "2:32: http.headers.a: is given twice, first in line 2; keep one",
            ],
        ),
    ],
)
def test_given_twice_in_one_file(name: str, text: str, found: list[str], tmp_path: Path) -> None:
    """What a file gives twice is an error, in one mapping or nested and dotted, for neither counts more."""
    assert problems_of_file(tmp_path, name, text) == [f"{name}:{each}" for each in found]


RULES = {
    "a.yaml": "auth:\n  required: true\n  rules:\n"
    "  - {users: [ann], actions: [pull]}\n  - users: [ann]\n  - {users: [], actions: []}\n",
    "a.toml": "[auth]\nrequired = true\n[[auth.rules]]\nusers = ['ann']\nactions = ['pull']\n"
    "[[auth.rules]]\nusers = ['ann']\n  [[auth.rules]]\nusers = []\nactions = []\n",
    "a.json": '{"auth": {"required": true, "rules": [\n'
    ' {"users": ["ann"], "actions": ["pull"]},\n  {"users": ["ann"]},\n {"users": [], "actions": []}]}}',
}


@pytest.mark.parametrize(
    ("name", "places"), [("a.yaml", ["5:5", "6:5"]), ("a.toml", ["6:1", "8:3"]), ("a.json", ["3:3", "4:2"])]
)
def test_every_entry(name: str, places: list[str], tmp_path: Path) -> None:
    """Each entry of a list of rules that cannot be used is a problem of its own, with its place."""
    missing, nobody = problems_of_file(tmp_path, name, RULES[name])
    assert missing.startswith(
        f"{name}:{places[0]}: auth.rules: entry 2: Object missing required field `actions`; write"
    )
    assert nobody.startswith(f"{name}:{places[1]}: auth.rules: entry 3: it names nobody: write users")


EVERY_MISTAKE = [
    "3:5: auth.rules: entry 1: Object contains unknown field `user` - at `$.user`",
    "4:5: auth.rules: entry 1: Object contains unknown field `group` - at `$.group`",
    "5:21: auth.rules: entry 1: Invalid enum value 'fly' - at `$.actions[1]`",
    "6:5: auth.rules: entry 1: Expected `str`, got `int` - at `$.repository`",
    "7:6: auth.rules: entry 2: 'A' is no pattern of repositories: write segments such as team/*/app or team/**",
    "7:29: auth.rules: entry 2: 'a:b' is no name: a name holds no colon",
    "7:41: auth.rules: entry 2: '' is no name: the name is empty",
    "8:35: auth.rules: entry 3: the catalog is of no repository: leave out the repository where an action is catalog",
    "9:5: auth.rules: entry 4: Expected `object`, got `str`",
    "11:81: auth.oidc: entry 1: Object missing required field `repository` - at `$.rules[0]`",
    "11:81: auth.oidc: entry 1: Object missing required field `actions` - at `$.rules[0]`",
    "12:5: auth.oidc: entry 2: the issuer is empty: write what the id tokens name as iss",
    "13:5: auth.oidc: entry 2: the audience is empty: write what the id tokens name as aud",
    "14:13: auth.oidc: entry 2: a rule names no claims: it would let in everybody whom the issuer knows",
    "14:26: auth.oidc: entry 2: 'A' is no pattern of repositories: write segments such as team/*/app or team/**",
    f"15:6: auth.oidc: entry 3: issuer must be {SETTINGS['auth.bearer.realm'].kind.form}, not 'ftp://x'",
]


def test_every_mistake_of_an_entry(tmp_path: Path) -> None:
    """One entry's mistakes are told of all at once, each where it stands."""
    text = (
        "auth:\n  rules:\n  - user: [ann]\n    group: [a]\n    actions: [pull, fly]\n    repository: 3\n"
        "  - {repository: A, users: ['a:b', ann, ''], actions: [pull]}\n"
        "  - {repository: a, users: [ann], actions: [catalog]}\n  - text\n"
        "  oidc:\n  - {issuer: ftp://a.example, audience: '', jwks_url: http://b.example, rules: [{claims: {}}]}\n"
        "  - issuer: ''\n    audience: ''\n    rules: [{claims: {}, repository: A, actions: []}]\n"
        "  - {issuer: ftp://x, audience: a, rules: []}\n"
    )
    found = [re.sub(r"; write an? .*", "", each) for each in problems_of_file(tmp_path, "a.yaml", text)]
    assert found == [f"a.yaml:{each}" for each in EVERY_MISTAKE]


@pytest.mark.parametrize(
    ("name", "text", "place"),
    [
        ("a.yaml", "auth:\n  required: true\n  administrators:\n    - ann\n    - '*'\n", "5:7"),
        ("a.toml", "auth.required = true\nauth.administrators = ['ann', # x\n  '*']\n", "3:3"),
        ("a.json", '{"auth": {"required": true,\n "administrators": ["ann",\n   "*"]}}', "3:4"),
    ],
)
def test_settings_that_do_not_go_together(name: str, text: str, place: str, tmp_path: Path) -> None:
    """What settings ask of each other is told with the place of the value that is meant."""
    (found,) = problems_of_file(tmp_path, name, text)
    assert found.startswith(f"{name}:{place}: auth.administrators: * is no user's name")


def test_place_of_what_is_missing(tmp_path: Path) -> None:
    """What is not written has the place of what asks for it: of a file, a variable or the command line."""
    (found,) = problems_of_file(tmp_path, "a.yaml", "tls:\n  key: k.pem")
    assert found.startswith("a.yaml:2:3: tls.certificate: must be written too")
    assert problems({}, {"REGISTRY_TLS_KEY": "k"})[0].startswith("REGISTRY_TLS_KEY: tls.certificate: must be")
    assert problems({"tls.key": "k"}, {})[0].startswith("command line: tls.certificate: must be written too")
    assert problems({}, {"REGISTRY_HOST": "::"})[0].startswith("REGISTRY_HOST: :: can be reached from")


def test_yaml_aliases(tmp_path: Path) -> None:
    """An alias of what it stands in is no endless walk; what a merge key brings in has the place where it stands."""
    text = "a: &a [*a]\nb: &b {max_page: x}\nlists:\n  <<: *b\n"
    assert problems_of_file(tmp_path, "a.yaml", text) == [
        "a.yaml:1:1: a: is not a setting",
        "a.yaml:2:1: b: is not a setting",
        "a.yaml:2:8: lists.max_page: must be a whole number from 1 to 1000000, not 'x'",
    ]


HOSTILE = "a\nb\x1b[31mred\u202e"
ESCAPED = r"a\nb\x1b[31mred\u202e"


@pytest.mark.parametrize("name", ["a.yaml", "a.toml", "a.json"])
def test_names_that_command_terminals(name: str, tmp_path: Path) -> None:
    """What somebody has made up for a key is shown on the one line of its problem, and moves no cursor."""
    quoted = json.dumps(HOSTILE)
    text = {"a.yaml": f"{quoted}: 1", "a.toml": f"{quoted} = 1", "a.json": f"{{{quoted}: 1}}"}[name]
    (found,) = problems_of_file(tmp_path, name, text)
    assert found.endswith(f"{ESCAPED}: is not a setting")
    (found,) = problems({HOSTILE: "1"}, {})
    assert found == f"command line: {ESCAPED}: is not a setting"
    (found,) = problems({"config": f"{HOSTILE}.yaml"}, {})
    assert found == f"{ESCAPED}.yaml: cannot be read: No such file or directory"


def test_variables_that_command_terminals(caplog: pytest.LogCaptureFixture) -> None:
    """The same holds for the warning of a variable that is no setting."""
    load({}, {f"REGISTRY_{HOSTILE}": "1"})
    assert caplog.messages == [f"REGISTRY_{ESCAPED} is not a setting and is ignored"]
