"""The settings of what is kept, of tags that do not move, and of quotas."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING

import pytest

from cargohold.config import SettingsError, load
from cargohold.config.keeping import Immutable, Quota, Retention

if TYPE_CHECKING:
    from pathlib import Path

FILE = """\
retention:
  - {repository: ci/**, newest: 0}
  - repository: CI
    tags: [v*, "a b"]
  - {repository: a, pushed_within: soon, pulled_within: 0s}
  - {repository: b, newest: null, tags: []}
  - {repository: c, newest: ten, keep: 3}
tags:
  immutable:
    - {repository: prod/**, tags: []}
    - {tags: ["v[0-9]"]}
quotas:
  - {repository: a, bytes: lots}
  - {repository: /a, bytes: 0}
  - {repository: b}
"""
PROBLEMS = [
    "2:25: retention: entry 1: newest must be a whole number from 1 to 1000000, not 0",
    "3:5: retention: entry 2: 'CI' is no pattern of repositories: write segments such as team/*/app or team/**",
    "4:16: retention: entry 2: 'a b' is no pattern of tags: write at most 128 letters",
    "5:21: retention: entry 3: pushed_within must be a number of seconds or a duration such as 90s",
    "5:42: retention: entry 3: pulled_within must be a number of seconds or a duration such as 90s",
    "6:5: retention: entry 4: it would keep no tag: write at least one of newest, tags, pushed_within",
    "7:34: retention: entry 5: Object contains unknown field `keep`",
    "7:21: retention: entry 5: Expected `int | null`, got `str` - at `$.newest`",
    "10:29: tags.immutable: entry 1: it names no tags: write patterns such as v*",
    "11:7: tags.immutable: entry 2: Object missing required field `repository`",
    "13:21: quotas: entry 1: bytes must be a number of bytes or a size such as 512KiB",
    "14:6: quotas: entry 2: '/a' is no pattern of repositories",
    "14:22: quotas: entry 2: bytes must be a number of bytes or a size such as 512KiB",
    "15:5: quotas: entry 3: Object missing required field `bytes`",
]


def problems(options: dict[str, object]) -> list[str]:
    with pytest.raises(SettingsError) as caught:
        load(options, {})
    return [str(problem) for problem in caught.value.problems]


def test_every_mistake_has_its_place(tmp_path: Path) -> None:
    """Each mistake of each entry is told of at once, where it stands, with what to write."""
    file = tmp_path / "a.yaml"
    file.write_text(FILE)
    found = [problem.removeprefix(f"{file}:") for problem in problems({"config": str(file)})]
    pairs = list(zip(sorted(found), sorted(PROBLEMS), strict=True))
    assert not [(text, start) for text, start in pairs if not text.startswith(start)]


def test_what_is_written_is_read() -> None:
    """Durations and sizes stand as they were written, and are given in seconds and bytes."""
    (rule,) = load(
        {"retention": '[{"repository": "a", "pushed_within": "1d12h", "newest": 3}]'}, {}
    ).retention
    assert rule == Retention("a", newest=3, pushed_within="1d12h")
    assert (rule.pushed_seconds, rule.pulled_seconds, rule.untagged) == (129_600, None, True)
    (rule,) = load({"retention": [{"repository": "a", "pulled_within": 60}]}, {}).retention
    assert rule.pulled_seconds == 60
    assert load({"tags.immutable": [{"repository": "a"}]}, {}).tags.immutable == (Immutable("a", ("*",)),)
    (quota,) = load({"quotas": [{"repository": "a/**", "bytes": "10GB"}]}, {}).quotas
    assert (quota, quota.size) == (Quota("a/**", "10GB", each=False), 10**10)
    assert load({"quotas": [{"repository": "a/**", "bytes": 5}]}, {}).quotas[0].size == 5


@pytest.mark.parametrize(
    ("patterns", "entry"), [(["a/**", "b", "a/**"], 3), (["**", "a"], 2), (["a", "**", "b", "**"], 3)]
)
def test_a_rule_that_never_decides(patterns: list[str], entry: int) -> None:
    """A rule whose repositories an earlier one has for certain is refused: it would never do anything."""
    text = json.dumps([{"repository": pattern, "newest": 1} for pattern in patterns])
    assert f"retention: entry {entry}: it never decides" in problems({"retention": text})[0]


def test_quotas_that_say_the_same() -> None:
    """Two quotas of the same repositories are refused, but a common one may stand beside one for each."""
    common, own = {"repository": "a/**", "bytes": 9}, {"repository": "a/**", "bytes": 5, "each": True}
    assert len(load({"quotas": [common, own]}, {}).quotas) == 2
    (problem,) = problems({"quotas": [common, own, {**common, "bytes": 8}]})
    assert problem == "command line: quotas: entry 3: a/** is there twice: keep the smaller"
